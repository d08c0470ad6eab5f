"""The manifest on SQLAlchemy Core.

Begin with `schema.py` (the tables) and `database.py` (connections and transactions). What a database does in its own
way stands in a file of its name (`sqlite.py`).
"""
