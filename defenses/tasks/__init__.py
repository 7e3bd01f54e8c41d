"""Tasks: a support and a query set under an attack and a budget. NumPy alone."""
