"""Attack families that arrive one after the other, and what a model keeps of all it has met.

settings    how much is measured, and its checks
episodes    drawing supports and queries, learning, attacking
course      what one cell is measured with, and what is stored of it
"""
