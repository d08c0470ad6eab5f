"""A service that watches models in production and retrains them when their quality drops.

Begin with `cli.py` (the commands), then `bootstrap.py` (what is made of a configuration). Floors, from the top:
`cli`, `tune`, `replay` and `demo`, `bootstrap`, `policies`, then `service`, `training`, `adapters` and `config`,
which do not know each other, then `ports`, `logs`, `domain`, `errors`. Imports go only downward.
"""
