"""The stages of a cell, one small file each: what a cell is made of, and how each part is done.

`stage.py` says what a stage is; `benchmark.job` puts a cell's stages in order; `context.py` holds
what they share while they run. Importing a stage loads no framework; running one does.
"""
