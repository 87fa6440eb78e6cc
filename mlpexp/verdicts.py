"""Points and what their seeds have in common: means with intervals, differences in pairs, names, order.

Flow: results → **verdicts** → gradient verdict, score_tables, figures, tracking.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpexp.records import metric
from mlpexp.results import Result

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Mean:
    """Mean over seeds with its 95 % interval; the interval is NaN for a single seed."""

    value: float
    low: float
    high: float
    count: int

    @property
    def half_width(self) -> float:
        """Half the interval's width."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        if math.isnan(self.half_width):
            return f"{self.value:.4g}"
        decimals = 4 if self.half_width == 0 else min(12, max(0, 1 - math.floor(math.log10(self.half_width))))
        return f"{self.value:.{decimals}f} ± {self.half_width:.{decimals}f}"


def mean(values: Sequence[float], bootstrap: bool = False) -> Mean:
    """Mean and 95 % interval of what several seeds gave; the interval is over training seeds, at a fixed split.

    Student's t, or with `bootstrap` the percentiles of means of 9 999 resamples (Efron 1979), which need no normality
    but are too narrow for few seeds.
    """
    numbers = np.asarray(values, dtype=float)
    count = len(numbers)
    if count < 2:
        return Mean(float(numbers.mean()) if count else math.nan, math.nan, math.nan, count)
    value = float(numbers.mean())
    if bootstrap:
        picked = np.random.default_rng(0).integers(count, size=(9999, count))
        low, high = np.percentile(numbers[picked].mean(axis=1), [2.5, 97.5])
        return Mean(value, float(low), float(high), count)
    from scipy.special import stdtrit

    reach = float(stdtrit(count - 1, 0.975)) * float(numbers.std(ddof=1)) / math.sqrt(count)
    return Mean(value, value - reach, value + reach, count)


def paired_difference(
    runs: Sequence[Result], others: Sequence[Result], name: str, bootstrap: bool = False
) -> Mean | None:
    """Mean of the differences of a score, seed by seed: what the seeds have in common falls out. None without pairs."""
    scores = {run.config.seed: run.scores[name] for run in others if name in run.scores}
    pairs = [
        run.scores[name] - scores[run.config.seed] for run in runs if name in run.scores and run.config.seed in scores
    ]
    return mean(pairs, bootstrap) if pairs else None


def leading_score(results: Sequence[Result], part: str) -> tuple[str, int]:
    """The score that points are ranked by, and its sign: accuracy (higher is better), else the loss."""
    accuracy = metric("accuracy", part)
    return (accuracy, 1) if any(accuracy in run.scores for run in results) else (metric("loss", part), -1)


def ranked(groups: Mapping[str, Sequence[Result]]) -> list[str]:
    """Points by their mean validation score, best first; those without a score come last."""
    name, sign = leading_score([run for runs in groups.values() for run in runs], "validation")

    def rank(point: str) -> float:
        value = mean([run.scores[name] for run in groups[point] if name in run.scores]).value
        return math.inf if math.isnan(value) else -sign * value

    return sorted(groups, key=rank)


def validation_score(runs: Sequence[Result]) -> float | None:
    """Mean accuracy (else loss) on the validation part; None where no run has one."""
    name, _ = leading_score(runs, "validation")
    values = [run.scores[name] for run in runs if name in run.scores]
    return mean(values).value if values else None


def points(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Runs by point: replicates of one config together, in the order given."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.config.point(), []).append(result)
    return groups


def varying(groups: Mapping[str, Sequence[Result]]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The keys in which points differ, seeds apart, and the flat config of each point.

    A key is left out where the name of its group tells it: Adam's beta1 beside momentum's nesterov.
    """
    flats = {
        name: {k: v for k, v in runs[0].config.flat().items() if not k.startswith("seed")}
        for name, runs in groups.items()
    }
    keys = list(dict.fromkeys(key for flat in flats.values() for key in flat))
    values = {key: [str(flat.get(key)) for flat in flats.values()] for key in keys}
    found = [key for key in keys if len(set(values[key])) > 1]

    def told(key: str) -> bool:
        names = f"{key.partition('.')[0]}.name"
        if names not in found or key == names:
            return False
        return len(set(zip(values[names], values[key], strict=True))) == len(set(values[names]))

    return [key for key in found if not told(key)], flats


def labels(groups: Mapping[str, Sequence[Result]]) -> dict[str, str]:
    """A short name for each point: the values of the keys in which the points differ."""
    keys, flats = varying(groups)
    if not keys:
        return {name: runs[0].condition for name, runs in groups.items()}
    return {name: ", ".join(_word(key, flat[key]) for key in keys if key in flat) for name, flat in flats.items()}


def _word(key: str, value: object) -> str:
    """`tanh` says itself; `depth 16` needs its name."""
    leaf = key.rpartition(".")[2]
    return (
        str(value)
        if isinstance(value, str)
        else f"{leaf} {value:g}"
        if isinstance(value, int | float)
        else f"{leaf} {value}"
    )


def power_of_ten(value: float) -> str:
    """3·10⁻⁹; numbers between 0.01 and 1000 as they are."""
    if not math.isfinite(value) or value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.2g}"
    mantissa, _, exponent = f"{value:.0e}".partition("e")
    return f"{mantissa}·10{superscript(int(exponent))}"


def superscript(number: int) -> str:
    """⁻⁹ for −9."""
    return str(number).translate(SUPERSCRIPTS)


def status_words(results: Sequence[Result]) -> str:
    """`finished`, or how many of the seeds ended otherwise."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    if len(counts) == 1:
        return next(iter(counts)).replace("_", " ")
    return ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in counts.items())
