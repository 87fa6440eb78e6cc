"""The perceptron's rule, Novikoff's bound on its mistakes, and its circles on XOR."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import Perceptron

from mlpexp.lineage.perceptron import (
    XOR,
    Floats,
    accuracy,
    best_accuracy,
    clouds,
    learn,
    novikoff_bound,
    widest_margin,
    with_bias,
)

Labels = NDArray[np.int64]


def slow_margin(inputs: Floats, labels: Labels) -> float:
    """γ another way: the shortest w with y w·x ≥ 1 is decided by at most as many examples as it has components."""
    x = with_bias(inputs) * labels[:, None]
    best = np.inf
    for size in range(1, x.shape[1] + 1):
        subsets = x[np.array(list(combinations(range(len(x)), size)))]  # [S, size, q + 1]
        w = np.linalg.pinv(subsets).sum(axis=2)  # the shortest with y w·x = 1 on the subset
        allowed = (w @ x.T >= 1 - 1e-9).all(axis=1)
        best = min([best, *np.linalg.norm(w[allowed], axis=1)])
    return 1 / best


@pytest.mark.parametrize("seed", range(20))
def test_on_separable_examples_it_comes_to_rest_within_novikoffs_bound(seed: int) -> None:
    inputs, labels = clouds(seed, 60, gap=float(np.geomspace(0.005, 0.3, 20)[seed]))
    course = learn(inputs, labels, passes=100_000)
    mistakes = len(course.path) - 1
    assert course.converged
    assert accuracy(course.path[-1], inputs, labels) == 1
    assert 0 < mistakes == course.mistakes.sum() <= novikoff_bound(inputs, labels)


def test_the_bound_is_reached() -> None:
    inputs, labels = np.array([[1.0]]), np.array([1])
    assert novikoff_bound(inputs, labels) == pytest.approx(1)
    assert len(learn(inputs, labels).path) - 1 == 1


@given(st.lists(st.tuples(*[st.integers(-5, 5)] * 3, st.sampled_from([-1, 1])), min_size=1, max_size=8))
def test_it_comes_to_rest_if_and_only_if_a_plane_separates(rows: list[tuple[int, int, int, int]]) -> None:
    table = np.array(rows)
    inputs, labels = table[:, :3].astype(float), table[:, 3]
    course, (margin, _) = learn(inputs, labels, passes=5000), widest_margin(inputs, labels)
    assert course.converged == (margin > 0)
    assert margin > 0 or course.cycle is not None
    assert len(course.path) - 1 <= novikoff_bound(inputs, labels) + 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_the_margin_is_the_widest(seed: int) -> None:
    inputs, labels = clouds(seed, 40, gap=0.05)
    margin, w = widest_margin(inputs, labels)
    assert np.linalg.norm(w) == pytest.approx(1)
    assert (labels * (with_bias(inputs) @ w)).min() == pytest.approx(margin, rel=1e-9)
    assert margin == pytest.approx(slow_margin(inputs, labels), rel=1e-8)


def test_a_known_margin() -> None:
    inputs, labels = np.array([[2.0, 0.0], [-2.0, 0.0]]), np.array([1, -1])
    margin, w = widest_margin(inputs, labels)
    assert (margin, w) == (pytest.approx(2), pytest.approx([0, 1, 0]))
    assert novikoff_bound(inputs, labels) == pytest.approx(5 / 4)


def test_every_update_is_rosenblatts() -> None:
    inputs, labels = clouds(3, 50, gap=0.02)
    course, w = learn(inputs, labels), np.zeros(3)
    for after in course.path[1:]:
        change = after - w
        sign = round(change[0])  # the bias's input is 1
        (example,) = np.flatnonzero(np.isclose(inputs, change[1:] * sign).all(axis=1) & (labels == sign))
        assert labels[example] * (w @ [1, *inputs[example]]) <= 0
        w = after


def test_scikit_learn_makes_the_same_mistakes() -> None:
    inputs, labels = clouds(5, 80, gap=0.03)
    theirs = Perceptron(shuffle=False, tol=None, max_iter=500, fit_intercept=True).fit(inputs, labels)
    ours = learn(inputs, labels, passes=500).path[-1]
    assert theirs.coef_[0] == pytest.approx(ours[1:])
    assert theirs.intercept_[0] == pytest.approx(ours[0])


def test_on_xor_it_goes_in_circles_and_never_gets_more_than_three_of_four() -> None:
    inputs, labels = XOR
    for order in ([0, 1, 2, 3], [0, 3, 1, 2], [2, 1, 0, 3], [3, 2, 1, 0]):
        for x in (inputs[order], (inputs[order] + 1) / 2):
            course = learn(x, labels[order])
            assert course.cycle is not None
            assert not course.converged
            assert max(accuracy(w, x, labels[order]) for w in course.path) <= 0.75
    assert max(accuracy(w, *XOR) for w in learn(*XOR).path) == 0.75


def test_the_circle_is_one() -> None:
    x = (XOR[0][[0, 3, 1, 2]] + 1) / 2
    y = XOR[1][[0, 3, 1, 2]]
    course = learn(x, y)
    assert course.cycle is not None
    first, again = course.cycle
    ends = [tuple(course.path[end]) for end in np.cumsum([0, *course.mistakes])]
    assert first < again
    assert ends[first] == ends[again]
    assert len(set(ends[:again])) == again == len(course.mistakes)  # until then no weights came back


def test_no_line_gets_all_of_xor() -> None:
    assert best_accuracy(*XOR) == 0.75
    assert widest_margin(*XOR)[0] == 0
    assert novikoff_bound(*XOR) == np.inf


def test_fourteen_of_the_sixteen_functions_of_two_inputs_are_separable() -> None:
    functions = [np.array(labels) for labels in product((-1, 1), repeat=4)]
    unreachable = [y for y in functions if not learn(XOR[0], y).converged]
    assert len(unreachable) == 2
    assert {tuple(y) for y in unreachable} == {tuple(XOR[1]), tuple(-XOR[1])}


def test_clouds_keep_their_gap_and_repeat_with_their_seed() -> None:
    inputs, labels = clouds(7, 300, gap=0.1)
    again, _ = clouds(7, 300, gap=0.1)
    assert (inputs == again).all()
    assert (np.linalg.norm(inputs, axis=1) <= 1).all()
    assert all(set(clouds(seed, 2, gap=0.5)[1]) == {-1, 1} for seed in range(30))
    assert widest_margin(inputs, labels)[0] > 0.1 / np.sqrt(1 + 0.3**2) - 1e-9
