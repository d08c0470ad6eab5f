"""MLflow: runs, versions and aliases. Begin with `registry.py`."""
