"""Read-outs: what adapts a trained model to a labelled support, on new classes and other data.

names       of the read-outs, and what each is
model       a trained model as read-outs and attacks need it
table       how each is fitted, what it costs, and what of it is tuned
"""
