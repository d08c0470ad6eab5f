"""The training process: reads `spec.json` and a dataset, fits and judges a candidate, writes `result.json`.

Begin with `child.py`, then `steps.py`. Knows no broker, database or registry.
"""
