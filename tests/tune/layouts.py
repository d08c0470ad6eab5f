"""Configurations as people write them, each with a model `m` that can be tuned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from retrainer.config.load import load
from retrainer.tune.space import SearchSpace, TableFacts, space_of
from retrainer.tune.writing import Source

ENV: Final = {"BROKER": "localhost:9092", "COOLDOWN": "6h"}

BLOCK: Final = """\
# Ours.
kafka:
  bootstrap_servers: ${BROKER}   # from outside

models:
  # The first one.
  m:
    task: classification
    predictions: {topic: predictions}
    labels:
      topic: labels     # late ones too
      max_delay: 1d
    guards:
      # A day is enough.
      cooldown: ${COOLDOWN:-6h}
      per_day: 100      # never more

    training:
      estimator: sklearn.tree.DecisionTreeClassifier
      params: {max_depth: 3}
      rows: {last: 2000}  # the newest
    # The end.
"""

BARE: Final = """\
kafka: {bootstrap_servers: "${BROKER}"}
models:
  m:
    task: classification
    predictions: {topic: predictions}
    labels: {topic: labels}
    training: {estimator: sklearn.tree.DecisionTreeClassifier}
  other:
    task: classification
    predictions: {topic: others}
    labels: {topic: labels}
    training: {estimator: sklearn.tree.DecisionTreeClassifier}"""

FLOW: Final = """\
kafka: {bootstrap_servers: ${BROKER}}
models: {m: {task: classification, predictions: {topic: predictions}, labels: {topic: labels}, guards: {},
  training: {estimator: sklearn.tree.DecisionTreeClassifier, holdout: 0.25}, judge: {"min_rows": 300}}}  # one line
"""

DEFAULTS: Final = """\
kafka: {bootstrap_servers: "${BROKER}"}
defaults:
  guards: {cooldown: 2h, min_labels: 200}
  training: {estimator: sklearn.tree.DecisionTreeClassifier, rows: {last: 3000}}
  triggers:
    late: {change: {metric: accuracy, confidence: 0.9}}
models:
  m:
    task: classification
    predictions: {topic: predictions}
    labels: {topic: labels}
  other:
    task: classification
    predictions: {topic: others}
    labels: {topic: labels}
"""

TRIGGERS: Final = """\
kafka: {bootstrap_servers: "${BROKER}"}
models:
  m:
    task: classification
    metrics: [f1_macro, accuracy]
    predictions: {topic: predictions}
    labels: {topic: labels}
    triggers:
      low: {threshold: {metric: accuracy, below: 0.8}}   # ours
      worse:
        drop:
          metric: accuracy
          by: 0.05
      due: {trial: {times: 3}}
      monthly: {schedule: {cron: "0 3 1 * *"}}
    guards:
    training:
      estimator: sklearn.tree.DecisionTreeClassifier
      rows:
        last: 5d
    judge: {confidence: .9,
      min_rows: 200 }   # two lines
"""

ODD: Final = """\
kafka: {bootstrap_servers: "${BROKER}"}
models:
  "m":
    task: classification
    metrics:
    - accuracy
    predictions: {topic: predictions}
    labels: {topic: labels}
    triggers:
      "shift": {change: {metric: accuracy}}
      due: {trial: }
    retrain_when: >
      shift
      or due
    training: {estimator: sklearn.tree.DecisionTreeClassifier, seed: 3, holdout: &share 0.25}
    judge: &judge {improvement: 0.003}
    guards: &guards
      cooldown: 6h

# The end.
""".replace("\n", "\r\n").replace("{trial: }", "{trial: {}}")

ANCHORS: Final = """\
kafka: {bootstrap_servers: "${BROKER}"}
models:
  other:
    task: classification
    predictions: {topic: others}
    labels: {topic: labels}
    guards: &guards {cooldown: &long 4h, min_labels: 200}
    judge: {confidence: &sure 0.99}
    training: &training
      estimator: sklearn.tree.DecisionTreeClassifier
      rows: all
  m:
    task: classification
    predictions: {topic: predictions}
    labels: {topic: labels}
    guards: *guards
    judge: {confidence: *sure}   # as theirs
    training:
      <<: *training
      holdout: 0.3
"""

LAYOUTS: Final[Mapping[str, str]] = {
    "block": BLOCK,
    "bare": BARE,
    "flow": FLOW,
    "defaults": DEFAULTS,
    "triggers": TRIGGERS,
    "odd": ODD,
    "anchors": ANCHORS,
}

HISTORY: Final = TableFacts(warm=3_000, rows=27_000, span=30 * 86_400_000_000)


def source(folder: Path, text: str, model: str = "m") -> Source:
    path = folder / "config.yaml"
    path.write_bytes(text.encode())
    return Source.of(load(path, ENV), model, ENV)


def space(found: Source) -> SearchSpace:
    return space_of(found.loaded.settings.models[found.model], HISTORY)
