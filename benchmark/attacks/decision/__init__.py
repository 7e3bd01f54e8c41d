"""Attacks that ask for labels only, over many examples at once.

hop_skip_jump    Chen et al. 2020
"""
