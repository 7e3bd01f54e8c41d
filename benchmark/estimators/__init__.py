"""ART estimators made fast: the only meeting point of ART and a framework.

`pytorch.FastPyTorchClassifier` and `tensorflow.FastTensorFlowV2Classifier` are drop-in subclasses
of ART's; `wrap` in each makes one of a model that follows this project's conventions.
"""
