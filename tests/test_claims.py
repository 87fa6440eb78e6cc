"""Verdicts follow from intervals, margins and the number of seeds; together the claims of a study rarely err."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlpexp.claims import Claim, above, below, exact, in_all_cases, judged, needed, overall, share_above, within

DRAW = np.random.default_rng(0)
NOISE = stats.zscore(DRAW.normal(size=20), ddof=1)
"""Twenty seeds with mean 0 and standard deviation 1, exactly."""


def values(mean: float, spread: float = 0.01) -> list[float]:
    return list(mean + spread * NOISE)


def verdict(claim: Claim) -> str:
    (found,) = judged([claim])
    return found.verdict


@pytest.mark.parametrize(
    ("mean", "high", "low", "equal"),
    [
        (0.2, "supported", "refuted", "refuted"),
        (0.0, "refuted", "supported", "supported"),
        (-0.2, "refuted", "supported", "refuted"),
        (0.1, "undecided", "undecided", "undecided"),
    ],
)
def test_an_interval_on_one_side_of_the_margin_decides(mean: float, high: str, low: str, equal: str) -> None:
    assert verdict(above("a", "", values(mean), 0.1, 0.01)) == high
    assert verdict(below("b", "", values(mean), 0.1, 0.01)) == low
    assert verdict(within("c", "", values(mean), 0.1, 0.01)) == equal


def test_a_difference_that_cannot_be_told_from_zero_refutes_nothing() -> None:
    assert verdict(above("a", "", values(0.05, spread=0.5), 0.1, 0.01)) == "undecided"
    assert verdict(within("a", "", values(0.05, spread=0.5), 0.1, 0.01)) == "undecided"


def test_fewer_seeds_than_the_pilot_asks_for_decide_nothing_however_clear_they_are() -> None:
    (found,) = judged([above("a", "", values(9.0), 0.1, pilot=1.0)])
    assert (found.verdict, found.reason) == ("undecided", "too few seeds")
    assert found.needed > found.count == 20
    assert "needs" in found.line()
    assert verdict(above("a", "", values(9.0), 0.1, pilot=0.1)) == "supported"


@pytest.mark.parametrize("numbers", [[], [1.0], [1.0, 1.0, 1.0, 1.0], [math.nan] * 5])
def test_without_a_spread_nothing_is_decided(numbers: list[float]) -> None:
    assert verdict(above("a", "", numbers, 0.1, 0.01)) == "undecided"


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=30).filter(lambda xs: np.std(xs) > 1e-3), st.floats(0.01, 3))
def test_the_interval_is_students_and_p_is_where_it_meets_the_margin(numbers: list[float], margin: float) -> None:
    claim = above("a", "", numbers, margin, 1e-9)
    expected = stats.t.interval(0.95, len(numbers) - 1, np.mean(numbers), stats.sem(numbers))
    assert claim.interval(0.95) == pytest.approx(expected)
    assert claim.p == pytest.approx(stats.ttest_1samp(numbers, margin).pvalue)


def test_an_equivalence_is_two_one_sided_tests() -> None:
    numbers = values(0.06, 0.1)
    claim = within("a", "", numbers, 0.1, 1e-9)
    one_sided = [
        stats.ttest_1samp(numbers, -0.1, alternative="greater").pvalue,
        stats.ttest_1samp(numbers, 0.1, alternative="less").pvalue,
    ]
    assert claim.p == pytest.approx(2 * max(one_sided))


@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=8, unique=True))
def test_holm_decides_what_its_step_down_procedure_rejects(ps: list[float]) -> None:
    """Reference: Holm's adjusted p, the running maximum of (k − r)·p, against 0.05."""
    claims = [_claim_with_p(f"claim{i}", p) for i, p in enumerate(ps)]
    order = np.argsort(ps)
    adjusted = np.empty(len(ps))
    adjusted[order] = np.maximum.accumulate([(len(ps) - rank) * ps[i] for rank, i in enumerate(order)])
    found = judged(claims)
    clear = np.abs(adjusted - 0.05) > 1e-6
    assert [one.verdict == "supported" for one, told in zip(found, clear, strict=True) if told] == [
        bool(p < 0.05) for p, told in zip(adjusted, clear, strict=True) if told
    ]
    assert [one.name for one in found] == [one.name for one in claims]


def _claim_with_p(name: str, p: float) -> Claim:
    distance = float(stats.norm.isf(max(p, 1e-12) / 2))
    return Claim(name, "", "above", 1.0, 1.0 + distance, 1.0, math.inf, 100, 3)


def test_the_interval_that_is_shown_agrees_with_the_verdict() -> None:
    found = judged([above(f"c{i}", "", values(0.1 + 0.003 * i, 0.01), 0.1, 0.01) for i in range(6)])
    for claim in found:
        assert (claim.verdict == "supported") == (claim.low > 0.1) or claim.reason


def test_a_claim_over_cases_is_as_strong_as_its_weakest_case() -> None:
    good = {f"case {i}": within("", "", values(0.01 * i), 0.1, 0.01) for i in range(4)}
    claim = in_all_cases("all", "holds everywhere", good)
    assert (verdict(claim), claim.estimate) == ("supported", pytest.approx(0.03))
    assert claim.statement == "holds everywhere; worst: case 3"
    bad = good | {"case 4": within("", "", values(0.3), 0.1, 0.01)}
    assert verdict(in_all_cases("all", "", bad)) == "refuted"


def test_an_exception_that_was_looked_for_among_many_needs_more_evidence() -> None:
    alone = within("", "", values(0.105, 0.01), 0.1, 0.01)
    assert 0.01 < alone.p < 0.05
    assert verdict(alone) == "refuted"
    among = {f"case {i}": within("", "", values(0.0), 0.1, 0.01) for i in range(9)} | {"odd": alone}
    (found,) = judged([in_all_cases("all", "", among)])
    assert found.verdict == "undecided"
    assert found.low < 0.1
    assert found.p == pytest.approx(10 * alone.p)


def test_shares_are_compared_in_pairs_and_keep_their_confidence_at_the_ends() -> None:
    many, few = np.arange(300) < 290, np.arange(300) < 30
    assert verdict(share_above("a", "", many, few, 0.1)) == "supported"
    assert verdict(share_above("a", "", few, many, 0.1)) == "refuted"
    assert verdict(share_above("a", "", many[:100], few[:100], 0.1)) == "undecided"
    none = np.zeros(300, bool)
    claim = share_above("a", "", none, none, 0.1)
    assert claim.error > 0
    assert verdict(claim) == "refuted"


def test_shares_by_bonett_and_price() -> None:
    """Their interval from its formula: p₁₂ and p₂₁ with one added to each count and two to n."""
    first, second = np.arange(200) < 150, (np.arange(200) > 20) & (np.arange(200) < 100)
    claim = share_above("a", "", np.asarray(first), np.asarray(second), 0.1)
    assert int((first & ~second).sum()) == 71
    p12, p21 = (71 + 1) / 202, 1 / 202
    reach = stats.norm.isf(0.025) * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / 202)
    assert claim.interval(0.95) == pytest.approx((p12 - p21 - reach, p12 - p21 + reach))


def test_what_was_tried_in_all_cases_needs_no_interval() -> None:
    assert verdict(exact("a", "", [True] * 16)) == "supported"
    assert verdict(exact("a", "", [True] * 15 + [False])) == "refuted"
    found = judged([exact("a", "", [True] * 16), above("b", "", values(0.2), 0.1, 0.01)])
    assert found[1].level == pytest.approx(0.95)


@given(st.floats(0.01, 2), st.floats(0.05, 2))
def test_as_many_seeds_are_needed_as_bring_the_interval_within_the_margin(pilot: float, margin: float) -> None:
    count = needed(pilot, margin)

    def reach(n: int) -> float:
        return float(stats.t.ppf(0.975, n - 1)) * pilot / math.sqrt(n)

    assert reach(count) <= margin
    assert count == 3 or reach(count - 1) > margin


@pytest.mark.parametrize(("pilot", "margin"), [(0.1, 0.0), (math.inf, 0.1), (math.nan, 0.1)])
def test_a_claim_without_margin_or_pilot_is_refused(pilot: float, margin: float) -> None:
    with pytest.raises(ValueError, match="margin above 0"):
        needed(pilot, margin)


def test_one_refuted_claim_refutes_and_one_undecided_leaves_open() -> None:
    yes, no, open_ = values(0.2), values(0.0), values(0.1)
    assert overall(judged([above("a", "", yes, 0.1, 0.01)])) == "supported"
    assert overall(judged([above("a", "", yes, 0.1, 0.01), above("b", "", open_, 0.1, 0.01)])) == "undecided"
    assert overall(judged([above("a", "", no, 0.1, 0.01), above("b", "", open_, 0.1, 0.01)])) == "refuted"


def test_true_claims_of_equality_are_seldom_refuted_and_false_ones_seldom_supported() -> None:
    """At the very edge of the margin, where it errs most: at most 5 % of studies decide either of two claims."""
    draws = np.random.default_rng(1)
    wrong = sum(
        any(
            claim.verdict != "undecided"
            for claim in judged([above(name, "", draws.normal(0.1, 0.1, 12), 0.1, 0.05) for name in "ab"])
        )
        for _ in range(2000)
    )
    assert wrong / 2000 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
