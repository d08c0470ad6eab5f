"""What a user is told: which line and key, and what was expected; everything in one run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from retrainer.config.load import load
from retrainer.errors import ConfigError
from tests.config.base import BASE

Problems = Callable[..., list[str]]


@pytest.fixture
def problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Problems:
    """What is wrong with a file, line by line."""
    monkeypatch.chdir(tmp_path)

    def problems(content: str | bytes) -> list[str]:
        path = Path("c.yaml")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(ConfigError) as caught:
            load(path, {})
        assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
        return [str(problem) for problem in caught.value.problems]

    return problems


KINDS = (
    "expected one of threshold, drop, change, drift, new_class, volume, trial, schedule, or a class of your own as "
    "package.module:Class"
)
IN_A_MODEL = {
    "guards: {cooldown: soon}": 'guards.cooldown: expected a duration such as 6h, got "soon"',
    "guards: {cooldown: 6}": "guards.cooldown: expected a duration such as 6h, got 6",
    "guards: {cooldwn: 6h}": "guards.cooldwn: unknown key; did you mean cooldown?",
    "guards: {min_labels: 0}": "guards.min_labels: expected a number of at least 1, got 0",
    "guards: {min_labels: true}": "guards.min_labels: expected a number, got true",
    "guards: {min_labels: 1.5}": "guards.min_labels: expected a whole number, got 1.5",
    "guards: 6h": 'guards: expected a mapping, got "6h"',
    "name: flights": "name: unknown key",
    "task: clustering": 'task: expected classification or regression, got "clustering"',
    "task: null": "task: required, but not given: expected classification or regression",
    "observe: perhaps": 'observe: expected true or false, got "perhaps"',
    "registered_model: a/b": 'registered_model: expected a name without / and :, got "a/b"',
    "predictions: {topic: null}": "predictions.topic: required, but not given",
    "predictions: {where: {.a: 1}}": "predictions.where..a: expected a path such as payload.after.id, $key, "
    "$headers.NAME, $timestamp or $value",
    "predictions: {fields: {id: {join: [a]}}}": "predictions.fields.id: expected a path, a list of paths or "
    "{join: [PATH, PATH]}, got a mapping",
    "predictions: {fields: {time: {path: t, unit: h}}}": "predictions.fields.time: expected a path or "
    "{path: PATH, unit: UNIT} with a unit of s, ms, us, ns, got a mapping",
    "predictions: {fields: {value: $header}}": "predictions.fields.value: expected a path such as payload.after.id, "
    '$key, $headers.NAME, $timestamp or $value, got "$header"',
    "labels: {corrections: newest}": 'labels.corrections: expected last or first, got "newest"',
    "labels: {max_delay: 0s}": 'labels.max_delay: expected a duration longer than nothing, got "0s"',
    "labels: {mature_after: 9d}": 'labels.mature_after: expected at most labels.max_delay, which is 3d, got "9d"',
    "labels: {absent: {after: 4d, value: no}}": "labels.absent.after: expected at most labels.max_delay, which is 3d, "
    'got "4d"',
    "labels: {absent: {after: 0s, value: no}}": "labels.absent.after: expected a duration longer than nothing, got "
    '"0s"',
    "labels: {topic: predictions}": "labels.topic: expected another topic than that of predictions, or a different "
    'where on both, got "predictions"',
    "metrics: []": "metrics: expected at least one, got an empty list",
    "metrics: [acuracy]": "metrics.0: expected a metric for classification (accuracy, balanced_accuracy, precision, "
    "recall, f1, f1_macro, f1_weighted, auc, log_loss, brier, calibration_error), "
    'got "acuracy"; did you mean accuracy?',
    "slices: [carrier, {name: a, when: open('f')}]": "slices.1.when: expected comparisons, and, or, not, in, literals "
    "and feature names, got a call at character 1",
    "slices: [{name: a, when: x > 1, above: 2}]": "slices.0: expected a feature's name or {name: NAME, when: "
    "CONDITION}, got a mapping",
    "slices: [a=b]": 'slices.0: expected a name without =, got "a=b"',
    "slices: [{name: a=b, when: x > 1}]": "slices.0: expected a name without =, got a mapping",
    "slices: [a, b, {name: a, when: x > 1}]": 'slices.2: expected another name than that of slices.0, got "a"',
    "triggers: {Low: {schedule: {every: 1d}}}": "triggers.Low: expected a name of small letters, digits and "
    "underscores, such as low_accuracy",
    "triggers: {or: {schedule: {every: 1d}}}": "triggers.or: expected a name that is not a word of the language, such "
    "as and or not",
    "triggers: {t: {threshold: {metric: accuracy}}}": "triggers.t.threshold: expected either below (for a score) or "
    "above (for an error)",
    "triggers: {t: {threshold: {metric: accuracy, below: 0.8, above: 0.9}}}": "triggers.t.threshold: expected either "
    "below (for a score) or above (for an error)",
    "triggers: {t: {threshold: {metric: accuracy, above: 0.9}}}": "triggers.t.threshold.above: expected below, as "
    "accuracy is a score",
    "triggers: {t: {threshold: {metric: accuracy, below: 0.8, warn_below: 0.7}}}": "triggers.t.threshold.warn_below: "
    "expected a value greater than below, which is 0.8",
    "triggers: {t: {threshold: {metric: accuracy, below: 0.8, breaches: 4 of 3}}}": "triggers.t.threshold.breaches: "
    'expected N of M with N at most M, such as 2 of 3, got "4 of 3"',
    "triggers: {t: {threshold: {metric: accuracy, below: 0.8, window: 1w}}}": "triggers.t.threshold.window: expected "
    'a count of at least 10, such as 2000, or a duration such as 1d, got "1w"',
    "triggers: {t: {treshold: {metric: accuracy, below: 0.8}}}": "triggers.t.treshold: unknown kind of trigger: "
    f"{KINDS}; did you mean threshold?",
    "triggers: {t: {mine: {}}}": f"triggers.t.mine: unknown kind of trigger: {KINDS}",
    "triggers: {t: {package.module: {}}}": f"triggers.t.package.module: unknown kind of trigger: {KINDS}",
    "triggers: {t: {'own.module:Class': 3}}": "triggers.t.own.module:Class: expected a mapping of settings",
    "triggers: {t: {'own.module:Class': {}, drift: {}}}": "triggers.t: expected exactly one of threshold, drop, "
    "change, drift, new_class, volume, trial, schedule, or package.module:Class",
    "triggers: {t: {change: {metric: f1}}}": "triggers.t.change.metric: expected a metric that is a mean over outcomes "
    '(accuracy, log_loss, brier, mae, rmse, mape), got "f1"',
    "triggers: {t: {drop: {metric: auc, by: 0.1}}}\n    predictions: {fields: {score: null}}": "triggers.t.drop."
    'metric: expected a metric that needs no score, as predictions.fields.score is null, got "auc"',
    "labels: {absent: {after: 1h, value: none}}\n    task: regression": "labels.absent.value: expected a number for a "
    'regression, got "none"',
    "triggers: {t: {}}": "triggers.t: expected exactly one of threshold, drop, change, drift, new_class, volume, "
    "trial, schedule, or package.module:Class",
    "triggers: {t: {drift: {features: []}}}": "triggers.t.drift.features: expected at least one, got an empty list",
    "triggers: {t: {drift: {features: [dely]}}}\n    predictions: {fields: {features: [delay, hour]}}": "triggers.t."
    'drift.features: expected features of predictions.fields.features, got "dely"; did you mean delay?',
    'triggers: {t: {schedule: {cron: "0 3 1 *"}}}': "triggers.t.schedule.cron: expected five cron fields such as "
    '"0 3 1 * *", got "0 3 1 *"',
    'triggers: {t: {schedule: {cron: "60 3 1 * *"}}}': "triggers.t.schedule.cron: expected five cron fields such as "
    '"0 3 1 * *", got "60 3 1 * *"',
    "triggers: {t: {schedule: {every: 1d, timezone: Mars/Base}}}": "triggers.t.schedule.timezone: expected a time zone "
    'such as Europe/Berlin, got "Mars/Base"',
    'triggers: {t: {schedule: {every: 1d, cron: "0 3 1 * *"}}}': "triggers.t.schedule: expected either cron or every",
    "retrain_when: low": 'retrain_when: expected names of triggers, got "low"',
    "retrain_when: low >": 'retrain_when: expected trigger names joined by and, or, not and parentheses, got "low >"',
    "training: {estimator: Forest}": "training.estimator: expected a dotted path such as "
    'sklearn.linear_model.LogisticRegression, got "Forest"',
    "training: {estimator: null}": "training: expected an estimator, a pipeline, an entrypoint or a command",
    'training: {entrypoint: "a.b:c"}': "training.entrypoint: expected only one of estimator and entrypoint: set the "
    "others to null",
    "training: {rows: {last: soon}}": "training.rows: expected {last: N or DURATION} such as {last: 10000} or "
    "{last: 30d}, got a mapping",
    "training: {rows: {last: 1000}}": "training.rows: expected at least 1200 rows, as 0.25 of them are held out and "
    "judge.min_rows is 300, got 1000",
    "training: {rows: since_change}\n    triggers: {t: {schedule: {every: 1d}}}": "training.rows: expected a change "
    "trigger among the triggers, got since_change without one",
    "training: {holdout: 1}": "training.holdout: expected a number less than 1, got 1",
    "training: {limits: {memory: true}}": "training.limits.memory: expected a number, got true",
    f"guards: {{per_day: {'9' * 5000}}}": f'guards.per_day: expected a whole number, got "{"9" * 76}...',
    "training: {limits: {memory: lots}}": 'training.limits.memory: expected a size such as 64MiB, got "lots"',
    "judge: {floors: {mae: 1}}": "judge.floors.mae: expected a metric for classification (accuracy, balanced_accuracy, "
    "precision, recall, f1, f1_macro, f1_weighted, auc, log_loss, brier, calibration_error), "
    'got "mae"',
    "judge: {improvement: .nan}": "judge.improvement: expected a finite number, got NaN",
    "promotion: {alias: v3}": "promotion.alias: expected an alias that MLflow does not reserve, as it does latest and "
    'v3, got "v3"',
    "promotion: {alias: Latest}": "promotion.alias: expected an alias that MLflow does not reserve, as it does latest "
    'and v3, got "Latest"',
    "promotion: {challenger_alias: champion}": "promotion.challenger_alias: expected another alias than alias, which "
    'is "champion"',
}


@pytest.mark.parametrize(("keys", "problem"), IN_A_MODEL.items())
def test_what_is_wrong_with_a_model(keys: str, problem: str, problems: Problems) -> None:
    assert problems(f"{BASE}    {keys}\n") == [f"c.yaml:9: models.flights.{problem}"]


IN_THE_FILE = {
    "{bootstrap_servers: localhost}": "kafka.bootstrap_servers: expected host:port, several with commas between, "
    'got "localhost"',
    "{}": "kafka.bootstrap_servers: required, but not given",
    '{bootstrap_servers: "b:1", start: newest}': "kafka.start: expected a duration such as 7d, earliest, latest or an "
    'ISO time, got "newest"',
    '{bootstrap_servers: "b:1", client: {group_id: a}}': "kafka.client.group_id: expected a security or network "
    "setting: this one belongs to retrainer",
    '{bootstrap_servers: "b:1", client: {isolation_level: a}}': "kafka.client.isolation_level: expected a security or "
    "network setting: this one belongs to retrainer",
    '{bootstrap_servers: "b:1", client: {sasl_mecanism: a}}': "kafka.client.sasl_mecanism: expected one of "
    "kafka-python's security and network settings; did you mean sasl_mechanism?",
    '{bootstrap_servers: "b:1", group_id: "${GROUP}"}': "kafka.group_id: the environment variable GROUP is not set; "
    "${GROUP:-default} gives it a default",
    '{bootstrap_servers: "b:1", group_id: "${file:/nowhere}"}': "kafka.group_id: cannot read /nowhere: No such file or "
    "directory",
    '{bootstrap_servers: "b:1", group_id: "${a b}"}': "kafka.group_id: expected ${VAR}, ${VAR:-default} or "
    "${file:/path}, got ${a b}",
    '{bootstrap_servers: "b:1", group_id: "${GROUP"}': "kafka.group_id: expected a closing brace after ${",
    '{bootstrap_servers: "b:1", [a]: b}': "kafka: expected a key that is text",
    '{bootstrap_servers: "b:1", <<: 3}': "kafka.<<: expected an alias for a mapping",
    '{bootstrap_servers: "b:1", bootstrap_servers: "b:2"}': "kafka.bootstrap_servers: given twice, first in line 1",
    '{bootstrap_servers: "b:1", group_id: !secret x}': "kafka.group_id: expected a plain value, got the tag !secret",
}


@pytest.mark.parametrize(("kafka", "problem"), IN_THE_FILE.items())
def test_what_is_wrong_with_the_file(kafka: str, problem: str, problems: Problems) -> None:
    content = BASE.replace('{bootstrap_servers: "localhost:9092"}', kafka).replace("flights:", "flights: {}")
    assert problems(content) == [f"c.yaml:1: {problem}"]


def test_everything_is_told_in_one_run_in_the_order_of_the_file(problems: Problems) -> None:
    assert problems("""\
kafka: {bootstrap_servers: ${KAFKA}}
state:
  database: "mysql://me:password@db"
  flsh: {}
service:
  token: [1]
  notify:
    - {url: "ftp://hooks", on: []}
models:
  flights:
    task: classification
    classes: [late, on_time]
    positive:
      early
    predictions: {topic: predictions}
    labels:
      topic: labels
      max_delay: long
    triggers:
      low: {threshold: {metric: accuracy, below: high}}
    retrain_when: >
      low or
      shift
""") == [
        (
            "c.yaml:1: kafka.bootstrap_servers: the environment variable KAFKA is not set; ${KAFKA:-default} gives "
            "it a default"
        ),
        (
            "c.yaml:3: state.database: expected sqlite:///FILE or postgresql+psycopg://USER@HOST/DB, "
            'got "mysql://********@db"'
        ),
        "c.yaml:4: state.flsh: unknown key; did you mean flush?",
        "c.yaml:6: service.token: expected text, {NAME: TOKEN} or {NAME: {token: TOKEN, may: [read]}}",
        'c.yaml:8: service.notify.0.url: expected a URL such as https://example.org/hook, got "ftp://hooks"',
        "c.yaml:8: service.notify.0.on: expected at least one, got an empty list",
        "c.yaml:10: models.flights.training: expected an estimator, a pipeline, an entrypoint or a command",
        'c.yaml:13: models.flights.positive: expected one of the classes late, on_time, got "early"',
        'c.yaml:18: models.flights.labels.max_delay: expected a duration such as 6h, got "long"',
        'c.yaml:20: models.flights.triggers.low.threshold.below: expected a number, got "high"',
        'c.yaml:21: models.flights.retrain_when: expected names of triggers, got "shift"',
    ]


def test_a_mistake_in_the_defaults_is_told_once_and_there(problems: Problems) -> None:
    content = BASE.replace("models:", "  guards: {cooldown: soon}\nmodels:\n  trains: {}")
    assert problems(content) == ['c.yaml:7: models.trains.guards.cooldown: expected a duration such as 6h, got "soon"']


def test_each_model_is_told_what_it_lacks(problems: Problems) -> None:
    content = BASE.replace("  labels: {topic: labels}\n", "").replace("flights:", "flights: {}\n  trains: {}")
    assert problems(content) == [
        "c.yaml:7: models.flights.labels: required, but not given",
        "c.yaml:8: models.trains.labels: required, but not given",
    ]


def test_two_models_cannot_share_a_champion(problems: Problems) -> None:
    assert problems(BASE + "  trains: {registered_model: flights}\n") == [
        "c.yaml:9: models.trains: expected another registered_model or promotion.alias than those of models.flights"
    ]


def test_scores_are_needed_where_a_metric_needs_them(problems: Problems) -> None:
    assert problems(BASE + "    metrics: [accuracy, auc]\n    predictions: {fields: {score: null}}\n") == [
        (
            "c.yaml:9: models.flights.metrics.1: expected a metric that needs no score, as predictions.fields.score is "
            'null, got "auc"'
        )
    ]


def test_slices_look_at_the_features_that_are_listed(problems: Problems) -> None:
    features = "    predictions: {fields: {features: [row.carrier, distance]}}\n"
    slices = '    slices: [row.carrier, row.carier, {name: far, when: "distance > 1 and distnce > 1"}]\n'
    expected = "expected features of predictions.fields.features"
    assert problems(BASE + features + slices) == [
        f'c.yaml:10: models.flights.slices.1: {expected}, got "row.carier"; did you mean row.carrier?',
        f'c.yaml:10: models.flights.slices.2: {expected}, got "distnce"; did you mean distance?',
    ]


def test_what_came_from_a_file_is_not_quoted(problems: Problems, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    assert problems(BASE + "    observe: ${file:secret}\n") == [
        "c.yaml:9: models.flights.observe: expected true or false"
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "c.yaml:1: expected a mapping, got nothing"),
        ("- kafka", "c.yaml:1: expected a mapping, got a list"),
        ("a: [1\nb: 2", "c.yaml:2: not YAML, while parsing a flow sequence, expected ',' or ']', but got ':'"),
        ("a: 1\n---\nb: 2", "c.yaml:2: not YAML, expected a single document in the stream, but found another document"),
        (b"a: \xff", "c.yaml:1: cannot be read: it is not UTF-8 text"),
        ("a: \x01", "c.yaml:1: not YAML, it holds characters or a depth that YAML does not allow"),
        ("[" * 5000, "c.yaml:1: not YAML, it holds characters or a depth that YAML does not allow"),
    ],
    ids=["empty", "list", "syntax", "two documents", "not UTF-8", "control character", "deep"],
)
def test_a_file_that_cannot_be_understood(content: str | bytes, problem: str, problems: Problems) -> None:
    assert problems(content) == [problem]


def test_a_file_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match=r"^nowhere\.yaml:1: cannot be read: No such file or directory$"):
        load(Path("nowhere.yaml"), {})


def test_aliases_that_hold_themselves_are_refused(problems: Problems) -> None:
    assert problems(BASE.replace("flights:", "flights: &a {slices: *a}")) == [
        "c.yaml:8: models.flights.slices: expected a value, got an alias for something that holds it"
    ]
