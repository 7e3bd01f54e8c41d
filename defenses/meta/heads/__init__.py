"""Meta-adversarial training of features whose head is fitted in closed form."""
