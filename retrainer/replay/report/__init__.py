"""What a replay found: report.json, predictions.parquet and the page. Begin with `report.py`."""
