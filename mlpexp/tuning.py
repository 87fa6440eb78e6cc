"""Fair comparison: the same grid within every point, picked on validation, the pick scored on fresh seeds.

Flow: sweep → **tuning** → runner. Without it a table of depths mostly compares luck with the step size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from mlpexp.composition import Composer
from mlpexp.config import Config
from mlpexp.overrides import parse
from mlpexp.planning import accept
from mlpexp.records import metric
from mlpexp.refusals import ConfigError
from mlpexp.results import Result
from mlpexp.runner import execute, order_of
from mlpexp.verdicts import mean

PREFIX = "tune."

Grid = dict[str, list[str]]
"""Key → its values, as they are written on the command line."""


@dataclass(frozen=True)
class Candidate:
    """One combination of the grid at one point, and what its seeds scored on validation."""

    choice: dict[str, str]
    score: float
    runs: list[Result]


@dataclass(frozen=True)
class Pick:
    """The best candidate of one point, and its config with fresh seeds."""

    overrides: list[str]
    chosen: dict[str, str]
    on_edge: list[str]
    fresh: Config
    candidates: list["Candidate"] = field(default_factory=list)
    finished: bool = True

    def line(self) -> str:
        """`model.depth=2: picked optimizer.learning_rate=0.01 on validation`."""
        if not self.finished:
            return f"{' '.join(self.overrides) or 'the point'}: every candidate diverged; the first one stands for them"
        values = " ".join(f"{key}={value}" for key, value in self.chosen.items())
        return f"{' '.join(self.overrides) or 'the point'}: picked {values} on validation"

    def warning(self) -> str | None:
        """Where the pick lies on the edge of its grid, a better value may lie beyond."""
        if not self.on_edge:
            return None
        values = ", ".join(f"{key}={self.chosen[key]}" for key in self.on_edge)
        return f"{' '.join(self.overrides) or 'the point'}: the pick {values} lies on the edge of its grid; widen it"


def split_words(words: Sequence[str]) -> tuple[list[str], Grid]:
    """The words without `tune.KEY=[a,b,…]`, and the grid that those name."""
    rest = [word for word in words if not word.startswith(PREFIX)]
    grid: Grid = {}
    for word in words:
        if not word.startswith(PREFIX):
            continue
        key, _, text = word.removeprefix(PREFIX).partition("=")
        values = parse(f"{key}={text}").value() if text else None
        if not isinstance(values, list) or not values:
            raise ConfigError([f"{word} names no grid; write {PREFIX}{key or 'KEY'}=[a,b,…]"])
        grid[key] = [str(value) for value in values]
    return rest, grid


def candidates(overrides: Sequence[str], grid: Grid) -> list[tuple[dict[str, str], list[str]]]:
    """Every combination of the grid, with the overrides of the point that it makes."""
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    return [(choice, [*overrides, *(f"{key}={value}" for key, value in choice.items())]) for choice in combinations]


def tune(
    composer: Composer, job_overrides: Sequence[Sequence[str]], grid: Grid, sweep: str | None = None
) -> list[Pick]:
    """Train every candidate of every point, and pick on validation; the picks on fresh seeds are left to train.

    Fresh seeds lie above all seeds of the search: every point's seeds are moved up by as many as the search spans.
    """
    per_point = [candidates(overrides, grid) for overrides in job_overrides]
    configs = accept(composer.points([words for point in per_point for _, words in point]))
    if any(config.data.split.validation == 0 for config in configs):
        raise ConfigError(["tune.… picks on the validation part, but data.split.validation=0; give it some rows"])
    order = order_of(configs)
    execute(order, sweep=sweep)
    results = iter(order.results())
    remaining = iter(configs)
    span = max(config.seed + config.replicates for config in configs) - min(config.seed for config in configs)
    picks = []
    for overrides, point in zip(job_overrides, per_point, strict=True):
        scored = []
        for choice, _ in point:
            config = next(remaining)
            runs = [next(results) for _ in range(config.replicates)]
            scored.append((Candidate(choice, score(runs), runs), config))
        best, config = max(scored, key=lambda pair: pair[0].score)
        fresh = config.model_copy(update={"seed": config.seed + span})
        found = [candidate for candidate, _ in scored]
        picks.append(
            Pick(list(overrides), best.choice, edges(best.choice, grid), fresh, found, best.score > float("-inf"))
        )
    return picks


def score(runs: Sequence[Result]) -> float:
    """Higher is better: mean validation accuracy, else minus the loss; a candidate with a diverged seed comes last."""
    for kind, sign in (("accuracy", 1), ("loss", -1)):
        values = [run.scores.get(metric(kind, "validation")) for run in runs]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            return sign * mean(known).value
    return float("-inf")


def edges(chosen: Mapping[str, str], grid: Grid) -> list[str]:
    """Keys whose choice is the least or the largest of three or more numbers."""
    found = []
    for key, values in grid.items():
        try:
            numbers = sorted(float(value) for value in values)
        except ValueError:
            continue  # names have no edge
        if len(numbers) > 2 and float(chosen[key]) in (numbers[0], numbers[-1]):
            found.append(key)
    return found
