"""What stands before the sigmoids of a given model, one file a framework."""
