"""The meta-test: every defense, adapted to attack families and measured.

families    what is adapted to: a table of attack families and their roles
parsing     what settings may be, of this protocol and the others
protocol    how much is measured: shots, steps, episodes; presets and their checks
episodes    drawing supports and queries, adapting, attacking
tuning      rate and steps, chosen on the validation family
summary     curves, areas, forgetting and their intervals
meeting     with which budgets a cell meets families, one by one or in a row
course      what one cell is measured with, and what is stored of it
readouts    heads on a model's features, a package of its own, as are
fewshot     adaptation to new classes,
sequence    families that arrive one after the other, and
domain      another data set
"""
