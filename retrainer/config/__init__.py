"""YAML to frozen settings; every mistake is named with its file, line, key and what was expected.

Begin with `load.py`, then `settings.py` and `model.py` (the sections). `rules.py` has what must hold between keys.
"""
