"""Attacks that look for the nearest adversarial example, and sparse ones.

On ART's estimator interface like those of `benchmark.attacks.autoattack`, the same in both
frameworks: NumPy in and out, an estimator answers.
"""
