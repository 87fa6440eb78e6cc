"""What a person sees while a search runs: the best trials so far, how many have ended and how; piped, a line at times.

Flow: drive → **board** → terminal.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mlpexp.display import PLAIN_SECONDS, Display, counted
from mlpexp.results import Result

MOST_ROWS = 8
"""So many of the best trials are shown."""


@dataclass(frozen=True)
class Row:
    """One trial as it is shown."""

    number: int
    values: Sequence[float]
    words: Mapping[str, object]

    def told(self) -> str:
        """`model.depth=3 optimizer.learning_rate=0.0123`."""
        return " ".join(f"{key}={_short(value)}" for key, value in self.words.items())


class Board(Display):
    """Progress of a search; a Display whose unit is the trial."""

    def __init__(self, n_trials: int, names: Sequence[str], quiet: bool = False) -> None:
        super().__init__(0, 0, quiet)
        self.n_trials, self.names = n_trials, list(names)
        self.states: Counter[str] = Counter()
        self.rows: list[Row] = []
        self.live: Live | None = None
        self.began = self.told = time.monotonic()

    def __enter__(self) -> Self:
        if self.console.is_terminal and not self.console.quiet:
            self.live = Live(console=self.console, transient=True, refresh_per_second=4)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def trials(self, states: Mapping[str, int], best: Sequence[Row]) -> None:
        """So many trials are in each state, and these are the best so far."""
        self.states, self.rows = Counter(states), list(best)
        self._draw()

    def progress(self, run_steps: int, running: int) -> None:
        """So many run-steps are done in all, and so many runs are under way."""
        self.done, self.running = run_steps, running
        self._draw()

    def finished(self, runs: int) -> None:
        """Single runs are not counted here: trials are."""

    def scored(self, results: Sequence[Result]) -> None:
        """Single runs are not ranked here: trials are."""

    def waiting(self, what: str) -> None:
        """Something else goes on."""
        if what != self.waited_for:
            self.waited_for = what
            self.note(what)

    def summary(self) -> str:
        """`37 of 200 trials, 3 pruned, 1 failed`."""
        over = sum(number for state, number in self.states.items() if state != "running")
        others = [f"{self.states[state]} {state}" for state in ("pruned", "failed", "running") if self.states[state]]
        return ", ".join([f"{over} of {counted(self.n_trials, 'trial')}", *others])

    def _draw(self) -> None:
        now = time.monotonic()
        if self.live is not None:
            line = Text(f"{self.summary()}, {self._speed(now)}", style="dim")
            self.live.update(Group(table_of(self.names, self.rows), line) if self.rows else line)
        elif now - self.told >= PLAIN_SECONDS:
            self.told = now
            best = f"; best {self.names[0]} {self.rows[0].values[0]:.4g}: {self.rows[0].told()}" if self.rows else ""
            self.note(f"{self.summary()}, {self._speed(now)}{best}")

    def _speed(self, now: float) -> str:
        return f"{self.done / max(now - self.began, 1e-9):,.0f} run-steps/s"


def table_of(names: Sequence[str], rows: Sequence[Row]) -> Table:
    """The best trials: their numbers, scores and values."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("trial", justify="right")
    for name in names:
        table.add_column(name.replace("/", "/\n"), justify="right", no_wrap=True)
    table.add_column("point", overflow="fold")
    for row in rows:
        table.add_row(str(row.number), *(f"{value:.4g}" for value in row.values), row.told())
    return table


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
