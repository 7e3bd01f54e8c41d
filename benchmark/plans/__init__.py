"""What was asked for, turned into jobs: everything is checked before anything is written."""
