"""What people ask and are told: requests, status, explanations, `check --connect`.

Begin with `status.py` and `words.py`. Reads ports; imports neither role.
"""
