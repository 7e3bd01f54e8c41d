"""A model that was trained on one data set, adapted to another with few labels.

settings    how much is measured, and its checks
target      the other data set as the model takes it
episodes    one of them: drawn, adapted to, and attacked
course      what one cell is measured with, and what is stored of it
"""
