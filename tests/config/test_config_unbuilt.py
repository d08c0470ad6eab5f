"""A key whose capability is not built yet is named, never accepted and ignored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from retrainer.config.load import load
from retrainer.config.unbuilt import Unbuilt
from tests.config.base import BASE

Asked = Callable[[str], tuple[Unbuilt, ...]]


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """What a file asks for that is not built."""

    def asked(content: str) -> tuple[Unbuilt, ...]:
        path = tmp_path / "retrainer.yaml"
        path.write_text(content)
        return load(path, {}).unbuilt

    return asked


def test_defaults_ask_for_nothing(asked: Asked) -> None:
    assert asked(BASE) == ()


@pytest.mark.parametrize(
    "keys",
    [
        "metrics: [accuracy, balanced_accuracy, f1_macro, f1_weighted, precision, recall, f1]",
        "metrics: [accuracy, auc, log_loss, brier, calibration_error]",
        "triggers: {t: {threshold: {metric: log_loss, above: 0.5}}}",
        "judge: {floors: {auc: 0.6}}",
        "triggers: {t: {threshold: {metric: f1, below: 0.8, confident: true}}, s: {schedule: {every: 1d}}}",
        "predictions: {fields: {id: {join: [a, b]}}, expect_every: 10m}",
        "training: {rows: auto, search: null}",
        "training: {rows: {last: 5000}}",
        "promotion: {mode: register, probation: null}",
        "promotion: {mode: automatic}",
        "guards: {min_coverage: 0, cooldown: 1h, per_day: 2}",
        "slices: [carrier]",
        "judge: {slices: {max_loss: 0.05}}",
        "triggers: {t: {drop: {metric: f1, by: 0.1}}}",
        "triggers: {t: {new_class: {}}}",
        "triggers: {t: {drift: {}}}",
        "guards: {min_coverage: 0.5}",
        "training: {checks: {on: alert}}",
        "training: {rows: since_change}",
        "judge: {expires: 7d}",
        "triggers: {t: {change: {metric: brier}}, v: {volume: {labels: 9}}}",
        "promotion: {challenger_alias: next}",
        "labels: {absent: {after: 1h, value: on_time}}",
        "labels: {when_null: quarantine, deleted: {}, time_format: null}",
        "training: {on: process, sandbox: {mode: none}, environment: []}",
        "judge: {by: evidence, baselines: block}",
    ],
)
def test_what_is_built_asks_for_nothing(keys: str, asked: Asked) -> None:
    assert asked(f"{BASE}    {keys}\n") == ()


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ("training: {estimator: null, command: [make]}", "training.command"),
        ("promotion: {mode: approval}", "promotion.mode"),
        ("promotion: {mode: shadow}", "promotion.mode"),
        ("promotion: {probation: {labels: 10}}", "promotion.probation"),
        ("promotion: {mode: experiment}", "promotion.mode"),
        ("promotion: {approval: {expires: 1d}}", "promotion.approval"),
        ("preset: debezium", "preset"),
        ("numbers: {amount: '1.234,5'}", "numbers"),
        ("labels: {when_null: retract}", "labels.when_null"),
        ("labels: {deleted: {__deleted: 'true'}}", "labels.deleted"),
        ("labels: {time_format: compact}", "labels.time_format"),
        ("predictions: {time_format: ms}", "predictions.time_format"),
        ("training: {on: {ray: {address: 'http://ray:8265'}}}", "training.on"),
        ("training: {weights: {half_life: 30d}}", "training.weights"),
        ("training: {weights: {class: balanced}}", "training.weights"),
        ("training: {estimator: null, pipeline: [sklearn.preprocessing.StandardScaler]}", "training.pipeline"),
        ("training: {sandbox: {mode: required}}", "training.sandbox"),
        ("training: {environment: [HTTPS_PROXY]}", "training.environment"),
        ("training: {code: .}", "training.code"),
        ("training: {price: 50}", "training.price"),
        ("judge: {by: gain}", "judge.by"),
        ("judge: {baselines: tell}", "judge.baselines"),
    ],
)
def test_what_is_not_built_is_named_with_its_line(keys: str, key: str, asked: Asked) -> None:
    (found,) = asked(f"{BASE}    {keys}\n")
    assert str(found) == f"not built yet: models.flights.{key}"
    assert found.line == 9
    assert found.reason


def test_the_service_s_keys_are_named(asked: Asked) -> None:
    content = """
state: {segments: "s3://bucket", database: "postgresql+psycopg://me@db/r"}
service: {http: "0.0.0.0:80", token: {ann: t, bot: {token: u, may: [read]}}, notify: [], quarantine_topic: q}
"""
    assert [found.key for found in asked(BASE + "    {}" + content)] == [
        "state.segments", "state.database", "service.http", "service.token", "service.quarantine_topic",
    ]  # fmt: skip


def test_keys_that_say_what_holds_today_ask_for_nothing(asked: Asked) -> None:
    content = """
state: {folder: here, keep: null}
mlflow: {trust: any}
service: {own_code: true, url: null}
"""
    built = BASE.replace("bootstrap_servers", "rekey: false, bootstrap_servers", 1)
    assert asked(built + "    {}" + content) == ()


def test_keys_around_the_models_are_named_too(asked: Asked) -> None:
    content = """
state: {minutes: 30d, keep: 2y, quarantine: {records: 5}}
mlflow: {trust: ours}
service: {own_code: false, url: "https://retrainer.example.org"}
"""
    assert [found.key for found in asked(BASE + "    {}" + content)] == [
        *("state.minutes", "state.keep", "state.quarantine", "mlflow.trust", "service.own_code", "service.url")
    ]


def test_what_the_defaults_ask_for_is_named_for_each_model(asked: Asked) -> None:
    content = BASE.replace("models:", "  promotion: {mode: shadow}\nmodels:\n  trains: {}").replace(
        "flights:", "flights: {}"
    )
    assert [(found.key, found.line) for found in asked(content)] == [
        ("models.trains.promotion.mode", 7),
        ("models.flights.promotion.mode", 7),
    ]
