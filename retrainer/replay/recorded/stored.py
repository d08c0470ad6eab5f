"""Where recordings come from: the state that a configuration leads to, of which nothing is changed, or files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from retrainer.adapters.files.datasets import ParquetDatasets
from retrainer.bootstrap import Wiring
from retrainer.domain.values import Micros
from retrainer.replay.progress import ProgressBar
from retrainer.replay.recorded.events import read_events, read_topics
from retrainer.replay.recorded.play import builds
from retrainer.replay.recorded.recording import Recording
from retrainer.replay.recorded.run import replay_recorded
from retrainer.replay.run import Replays
from retrainer.service.jobs.dataset import DatasetBuilder
from retrainer.service.policy import ModelPolicy


def replay_events(
    policies: Mapping[str, ModelPolicy], files: Sequence[str], training_takes: Micros, out: Path, progress: ProgressBar
) -> Replays:
    """Replay each policy over files of predictions and labels, read with the mapping of the first one.

    Raises:
        WrongOption: files do not hold what the mapping needs.
        Refused: a file or the folder cannot be used.
    """
    predictions, labels = (Path(file) for file in files)
    recording, builder = read_events(next(iter(policies.values())), predictions, labels)
    return replay_recorded(policies, recording, builds(builder), training_takes, out=out, progress=progress)


def replay_topics(
    policies: Mapping[str, ModelPolicy], wiring: Wiring, training_takes: Micros, out: Path, progress: ProgressBar
) -> Replays:
    """Replay each policy over the topics of the first one's model, from the beginning to where they end now.

    Raises:
        Unreachable: no broker answers, or a topic does not exist.
        Refused: there is nothing that joins, or the folder cannot be used.
    """
    recording, builder = read_topics(next(iter(policies.values())), wiring.settings.kafka, wiring.decoders)
    return replay_recorded(policies, recording, builds(builder), training_takes, out=out, progress=progress)


def replay_stored(
    policies: Mapping[str, ModelPolicy], wiring: Wiring, training_takes: Micros, out: Path, progress: ProgressBar
) -> Replays:
    """Replay each policy over what the service of a configuration has stored; the first one is the service's own.

    Raises:
        Unreachable: the database is away.
        Refused: there is nothing stored, or the folder cannot be used.
    """
    own = next(iter(policies.values()))
    recording = Recording.of(wiring.decisions, own)
    builder = DatasetBuilder(
        state=wiring.decisions, segments=wiring.segments(), decoders=wiring.decoders, datasets=ParquetDatasets()
    )
    return replay_recorded(policies, recording, builds(builder), training_takes, out=out, progress=progress)
