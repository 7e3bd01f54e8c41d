"""What the kernels of every defense share, once a framework."""
