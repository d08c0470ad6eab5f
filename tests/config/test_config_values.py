"""What a user's file means: values, defaults, references to the outside, paths."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from retrainer.bootstrap import Wiring
from retrainer.config.load import load
from retrainer.config.model import ModelSettings
from retrainer.config.section import Section
from retrainer.config.settings import Settings
from retrainer.config.triggers import ScheduleSettings, ThresholdSettings
from retrainer.domain.deciding.conditions import parse
from retrainer.domain.join.rules import Absent
from retrainer.domain.judging.order import RowsPolicy
from retrainer.domain.mapping.mapping import Field
from retrainer.domain.mapping.slices import SlicePolicy
from retrainer.domain.values import SECOND
from retrainer.policies import model_policy

EXAMPLES = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))

BASE = """
kafka: {bootstrap_servers: "localhost:9092"}
defaults:
  task: classification
  predictions: {topic: predictions}
  labels: {topic: labels}
  training: {estimator: sklearn.linear_model.LogisticRegression}
"""

Read = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The settings of a file with these lines after the base."""

    def read(text: str, **env: str) -> Settings:
        path = tmp_path / "retrainer.yaml"
        path.write_text(BASE + text, "utf-8")
        return load(path, env).settings

    return read


@pytest.fixture
def read_model(read: Read) -> Callable[[str], ModelSettings]:
    """The settings of a model that has these keys beside the base's."""
    return lambda keys, **env: read(f"models: {{flights: {{{keys}}}}}", **env).models["flights"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_loads(path: Path) -> None:
    assert load(path, {"KAFKA_BOOTSTRAP": "broker:9092"}).settings.kafka.bootstrap_servers == "broker:9092"


def test_the_shortest_file_has_the_defaults(read: Read) -> None:
    settings = read("models: {flights: }")
    model = settings.models["flights"]
    assert settings.kafka.start == timedelta(days=7)
    assert settings.state.flush.every == timedelta(seconds=2)
    assert settings.state.flush.bytes == 64 * 2**20
    assert (model.name, model.registered_model) == ("flights", "flights")
    assert model.metrics == ("accuracy",)
    assert model.triggers == {}
    assert model.training.rows == RowsPolicy(kind="auto")
    assert model.labels.max_delay == timedelta(days=3)


def test_the_full_example_spells_the_defaults(read: Read) -> None:
    (full,) = (path for path in EXAMPLES if path.name == "full.yaml")
    settings, shortest = load(full, {}).settings, read("models: {flights: }")
    assert differing(settings.service, shortest.service) == {"own_code": False}
    assert differing(settings.kafka, shortest.kafka) == {"rekey": False}
    assert settings.state.flush == shortest.state.flush
    spelled, default = settings.models["flights"], shortest.models["flights"]
    assert spelled.guards == default.guards
    assert differing(spelled.promotion, default.promotion).keys() == {"approval"}
    assert differing(spelled.labels, default.labels) == {"when_null": "quarantine"}
    assert spelled.predictions.fields == default.predictions.fields
    assert spelled.training.limits == default.training.limits


def differing(spelled: Section, default: Section) -> dict[str, Any]:
    """Where a file has a value in the place of a null that stands for it: keys that are not built yet."""
    values, defaults = spelled.model_dump(), default.model_dump()
    changed = {key: value for key, value in values.items() if value != defaults[key]}
    assert all(defaults[key] is None for key in changed), changed
    return changed


def test_the_working_folder_is_that_of_the_database_unless_the_file_says_so(tmp_path: Path) -> None:
    def folders(state: str) -> tuple[Path, list[Path]]:
        path = tmp_path / "retrainer.yaml"
        path.write_text(f"{BASE}models: {{flights: }}\nstate: {{{state}}}\n")
        wiring = Wiring(load(path, {}))
        return wiring.folder, wiring.locked_folders

    assert folders("") == (tmp_path / "state", [tmp_path / "state"])
    assert folders('database: "sqlite:///db/r.db"') == (tmp_path / "db", [tmp_path / "db"])
    assert folders("folder: work") == (tmp_path / "work", [tmp_path / "state", tmp_path / "work"])
    other = 'database: "postgresql+psycopg://me@db/r"'
    assert folders(other) == (tmp_path / "state", [tmp_path / "state"])


def test_age_may_be_given_in_years(read: Read) -> None:
    assert read("models: {flights: }\nstate: {keep: 2y}").state.keep == timedelta(days=730)


def test_a_regression_is_judged_by_its_absolute_error(read_model: Any) -> None:
    assert read_model("task: regression").metrics == ("mae",)


@pytest.mark.parametrize(("state", "memory"), [("", 2 * 2**30), ("state: {memory: 300MiB}", 300 * 2**20)])
def test_the_worker_is_told_how_much_memory_it_may_have(state: str, memory: int, tmp_path: Path) -> None:
    path = tmp_path / "retrainer.yaml"
    path.write_text(f"{BASE}models: {{flights: }}\n{state}\n")
    loaded = load(path, {})
    assert not loaded.unbuilt
    wiring = Wiring(loaded)
    with closing(wiring):
        worker = wiring.worker()
        worker.stop()
        assert worker.policy.memory == memory


@pytest.mark.parametrize(
    ("start", "meaning"),
    [
        ("36h", timedelta(hours=36)),
        ("earliest", "earliest"),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
    ],
)
def test_the_first_start_is_a_duration_an_end_or_a_time(start: str, meaning: object, tmp_path: Path) -> None:
    path = tmp_path / "retrainer.yaml"
    path.write_text(BASE.replace('9092"', f'9092", start: {start}') + "models: {flights: }")
    assert load(path, {}).settings.kafka.start == meaning


@pytest.mark.parametrize(
    ("rows", "policy"),
    [
        ("{last: 5000}", RowsPolicy(kind="last", count=5000)),
        ("{last: 30d}", RowsPolicy(kind="last", span=30 * 86_400_000_000)),
        ("all", RowsPolicy(kind="all")),
        ("auto", RowsPolicy(kind="auto")),
        ("since_change", RowsPolicy(kind="since_change")),
    ],
)
def test_rows_are_chosen_by_count_time_or_policy(rows: str, policy: RowsPolicy, read_model: Any) -> None:
    assert read_model(f"training: {{rows: {rows}}}").training.rows == policy


def test_triggers_are_known_by_their_kind(read_model: Any) -> None:
    triggers = read_model("""triggers: {
        low: {threshold: {metric: accuracy, below: 0.8, window: 1d, breaches: 1 of 1, confident: true}},
        monthly: {schedule: {cron: "0 3 1 * 7", timezone: America/New_York}}}""").triggers
    low, monthly = triggers["low"].settings, triggers["monthly"].settings
    assert [trigger.kind for trigger in triggers.values()] == ["threshold", "schedule"]
    assert isinstance(low, ThresholdSettings)
    assert (low.window, low.breaches, low.confident) == (timedelta(days=1), (1, 1), True)
    assert isinstance(monthly, ScheduleSettings)
    assert (monthly.cron, monthly.timezone) == ("0 3 1 * 7", ZoneInfo("America/New_York"))


@pytest.mark.parametrize(
    "cron", ["*/5 * * * *", "0 3 * * 0", "0 3 * * 1-7", "0 3 * * sun-tue", "0 3 * * Fri-sun,2", "0 0 1 jan */2"]
)
def test_weekdays_mean_what_they_mean_in_cron(cron: str, read_model: Any) -> None:
    model = read_model(f'triggers: {{t: {{schedule: {{cron: "{cron}"}}}}}}')
    assert model.triggers["t"].schedule.cron == cron


def test_a_trigger_may_be_a_class_of_ones_own(read_model: Any) -> None:
    triggers = read_model("""triggers: {
        mine: {"own.module:Class": {days: 2, at: [a, b]}},
        bare: {"own:Class": null},
        shift: {change: {metric: accuracy}}}""").triggers
    assert triggers["mine"].own == triggers["mine"].settings == ("own.module:Class", {"days": 2, "at": ["a", "b"]})
    assert triggers["bare"].own == ("own:Class", {})
    assert triggers["shift"].own is None
    assert [trigger.kind for trigger in triggers.values()] == ["own.module:Class", "own:Class", "change"]
    assert [trigger.metric for trigger in triggers.values()] == [None, None, "accuracy"]


def test_retrain_when_is_a_condition_over_triggers(read_model: Any) -> None:
    model = read_model("triggers: {a: {schedule: {every: 1d}}}, retrain_when: not a")
    assert model.retrain_when == parse("not a")


def test_what_absence_means_is_part_of_the_join(read_model: Any) -> None:
    silent = read_model("labels: {max_delay: 1h, absent: {after: 30m, value: no_click}}")
    assert model_policy(silent).ingest.join.absent == Absent(after=1800 * SECOND, value="no_click")
    assert model_policy(read_model("")).ingest.join.absent is None


def test_slices_are_features_or_conditions(read_model: Any) -> None:
    model = read_model("""slices: [carrier, {name: long, when: "distance > 1500 and carrier in ('AA', 'UA')"}]""")
    assert model.slices == (
        SlicePolicy(name="carrier"),
        SlicePolicy(name="long", when="distance > 1500 and carrier in ('AA', 'UA')"),
    )


class TestFields:
    def test_fields_that_are_not_given_keep_their_defaults(self, read_model: Any) -> None:
        fields = read_model("predictions: {fields: {id: payload.after.id}}").predictions.fields
        assert fields.id == (Field(paths=("payload.after.id",)),)
        assert fields.time == Field(paths=("timestamp",))

    def test_an_id_may_be_made_of_several_fields(self, read_model: Any) -> None:
        fields = read_model("labels: {fields: {id: {join: [$key, [order.id, order_id]]}}}").labels.fields
        assert fields.id == (Field(paths=("$key",)), Field(paths=("order.id", "order_id")))

    def test_a_list_means_the_first_that_is_present(self, read_model: Any) -> None:
        fields = read_model("labels: {fields: {value: [label, $headers.label]}}").labels.fields
        assert fields.value == Field(paths=("label", "$headers.label"))

    def test_a_time_may_declare_its_unit(self, read_model: Any) -> None:
        fields = read_model("labels: {fields: {time: {path: ts, unit: ms}}}").labels.fields
        assert fields.time == Field(paths=("ts",), unit="ms")

    @pytest.mark.parametrize(
        ("features", "meaning"), [("x.y", Field(paths=("x.y",))), ("[a, b.c]", ("a", "b.c")), ('"*"', None)]
    )
    def test_features_are_an_object_a_list_or_all_the_rest(
        self, features: str, meaning: object, read_model: Any
    ) -> None:
        assert read_model(f"predictions: {{fields: {{features: {features}}}}}").predictions.fields.features == meaning

    def test_optional_fields_can_be_turned_off(self, read_model: Any) -> None:
        fields = read_model("predictions: {fields: {score: null, version: null}}").predictions.fields
        assert fields.score is None
        assert fields.version is None


class TestScalars:
    def test_classes_are_canonical_text(self, read_model: Any) -> None:
        model = read_model("classes: [0, 1.0, true, late], positive: 1")
        assert model.classes == ("0", "1", "true", "late")
        assert model.positive == "1"

    def test_words_that_old_yaml_turned_into_booleans_stay_words(self, read_model: Any) -> None:
        assert read_model("classes: [yes, no, on, off]").classes == ("yes", "no", "on", "off")

    def test_parameters_keep_their_types(self, read_model: Any) -> None:
        params = read_model(
            "training: {params: {a: 1, b: 1.5, c: 1e-3, d: true, e: null, f: text, g: '1', h: [1, {x: 0}], i: 007}}"
        ).training.params
        assert params == {
            "a": 1, "b": 1.5, "c": 0.001, "d": True, "e": None, "f": "text", "g": "1", "h": [1, {"x": 0}], "i": "007",
        }  # fmt: skip

    def test_anchors_and_merge_keys_work(self, read: Read) -> None:
        settings = read("""models:
  flights: &base {metrics: [f1_macro], positive: late}
  trains: {<<: *base, positive: cancelled}""")
        assert settings.models["trains"].metrics == ("f1_macro",)
        assert settings.models["trains"].positive == "cancelled"


class TestDefaults:
    def test_they_are_merged_under_each_model_at_any_depth(self, read: Read) -> None:
        settings = read("""  guards: {cooldown: 1h, per_day: 2}
models:
  flights: {guards: {per_day: 9}}
  trains: {}""")
        flights, trains = settings.models["flights"].guards, settings.models["trains"].guards
        assert (flights.cooldown, flights.per_day) == (timedelta(hours=1), 9)
        assert (trains.cooldown, trains.per_day) == (timedelta(hours=1), 2)

    def test_null_takes_back_what_they_say(self, read: Read) -> None:
        settings = read("""  guards: {cooldown: 1h}
models:
  flights: {guards: {cooldown: null}, training: {estimator: null, command: [make, train]}}""")
        assert settings.models["flights"].guards.cooldown == timedelta(hours=6)
        assert settings.models["flights"].training.command == ("make", "train")

    def test_lists_are_replaced(self, read: Read) -> None:
        settings = read("  metrics: [accuracy, f1]\nmodels: {flights: {metrics: [recall]}}")
        assert settings.models["flights"].metrics == ("recall",)


class TestReferences:
    def test_variables_and_their_defaults(self, read: Read) -> None:
        text = "service: {jobs: '${JOBS:-3}'}\nmodels: {flights: {positive: '${A}-${B:-b}'}}"
        assert read(text, A="a").service.jobs == 3
        assert read(text, A="a").models["flights"].positive == "a-b"
        assert read(text, A="", JOBS="").service.jobs == 3
        assert read(text, A="", B="x", JOBS="7").models["flights"].positive == "-x"

    def test_unquoted_values_have_the_type_that_they_look_like(self, read: Read) -> None:
        settings = read(
            "models: {flights: {observe: ${OBSERVE}, training: {params: {depth: ${DEPTH}, rate: ${RATE}}}}}",
            OBSERVE="true", DEPTH="5", RATE="0.25",
        )  # fmt: skip
        model = settings.models["flights"]
        assert model.observe is True
        assert model.training.params == {"depth": 5, "rate": 0.25}

    @pytest.mark.parametrize("password", ["0123", "123", "1.50", "1e3", "true", "True", "p#: {}ss"])
    def test_a_password_stays_as_it_is(self, password: str, tmp_path: Path) -> None:
        (tmp_path / "password").write_text(password + "\n")
        path = tmp_path / "retrainer.yaml"
        for reference in ("${PASSWORD}", "${file:password}", f"${{file:{tmp_path / 'password'}}}"):
            path.write_text(
                BASE.replace('9092"', f'9092", client: {{sasl_plain_password: {reference}}}') + "models: {flights: }"
            )
            client = load(path, {"PASSWORD": password}).settings.kafka.client
            assert client == {"sasl_plain_password": password}

    def test_an_empty_variable_is_null(self, read: Read) -> None:
        assert read("service: {token: ${TOKEN:-}}\nmodels: {flights: }").service.token is None

    def test_a_doubled_dollar_sign_is_one(self, read_model: Any) -> None:
        assert read_model("positive: '$${x}'").positive == "${x}"


class TestPaths:
    def test_files_are_relative_to_the_configuration(self, read: Read, tmp_path: Path) -> None:
        settings = read("state: {database: sqlite:///data/r.db, segments: data/s}\nmodels: {flights: }")
        assert settings.state.database == f"sqlite:///{tmp_path}/data/r.db"
        assert settings.state.segments == f"{tmp_path}/data/s"
        assert settings.mlflow.tracking_uri == f"sqlite:///{tmp_path}/state/mlflow.db"
        assert settings.mlflow.artifacts == f"{tmp_path}/state/artifacts"

    def test_absolute_paths_and_urls_stay(self, read: Read) -> None:
        settings = read("""
state: {database: "postgresql+psycopg://me@db/retrainer", segments: "s3://bucket/segments"}
mlflow:
  tracking_uri: https://mlflow.example.org
  registry_uri: sqlite:////var/mlflow.db
  artifacts: /var/artifacts
models: {flights: }""")
        assert settings.state.database == "postgresql+psycopg://me@db/retrainer"
        assert settings.state.segments == "s3://bucket/segments"
        assert settings.mlflow.tracking_uri == "https://mlflow.example.org"
        assert settings.mlflow.registry_uri == "sqlite:////var/mlflow.db"
        assert settings.mlflow.artifacts == "/var/artifacts"

    def test_a_relative_name_of_the_file_makes_no_difference(
        self, read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = read("models: {flights: }")
        monkeypatch.chdir(tmp_path)
        assert load(Path("retrainer.yaml"), {}).settings == settings


def test_settings_cannot_be_changed(read: Read) -> None:
    settings = read("models: {flights: }")
    with pytest.raises(ValueError, match="frozen"):
        settings.service.jobs = 2
