"""How much memory a framework has left on its device, and takes of it: a file a framework."""
