"""One retraining, from its dataset to its promotion.

Begin with `run.py` (step after step, each stored before the next). `order.py` is what the training process is told,
`promotion.py` who holds the alias.
"""
