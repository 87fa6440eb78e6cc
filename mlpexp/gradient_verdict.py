"""What happens to the gradient of a point on its way back to layer 1: measured, beside theory, in one sentence.

Flow: results → verdicts → **gradient verdict** → score_tables, figures, tracking, tables.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlpexp.records import FACTOR, SIGNAL, THEORY_FACTOR, Array
from mlpexp.results import Result
from mlpexp.verdicts import Mean, mean, power_of_ten, superscript

WORDS = ((-3.0, "vanishing"), (-1.0, "fading"), (1.0, "passing"), (3.0, "growing"), (math.inf, "exploding"))
"""What log₁₀(‖δ₁‖/‖δ_L‖) before training is called, each up to its bound."""

CRITICAL = 0.1
"""A passing signal is called critical where it changes by less than this share a layer."""


@dataclass(frozen=True)
class GradientVerdict:
    """Of the seeds of one point, before training.

    `profile` is ‖δ_l‖ by layer, the geometric mean over seeds, [L]; `logarithms` are each seed's log₁₀(‖δ₁‖/‖δ_L‖);
    `theory` is ln(‖δ_l‖²/‖δ_L‖²), [L], None where theory says nothing; `dead` and `born_off` are shares of the hidden
    units at the end, None where they were not measured.
    """

    profile: Array
    logarithms: tuple[float, ...]
    theory: Array | None = None
    dead: float | None = None
    born_off: float | None = None

    @property
    def depth(self) -> int:
        """Number of layers L."""
        return len(self.profile)

    @cached_property
    def logarithm(self) -> Mean:
        """Mean of log₁₀(‖δ₁‖/‖δ_L‖) over seeds, with its 95 % interval."""
        return mean(self.logarithms)

    @property
    def word(self) -> str:
        """`vanishing`, `fading`, `critical`, `passing`, `growing` or `exploding`."""
        word = _word(self.logarithm.value)
        return "critical" if word == "passing" and abs(math.log(self.factor)) < CRITICAL else word

    @property
    def factor(self) -> float:
        """By what ‖δ‖ is multiplied a layer, on the way back: (‖δ₁‖/‖δ_L‖)^(1/(L − 1))."""
        return _ten_to(self.logarithm.value / (self.depth - 1))

    @property
    def theory_factor(self) -> float | None:
        """The same factor as theory has it; None where it has none."""
        return None if self.theory is None else float(np.exp(self.theory[0] / 2 / (self.depth - 1)))

    def __str__(self) -> str:
        beside = "" if self.theory_factor is None else f" (theory ×{_number(self.theory_factor)})"
        unsure = [_word(bound) for bound in (self.logarithm.low, self.logarithm.high) if not math.isnan(bound)]
        interval = f"; log₁₀ of that {self.logarithm}" if len(set(unsure)) > 1 else ""
        share = _share(self.logarithm.value)
        told = f"layer 1 receives {share} of the signal of layer {self.depth}{interval}{self._units()}"
        if self.word == "critical":
            return f"critical: δ keeps its length, ×{_number(self.factor)} a layer{beside}; {told}"
        verb = "shrinks" if self.factor < 1 else "grows"
        return f"{self.word}: δ {verb} ×{_number(self.factor)} a layer{beside}; {told}"

    def _units(self) -> str:
        """`; 12 % of hidden units dead at the end, 9 % born off`."""
        if not self.dead:
            return ""
        born = "" if self.born_off is None else f", {100 * self.born_off:.2g} % born off"
        return f"; {100 * self.dead:.2g} % of hidden units dead at the end{born}"


def gradient_verdict(results: Sequence[Result]) -> GradientVerdict | str:
    """The verdict on the seeds of one point; a sentence where there is none."""
    if results[0].config.model.depth == 1:
        return "a single layer: nothing to pass back"
    profiles = [profile for run in results if (profile := _profile(run)) is not None]
    if not profiles:
        return "δ was not measured, or is not finite"
    silent = max(int(np.flatnonzero(profile == 0)[-1]) + 1 if not profile.all() else 0 for profile in profiles)
    if silent:
        who = "layer 1 receives" if silent == 1 else f"layers 1 to {silent} receive"
        return f"vanishing: {who} less signal than this precision can hold (try training.dtype=float64)"
    logarithms = [float(np.log10(profile[0]) - np.log10(profile[-1])) for profile in profiles]
    theory = results[0].theory
    dead, killed = (_at_end(results, name) for name in ("dead_units", "killed_units"))
    return GradientVerdict(
        profile=np.exp(np.mean(np.log(profiles), axis=0)),
        logarithms=tuple(logarithms),
        theory=None if theory is None else np.array(theory["log_delta2"]),
        dead=dead,
        born_off=None if dead is None or killed is None else dead - killed,
    )


def verdict_word(verdict: GradientVerdict | str) -> str:
    """One word: it sorts a table; nothing where there is no verdict."""
    if isinstance(verdict, GradientVerdict):
        return verdict.word
    return "vanishing" if verdict.startswith("vanishing") else ""


def verdict_numbers(verdict: GradientVerdict | str) -> dict[str, Mean]:
    """By name, those that there are: over seeds the logarithm alone has an interval."""
    if isinstance(verdict, str):
        return {}
    plain = {FACTOR: verdict.factor, THEORY_FACTOR: verdict.theory_factor}
    return {SIGNAL: verdict.logarithm} | {
        name: Mean(value, math.nan, math.nan, verdict.logarithm.count)
        for name, value in plain.items()
        if value is not None
    }


def signal_profile(results: Sequence[Result]) -> Array | None:
    """‖δ_l‖ by layer before training, the geometric mean over seeds, [L]; None where it was not measured or finite."""
    profiles = [profile for run in results if (profile := _profile(run)) is not None]
    if not profiles:
        return None
    with np.errstate(divide="ignore"):  # a zero in one seed makes the mean zero
        middle: Array = np.exp(np.mean(np.log(profiles), axis=0))
    return middle


def _profile(run: Result) -> Array | None:
    """‖δ_l‖ at the first measured step, [L]."""
    profile = run.ends.get("delta_norm")
    return profile if profile is not None and np.isfinite(profile).all() else None


def _at_end(results: Sequence[Result], quantity: str) -> float | None:
    """Mean over seeds and hidden layers of a share, where it was last measured."""
    found = [float(np.nanmean(run.ends[quantity])) for run in results if quantity in run.ends]
    return float(np.mean(found)) if found else None


def _word(logarithm: float) -> str:
    return next(word for bound, word in WORDS if logarithm < bound)


def _ten_to(exponent: float) -> float:
    """10 to a power that may be beyond all doubles."""
    return math.inf if exponent > 308 else float(10.0**exponent)


def _share(logarithm: float) -> str:
    return power_of_ten(10**logarithm) if abs(logarithm) < 300 else f"10{superscript(round(logarithm))}"


def _number(factor: float) -> str:
    """Three digits where it is near 1, else a power of ten."""
    return f"{factor:#.3g}".rstrip(".") if 1e-3 <= factor < 1e3 else power_of_ten(factor)
