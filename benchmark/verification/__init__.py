"""What is stored against what follows from it: each stage derived again, in the cell's framework.

`docs/verification.md` says of every field that reaches the site how it is verified, or that it
can't be.
"""
