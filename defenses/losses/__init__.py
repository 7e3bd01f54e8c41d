"""Losses on logits that several defenses share, once a framework."""
