"""What a run says of its gradient, in numbers and in one sentence, beside theory."""

import math
from dataclasses import replace

import numpy as np
import pytest
from runs_fixtures import trained
from scipy import stats

from mlpexp.gradient_verdict import (
    GradientVerdict,
    gradient_verdict,
    signal_profile,
    verdict_numbers,
    verdict_word,
)
from mlpexp.records import FACTOR, SIGNAL, THEORY_FACTOR
from mlpexp.results import Result


def of(profile: list[float], *seeds: float, theory: float | None = None) -> GradientVerdict:
    """The verdict on a profile; log₁₀(δ₁/δ_L) of other seeds; theory's log₁₀(δ₁/δ_L)."""
    logarithm = math.log10(profile[0]) - math.log10(profile[-1])
    expected = None if theory is None else np.linspace(2 * theory * math.log(10), 0, len(profile))
    return GradientVerdict(np.array(profile), (logarithm, *seeds), expected)


@pytest.mark.parametrize(
    ("profile", "sentence"),
    [
        ([1e-9, 1e-6, 1e-3, 1.0],
         "vanishing: δ shrinks ×0.00100 a layer; layer 1 receives 1·10⁻⁹ of the signal of layer 4"),
        ([0.04, 0.2, 1.0], "fading: δ shrinks ×0.200 a layer; layer 1 receives 0.04 of the signal of layer 3"),
        ([0.7, 1.0], "passing: δ shrinks ×0.700 a layer; layer 1 receives 0.7 of the signal of layer 2"),
        ([0.95, 1.0, 1.0],
         "critical: δ keeps its length, ×0.975 a layer; layer 1 receives 0.95 of the signal of layer 3"),
        ([50.0, 1.0], "growing: δ grows ×50.0 a layer; layer 1 receives 50 of the signal of layer 2"),
        ([2e5, 1.0], "exploding: δ grows ×2·10⁵ a layer; layer 1 receives 2·10⁵ of the signal of layer 2"),
        ([1e-308, 1e30],
         "vanishing: δ shrinks ×0 a layer; layer 1 receives 10⁻³³⁸ of the signal of layer 2"),
        ([1e300, 1e-300],
         "exploding: δ grows ×inf a layer; layer 1 receives 10⁶⁰⁰ of the signal of layer 2"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_happens_to_the_signal(profile: list[float], sentence: str) -> None:
    assert str(of(profile)) == sentence


def test_theory_stands_beside_what_was_measured() -> None:
    verdict = of([1e-9, 1e-6, 1e-3, 1.0], theory=-8.7)
    assert verdict.theory_factor == pytest.approx(10**-2.9)
    assert "×0.00100 a layer (theory ×0.00126); layer 1" in str(verdict)


def test_seeds_on_both_sides_of_a_threshold_are_told() -> None:
    assert "log₁₀" not in str(of([1e-6, 1.0], -6.1, -5.9))
    assert str(of([1e-3, 1.0], -2.5, -3.6)).endswith("of the signal of layer 2; log₁₀ of that -3.0 ± 1.4")


def test_dead_units_are_told_with_those_that_were_born_off() -> None:
    verdict = replace(of([1.0, 1.0]), dead=0.123, born_off=0.09)
    assert str(verdict).endswith("; 12 % of hidden units dead at the end, 9 % born off")
    assert "dead" not in str(replace(verdict, dead=0.0))
    full, plain = (gradient_verdict(trained(*keys, "model.depth=3")) for keys in (["measurements=full"], ["seed=79"]))
    assert isinstance(full, GradientVerdict)
    assert isinstance(plain, GradientVerdict)
    assert full.dead is not None
    assert full.born_off is not None
    assert 0 <= full.born_off <= full.dead < 1
    assert plain.dead is None


def test_factor_and_theory_of_a_run_agree_within_its_width() -> None:
    runs = trained("replicates=3", "model.depth=6", "model.width=64", "model.activation=sigmoid",
                   "initialisation=glorot")  # fmt: skip
    verdict = gradient_verdict(runs)
    assert isinstance(verdict, GradientVerdict)
    assert verdict.word == "vanishing"
    assert verdict.theory_factor is not None
    assert math.log(verdict.factor) == pytest.approx(math.log(verdict.theory_factor), abs=0.1)
    starts = np.array([run.record["delta_norm"][0] for run in runs], dtype=float)
    assert verdict.factor == pytest.approx(stats.gmean(starts[:, 0] / starts[:, -1]) ** (1 / 5), rel=1e-6)
    numbers = verdict_numbers(verdict)
    assert set(numbers) == {SIGNAL, FACTOR, THEORY_FACTOR}
    assert numbers[SIGNAL].count == 3


def silent(zeros: int) -> list[Result]:
    """A run that is said to have passed nothing to its first layers."""
    (run,) = trained("model.depth=3")
    copy = Result(run.folder)
    copy.ends["delta_norm"][:zeros] = 0
    return [copy]


@pytest.mark.parametrize(("zeros", "who"), [(1, "layer 1 receives"), (2, "layers 1 to 2 receive")])
def test_a_signal_below_the_precision_is_said_to_be(zeros: int, who: str) -> None:
    verdict = gradient_verdict(silent(zeros))
    assert verdict == f"vanishing: {who} less signal than this precision can hold (try training.dtype=float64)"
    assert verdict_word(verdict) == "vanishing"
    assert verdict_numbers(verdict) == {}


def test_where_nothing_can_be_said_the_reason_is() -> None:
    assert gradient_verdict(trained("model.depth=1")) == "a single layer: nothing to pass back"
    assert gradient_verdict(trained("measurements=none", "seed=78")) == "δ was not measured, or is not finite"
    assert verdict_word("δ was not measured, or is not finite") == ""


def test_a_profile_is_the_geometric_mean_over_seeds_at_the_start() -> None:
    runs = trained("replicates=3", "model.depth=3")
    starts = np.array([run.record["delta_norm"][0] for run in runs], dtype=float)
    found = signal_profile(runs)
    assert found == pytest.approx(stats.gmean(starts, axis=0), rel=1e-6)


def test_a_profile_that_was_not_measured_or_is_not_finite_is_none() -> None:
    assert signal_profile(trained("measurements=none", "seed=78")) is None
    assert signal_profile(trained("initialisation=normal", "initialisation.sigma_w=1e30", "model.depth=4")) is None
