"""A model's weights, kept while something runs that must leave them alone: a file a framework."""
