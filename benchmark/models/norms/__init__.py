"""Normalisation layers of specified models that a framework has none of, or none that is right."""
