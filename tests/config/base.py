"""The beginning of a configuration with one model that takes everything from the defaults."""

from __future__ import annotations

BASE = """\
kafka: {bootstrap_servers: "localhost:9092"}
defaults:
  task: classification
  predictions: {topic: predictions}
  labels: {topic: labels}
  training: {estimator: sklearn.linear_model.LogisticRegression}
models:
  flights:
"""
