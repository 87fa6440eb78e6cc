"""What a search makes better, and what it must hold: names of recorded scalars, read from the runs of one trial.

Flow: results → **goals** → drive. The test part chooses nothing.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from mlpexp.config import Config
from mlpexp.records import metric
from mlpexp.refusals import ConfigError, nearest
from mlpexp.results import Result
from mlpexp.search_schema import Search
from mlpexp.verdicts import mean

EVALUATIONS = tuple(metric(kind, part) for kind in ("accuracy", "loss") for part in ("validation", "train"))
"""Scores that are known after every epoch, too."""

COUNTS = ("parameters", "last_step", "best_step")
NAMES = (*EVALUATIONS, "delta_ratio", *COUNTS)
"""Scalars that a record has: `delta_ratio` is δ of layer 1 over δ of layer L before training."""

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip


@dataclass(frozen=True)
class Constraint:
    """`name sense bound`, as `delta_ratio >= 1e-6`."""

    name: str
    sense: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ConfigError where the text is none."""
        match = re.fullmatch(r"\s*([\w/]+)\s*(>=|<=|>|<)\s*(\S+)\s*", text)
        try:
            if match is None or not math.isfinite(bound := float(match[3])):
                raise ValueError
        except ValueError:
            raise ConfigError([f"search.constraints: {text!r} is none; write 'delta_ratio >= 1e-6'"]) from None
        return cls(known(match[1], "search.constraints"), match[2], bound)

    def __str__(self) -> str:
        return f"{self.name} {self.sense} {self.bound:g}"

    def holds(self, value: float) -> bool:
        """Whether a value keeps it."""
        return OPERATORS[self.sense](value, self.bound)

    def violation(self, value: float) -> float:
        """At most 0 where it holds, as Optuna takes it, and above 0 where not."""
        beyond = self.bound - value if ">" in self.sense else value - self.bound
        return beyond if beyond or self.holds(value) else math.ulp(1.0)  # on the bound of a strict one


@dataclass(frozen=True)
class Goals:
    """Objectives with their directions (+1: more is better), constraints, and how replicates make one number."""

    names: tuple[str, ...]
    signs: tuple[int, ...]
    constraints: tuple[Constraint, ...]
    score: str = "mean"

    @classmethod
    def of(cls, search: Search, task: str) -> Self:
        """What a search asks for on data of this task; raises ConfigError with all that cannot be had."""
        wanted = [("maximize", 1, name) for name in search.maximize] + [("minimize", -1, n) for n in search.minimize]
        if not wanted:
            kind, sign = ("loss", -1) if task == "regression" else ("accuracy", 1)
            wanted = [("maximize" if sign > 0 else "minimize", sign, metric(kind, "validation"))]
        mistakes: list[str] = []
        constraints: list[Constraint] = []
        for key, _, name in wanted:
            try:
                known(name, f"search.{key}")
            except ConfigError as error:
                mistakes += error.mistakes
        for text in search.constraints:
            try:
                constraints.append(Constraint.parse(text))
            except ConfigError as error:
                mistakes += error.mistakes
        names = tuple(name for _, _, name in wanted)
        for name in dict.fromkeys([*names, *(one.name for one in constraints)]):
            if task == "regression" and name.startswith("accuracy/"):
                mistakes.append(f"{name} is not recorded of a regression; use {name.replace('accuracy', 'loss')}")
            if names.count(name) > 1:
                mistakes.append(f"search names {name} twice; leave one")
        if search.pruner != "none" and len(names) > 1:
            mistakes.append(f"search.pruner={search.pruner} compares one score, but {len(names)} are named; use none")
        elif search.pruner in ("median", "hyperband") and names[0] not in EVALUATIONS:
            mistakes.append(
                f"search.pruner={search.pruner} looks at every epoch, {names[0]} is known at the end; use one "
                f"of {', '.join(EVALUATIONS)}, or search.pruner=none"
            )
        if mistakes:
            raise ConfigError(mistakes)
        return cls(names, tuple(sign for _, sign, _ in wanted), tuple(constraints), search.score)

    @property
    def directions(self) -> list[Literal["minimize", "maximize"]]:
        """As Optuna takes them."""
        return ["maximize" if sign > 0 else "minimize" for sign in self.signs]

    def values(self, runs: Sequence[Mapping[str, float]]) -> list[float]:
        """One number for each objective, from the scalars of a trial's replicates."""
        return [
            self.combined([scalars[name] for scalars in runs], sign)
            for name, sign in zip(self.names, self.signs, strict=True)
        ]

    def combined(self, values: Sequence[float], sign: int) -> float:
        """The mean over replicates, or the worse end of its 95 % interval (the mean, of a single one)."""
        found = mean(values)
        worse = found.low if sign > 0 else found.high
        return found.value if self.score == "mean" or math.isnan(worse) else worse

    def violations(self, runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """How far each constraint is violated by the replicate that violates it most."""
        return {str(one): max(one.violation(scalars[one.name]) for scalars in runs) for one in self.constraints}

    @property
    def wanted(self) -> list[str]:
        """Each scalar that is looked at, once."""
        return list(dict.fromkeys([*self.names, *(one.name for one in self.constraints)]))

    def reason(self, result: Result) -> str | None:
        """Why a run has no numbers to tell; None where it has them all."""
        if result.status == "diverged":
            return f"seed {result.config.seed} diverged at step {result.facts['diverged_at_step']}"
        for name in self.wanted:
            value = scalar(result, name)
            if value is None or not math.isfinite(value):
                return f"{name} of seed {result.config.seed} is {'not recorded' if value is None else value}"
        return None

    def scalars(self, result: Result) -> dict[str, float]:
        """The scalars of a run that this search looks at."""
        found = {name: scalar(result, name) for name in self.wanted}
        return {name: value for name, value in found.items() if value is not None}

    def check(self, config: Config) -> list[str]:
        """What a point does not record that is looked at."""
        lines = []
        if config.data.split.validation == 0:
            lines += [f"{name} needs a validation part, but data.split.validation=0; give it a share"
                      for name in self.wanted if name.endswith("/validation")]  # fmt: skip
        watches = config.search is not None and config.search.pruner in ("median", "hyperband")
        if watches and self.names[0].endswith("/train") and config.training.evaluate_train_every is None:
            lines.append(
                f"search.pruner looks at {self.names[0]} while networks train, but "
                "training.evaluate_train_every=null tells it at the end alone; give it a number"
            )
        if "delta_ratio" in self.wanted and "delta_norm" not in config.measurements.names:
            lines.append("delta_ratio needs measurements.quantities to have delta_norm; use measurements=basic")
        return lines


def scalar(result: Result, name: str) -> float | None:
    """One scalar of a recorded run; None where the record does not have it."""
    if name == "delta_ratio":
        return 1.0 if result.config.model.depth == 1 else result.signal
    return float(result.facts[name]) if name in COUNTS else result.scores.get(name)


def known(name: str, key: str) -> str:
    """A name that a search may look at; raises ConfigError for the test part and for unknown ones."""
    if name.endswith("/test") or name.startswith("gap/"):
        instead = f"{name.partition('/')[0] if name.endswith('/test') else name.partition('/')[2]}/validation"
        raise ConfigError([f"{key}: {name} looks at the test part, which chooses nothing; use {instead}"])
    if name not in NAMES:
        close = nearest(name, NAMES) or f"; there are {', '.join(NAMES)}"
        raise ConfigError([f"{key}: {name} is not recorded{close}"])
    return name
