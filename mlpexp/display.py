"""Progress while cohorts train: a live bar on a terminal, plain lines in a pipe.

Flow: run → **display** → terminal.
"""

import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from mlpexp.letters import in_width
from mlpexp.results import Result
from mlpexp.verdicts import leading_score

PLAIN_SECONDS = 10.0
"""Between two lines of progress where output is piped."""


class Display:
    """Progress of one call: a live bar on a terminal, a line now and then in a pipe, nothing when quiet."""

    def __init__(self, runs: int, to_train: int, quiet: bool = False, within: str = "") -> None:
        self.console = Console(file=sys.stderr, quiet=quiet)
        self.runs, self.to_train = runs, to_train
        self.within = within and f"{within}: "
        self.total, self.done, self.ended, self.began, self.told = 0, 0, 0, 0.0, 0.0
        self.bar: Progress | None = None
        self.live: Live | None = None
        self.line = Text(style="dim")
        self.best: tuple[float, str] | None = None
        self.scores: dict[str, list[float]] = {}
        self.failures, self.running = 0, 0
        self.waited_for = "writing to MLflow"

    def __enter__(self) -> Self:
        known = self.runs - self.to_train
        if known:
            self.note(f"recorded before, taken as they are: {known} of {counted(self.runs, 'run')}")
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def start(self, run_steps: int, cohorts: int, workers: int) -> None:
        """Training begins."""
        self.total, self.began, self.told = run_steps, time.monotonic(), time.monotonic()
        counts = [counted(self.to_train, "network"), counted(cohorts, "cohort"), counted(workers, "process")]
        self.note(f"training {counts[0]} in {counts[1]} on {counts[2]}")
        widgets = self.console.is_jupyter and find_spec("ipywidgets") is not None
        if self.console.quiet or not (self.console.is_terminal or widgets):
            return
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self.console,
            expand=True,
        )
        self.bar.add_task(self.counts(), total=run_steps, speed="")
        self.live = Live(Group(self.bar, self.line), console=self.console, transient=True)
        self.live.start()

    def counts(self) -> str:
        """`4 runs done, 64 running, 32 to do, 1 failed`."""
        to_do = self.to_train - self.ended - self.running - self.failures
        failed = f", {self.failures} failed" if self.failures else ""
        return f"{self.within}{counted(self.ended, 'run')} done, {self.running} running, {max(0, to_do)} to do{failed}"

    def progress(self, run_steps: int, running: int) -> None:
        """So many run-steps are done in all, and so many runs are under way."""
        self.done, self.running = run_steps, running
        now = time.monotonic()
        speed = run_steps / max(now - self.began, 1e-9)
        best = self.best[1] if self.best else ""
        if self.bar is not None:
            (task,) = self.bar.task_ids
            self.bar.update(task, completed=run_steps, description=self.counts(), speed=f"{speed:,.0f}/s")
            self.line.plain = best
        elif now - self.told >= PLAIN_SECONDS:
            self.told = now
            left = f", {spelt((self.total - run_steps) / speed)} left" if speed else ""
            steps = f"{run_steps:,} of {self.total:,} run-steps, {speed:,.0f}/s"
            self.note(f"{self.counts()}; {steps}{left}{f'; {best}' if best else ''}")

    def finished(self, runs: int) -> None:
        """So many more runs are done."""
        self.ended += runs
        if self.began and self.ended >= self.to_train:
            seconds = time.monotonic() - self.began
            self.note(f"trained {counted(self.to_train, 'network')} in {seconds:.1f} s")

    def scored(self, results: Sequence[Result]) -> None:
        """Remember the best point on validation so far, by the mean of those of its seeds that have ended."""
        for run in results:
            name, sign = leading_score([run], "validation")
            if name not in run.scores:
                continue
            values = self.scores.setdefault(run.config.point(), [])
            values.append(run.scores[name])
            value = sum(values) / len(values)
            if self.best is None or sign * value > self.best[0]:
                kind = name.partition("/")[0]
                self.best = sign * value, f"best {kind} on validation {value:.4g}: {run.condition}"

    def failed(self, line: str) -> None:
        """A cohort failed: said when it happens."""
        self.failures += 1
        self.console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)

    def waiting(self, what: str) -> None:
        """Training is over, something else goes on."""
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], description=what, speed="")
        elif what != self.waited_for:
            self.waited_for = what
            self.note(what)

    def warning(self, text: str) -> None:
        """One line that is worth a second look."""
        self._tell(text, "yellow")

    def note(self, text: str) -> None:
        """One line for the reader."""
        self._tell(text, "dim")

    def _tell(self, text: str, style: str) -> None:
        self.console.print(
            in_width(text, stream=self.console.file), style=style, highlight=False, markup=False, soft_wrap=True
        )


def counted(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


def spelt(seconds: float) -> str:
    """`under 10 s`, `about 3 min`, `about 2.5 h`."""
    if seconds < 10:
        return "under 10 s"
    if seconds < 90:
        return f"about {round(seconds, -1):.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
