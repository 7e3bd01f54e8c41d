"""What stands before the sigmoids of an external model, one file a framework."""
