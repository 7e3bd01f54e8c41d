"""Trust checks: what a cell's numbers are worth, with evidence and in plain sentences.

After the attacks of a suite, `checks.run` looks at what they did and asks the model a little more.
A check is flagged where the numbers may be too kind to the model: masked gradients, outputs that
are random or depend on the batch or on earlier queries, attacks that are too weak or cheat; or
where the model is hardly right at all. From Carlini et al. 2019 ("On evaluating adversarial
robustness"), Croce & Hein 2020 (AutoAttack) and Pintor et al. 2022 ("Indicators of attack
failure").
"""
