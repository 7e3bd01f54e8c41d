"""The inner loop of meta-training, once a framework."""
