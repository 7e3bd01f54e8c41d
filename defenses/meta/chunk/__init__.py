"""Tasks that are computed together."""
