"""Suites of ART attacks: what they are, running them, and measuring what they return."""
