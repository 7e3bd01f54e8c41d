"""ART's attacks where they can't be taken as they are: one place an attack, with the reason.

`tests/test_workarounds.py` shows each fault and each cure, so that a cure can go when ART mends it.
"""
