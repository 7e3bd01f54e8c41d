"""The few-shot meta-test: models adapted to classes that they never saw, then attacked.

settings    how much is measured; checks against the data
episodes    drawing ways, supports and queries, in NumPy
course      one read-out of one cell: tuned on validation classes, measured on test classes
"""
