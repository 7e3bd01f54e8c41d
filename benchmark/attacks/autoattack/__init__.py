"""AutoAttack as in its papers, on ART's estimator interface, the same in both frameworks.

Croce & Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", and 2021, "Mind the box: l1-APGD for sparse adversarial attacks". NumPy in
and out: `apgd`, `fab` and `square` search where the estimator, which answers, keeps its points;
`cascade` runs all four.
"""
