"""Kafka, with kafka-python. Begin with `log.py` (the topics, read by positions)."""
