"""Models that someone else trained: how they are made, checked, and put in a trained one's place.

`model` says what a user may give, `checking` tries it in a process of its own before anything is
written, and `pytorch` and `tensorflow` build it so that it takes what the project's own models
take and gives logits. Nothing here executes what a weights file holds.
"""
