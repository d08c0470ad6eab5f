"""Candidate against champion.

Begin with `verdicts.py` (the gates and the verdict). `challenge.py` judges on with new labels, `paired.py` holds the
tests, `checks.py` looks at training rows, `order.py` is what a training process is told and answers.
"""
