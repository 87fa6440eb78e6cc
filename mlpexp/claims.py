"""Claims that runs may refute: an effect, its interval over seeds, a margin, and a verdict.

Flow: table of runs → figure.py's `claims(table)` → **claims** → study. Numbers and arrays; nothing here reads a run.

A claim names a region of effects: above a margin, below it, or within ± the margin. *Supported* means that the whole
interval lies inside the region, *refuted* that the whole interval lies outside, beyond the margin; else the claim is
*undecided*, and so it is where there are fewer replicates than its pilot's spread asks for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

ALPHA = 0.05
LEAST = 3
"""Replicates without which no claim is decided, whatever the spread."""

Verdict = Literal["supported", "refuted", "undecided"]


@dataclass(frozen=True)
class Claim:
    """One sentence about an effect. `low` … `verdict` are filled in by `judged`, which knows all claims of a study.

    `error` is the standard error of `estimate`, with `freedom` degrees of freedom (infinite: normal); `count`
    replicates were used, `needed` are asked for by the pilot's spread.
    """

    name: str
    statement: str
    region: Literal["above", "below", "within", "exact"]
    margin: float
    estimate: float
    error: float
    freedom: float
    count: int
    needed: int
    effect_size: float = math.nan
    """Cohen's d: the estimate over the standard deviation between seeds."""
    source: str = ""
    tried: int = 1
    """Of how many cases this is the worst: one that does not hold was looked for among them."""
    low: float = math.nan
    high: float = math.nan
    level: float = 1 - ALPHA
    verdict: Verdict = "undecided"
    reason: str = ""

    @property
    def p(self) -> float:
        """One minus the confidence of the widest interval that lies on one side of the region's edge."""
        if self.region == "exact" or not self.error > 0:
            return 1.0
        edges = (-self.margin, self.margin) if self.region == "within" else (self.margin,)
        distance = min(abs(self.estimate - edge) for edge in edges) / self.error
        return min(1.0, 2 * _upper_tail(distance, self.freedom) * self.looked_at)

    @property
    def looked_at(self) -> int:
        """Bonferroni's factor: all cases hold if the worst one holds, but any of them may have refuted the claim."""
        return 1 if self.holds else self.tried

    @property
    def holds(self) -> bool:
        """Whether the estimate itself lies inside the region."""
        if self.region == "within":
            return abs(self.estimate) < self.margin
        return self.estimate > self.margin if self.region == "above" else self.estimate < self.margin

    def interval(self, level: float) -> tuple[float, float]:
        """The estimate's interval of that confidence."""
        reach = _quantile((1 + level) / 2, self.freedom) * self.error
        return self.estimate - reach, self.estimate + reach

    def number(self) -> str:
        """`0.53 [0.5, 0.55]`, the estimate and its interval; `3 of 4 cases` where all were tried."""
        if self.region == "exact":
            return f"{self.estimate:g} of {self.count} cases"
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"

    def line(self) -> str:
        """Verdict, statement, and the numbers that it rests on."""
        if self.region == "exact":
            return f"{self.verdict}: {self.statement} ({self.number()}, all were tried)"
        edge = {"above": "> ", "below": "< ", "within": "within ±"}[self.region]
        numbers = f"{self.number()}, claimed {edge}{self.margin:g}"
        needs = f"{self.count} seeds" + (f", needs {self.needed}" if self.needed > self.count else "")
        why = f"; {self.reason}" if self.reason else ""
        return f"{self.verdict}: {self.statement} ({numbers}; {needs}{why})"


def above(name: str, statement: str, values: ArrayLike, margin: float, pilot: float, source: str = "") -> Claim:
    """The mean of one number a seed exceeds the margin, the smallest effect of interest.

    `pilot` is the standard deviation between seeds that a pilot showed: it says how many seeds the claim needs.
    """
    return _of_values("above", name, statement, values, margin, pilot, source)


def below(name: str, statement: str, values: ArrayLike, margin: float, pilot: float, source: str = "") -> Claim:
    """The mean of one number a seed lies below the margin."""
    return _of_values("below", name, statement, values, margin, pilot, source)


def within(name: str, statement: str, values: ArrayLike, margin: float, pilot: float, source: str = "") -> Claim:
    """The mean of one number a seed is zero but for ± the margin: an equivalence, not a failure to tell apart."""
    return _of_values("within", name, statement, values, margin, pilot, source)


def _of_values(
    region: Literal["above", "below", "within"],
    name: str,
    statement: str,
    values: ArrayLike,
    margin: float,
    pilot: float,
    source: str,
) -> Claim:
    numbers = _finite(values)
    count = len(numbers)
    spread = float(numbers.std(ddof=1)) if count > 1 else math.nan
    estimate = float(numbers.mean()) if count else math.nan
    size = estimate / spread if spread > 0 else math.nan
    error = spread / math.sqrt(count) if count else math.nan
    return Claim(
        name, statement, region, margin, estimate, error, count - 1, count, needed(pilot, margin), size, source
    )


def share_above(
    name: str,
    statement: str,
    successes: Sequence[bool] | NDArray[np.bool_],
    others: Sequence[bool] | NDArray[np.bool_],
    margin: float,
    source: str = "",
) -> Claim:
    """The share of seeds that succeed exceeds that of `others` by more than the margin, paired seed by seed.

    Bonett & Price's adjusted interval for paired shares (2012), which keeps its confidence near 0 and 1. The largest
    spread that two shares can have says how many seeds are needed.
    """
    first, second = np.asarray(successes, dtype=bool), np.asarray(others, dtype=bool)
    count = len(first)
    gained, lost = ((first & ~second).sum() + 1) / (count + 2), ((~first & second).sum() + 1) / (count + 2)
    estimate = float(gained - lost)
    error = math.sqrt((gained + lost - estimate**2) / (count + 2))
    size = 2 * (math.asin(math.sqrt(first.mean())) - math.asin(math.sqrt(second.mean()))) if count else math.nan
    enough = needed(math.sqrt(0.5), margin)
    return Claim(name, statement, "above", margin, estimate, error, math.inf, count, enough, size, source)


def in_all_cases(name: str, statement: str, cases: Mapping[str, Claim]) -> Claim:
    """The claim holds in every case: the one that is hardest to support stands for all of them.

    That none is an exception needs no correction (an intersection–union test, Berger 1982); an exception that was
    looked for among k cases has its p multiplied by k.
    """
    failing = [case for case, claim in cases.items() if not claim.holds]
    worst = min(failing, key=lambda case: cases[case].p) if failing else max(cases, key=lambda case: cases[case].p)
    return replace(cases[worst], name=name, statement=f"{statement}; worst: {worst}", tried=len(cases))


def exact(name: str, statement: str, cases: Sequence[bool], source: str = "") -> Claim:
    """Every case was tried, so nothing is estimated: supported where all hold, refuted by one that does not."""
    count = len(cases)
    return Claim(name, statement, "exact", count, sum(map(bool, cases)), 0.0, math.inf, count, count, source=source)


def judged(claims: Sequence[Claim], alpha: float = ALPHA) -> list[Claim]:
    """All claims of a study with their verdicts: together they err with probability `alpha` (Holm 1979).

    The claim with the r-th smallest p (r = 0, 1, …) of k is tried at α/(k − r), and its interval has that confidence;
    from the first that cannot be decided on, the others are not decided either.
    """
    done: dict[str, Claim] = {}
    estimated = [claim for claim in claims if claim.region != "exact"]
    going = True
    for rank, claim in enumerate(sorted(estimated, key=lambda claim: (claim.p, claim.name))):
        share = alpha / (len(estimated) - rank)
        going = going and claim.p <= share
        low, high = claim.interval(1 - share / claim.looked_at)
        verdict, reason = _verdict(claim, going, claim.p <= share)
        done[claim.name] = replace(claim, low=low, high=high, level=1 - share, verdict=verdict, reason=reason)
    for claim in claims:
        if claim.region == "exact":
            verdict = "supported" if claim.estimate == claim.count else "refuted"
            done[claim.name] = replace(claim, low=claim.estimate, high=claim.estimate, verdict=verdict)
    return [done[claim.name] for claim in claims]


def _verdict(claim: Claim, going: bool, clear: bool) -> tuple[Verdict, str]:
    """What is said of a claim, and why it is not decided where that is no matter of its interval."""
    if claim.count < claim.needed:
        return "undecided", "too few seeds"
    if not claim.error > 0:
        return "undecided", "no spread between seeds"
    if not going:
        return "undecided", "a claim before it is not decided (Holm)" if clear else ""
    return ("supported" if claim.holds else "refuted"), ""


def overall(claims: Sequence[Claim]) -> Verdict:
    """A study is supported where all its claims are, refuted where one is."""
    verdicts = {claim.verdict for claim in claims}
    return "refuted" if "refuted" in verdicts else "undecided" if verdicts - {"supported"} else "supported"


def needed(pilot: float, margin: float, alpha: float = ALPHA) -> int:
    """Seeds whose interval reaches no further than the margin from its middle, for the spread that a pilot showed.

    >>> needed(0.1, 0.1), needed(0.5, 0.1)
    (7, 99)
    """
    if not (margin > 0 and math.isfinite(pilot)):
        raise ValueError(f"a claim needs a margin above 0 and the spread of a pilot, got {margin} and {pilot}")
    count = LEAST
    while _quantile(1 - alpha / 2, count - 1) * pilot / math.sqrt(count) > margin:
        count += 1
    return count


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = np.asarray(values, dtype=float)
    return numbers[np.isfinite(numbers)]


def _quantile(share: float, freedom: float) -> float:
    from scipy.special import ndtri, stdtrit

    return float(ndtri(share) if math.isinf(freedom) else stdtrit(freedom, share)) if freedom > 0 else math.nan


def _upper_tail(distance: float, freedom: float) -> float:
    from scipy.special import ndtr, stdtr

    return float(ndtr(-distance) if math.isinf(freedom) else stdtr(freedom, -distance))
