"""Budgets in epochs, updates, examples and FLOPs: counted against batches and torch's own counter, and trained for."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import reference
import torch
from histories import differences
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from wine_runs import UPDATES, alone, wine

from mlpexp.kernel.budget import Pace, flops_per_example
from mlpexp.kernel.layout import Layout
from mlpexp.kernel.streams import epoch_batches
from mlpexp.lanes import build

WIDTHS = [(3, 1), (4, 7, 2), (64, 16, 16, 10), (784, 128, 32, 32, 10)]


def batch_sizes(pace: Pace) -> Iterator[int]:
    """Sizes of the batches that are drawn, one update after the other."""
    for epoch in itertools.count():
        yield from map(len, epoch_batches(pace.sampler, 0, epoch, pace.examples, pace.batch_size))


@st.composite
def paces(draw: st.DrawFn) -> Pace:
    examples = draw(st.integers(1, 40))
    sampler = draw(st.sampled_from(reference.SAMPLERS))
    return Pace(examples, draw(st.integers(1, examples)), sampler, draw(st.integers(1, 50)))


@given(paces(), st.integers(0, 100))
def test_examples_seen_are_those_of_the_batches_drawn(pace: Pace, updates: int) -> None:
    assert pace.examples_seen(updates) == sum(itertools.islice(batch_sizes(pace), updates))


@given(paces(), st.integers(1, 2000))
def test_a_budget_of_examples_or_flops_pays_for_as_many_updates_as_it_can(pace: Pace, budget: int) -> None:
    seen, updates = 0, 0
    for size in batch_sizes(pace):
        if seen + size > budget:
            break
        seen, updates = seen + size, updates + 1
    assert pace.updates(None, None, budget, None) == updates
    assert pace.updates(None, None, None, budget * pace.flops) == updates
    assert pace.updates(None, None, None, budget * pace.flops + pace.flops - 1) == updates


@given(paces(), st.integers(0, 9))
def test_what_was_spent_is_the_budget_in_every_unit(pace: Pace, epochs: int) -> None:
    updates = pace.updates(epochs, None, None, None)
    spent = pace.spent(updates)
    assert spent["epochs"] == epochs
    assert pace.updates(None, updates, None, None) == updates
    assert pace.updates(None, None, int(spent["examples"]), None) == updates
    assert pace.updates(None, None, None, int(spent["flops"])) == updates


@pytest.mark.parametrize("widths", WIDTHS)
def test_flops_are_those_that_torch_counts(widths: tuple[int, ...]) -> None:
    """torch's counter watches the products of a forward and a backward pass that autograd makes."""
    layout, examples = Layout(widths), 5
    network = reference.Perceptron(layout, torch.zeros(layout.size), [torch.relu] * 9)
    with FlopCounterMode(display=False) as counter:
        network(torch.ones(examples, widths[0])).sum().backward()
    assert counter.get_total_flops() == examples * flops_per_example(widths)


def test_flops_of_deep_networks_are_six_a_weight() -> None:
    weights = 16 * 100 * 100
    assert flops_per_example((100,) * 17) == pytest.approx(6 * weights, rel=0.03)


# --- trained for ---


@pytest.mark.parametrize("sampler", ["epoch", "fresh"])
@pytest.mark.parametrize("more", ["seed=0", "model.dropout=0.3", "optimizer=momentum"])
@pytest.mark.parametrize("updates", [0, 3, 5, 12])
def test_a_budget_of_updates_ends_within_an_epoch_like_the_beginning_of_a_longer_run(
    sampler: str, more: str, updates: int
) -> None:
    budget = ("training.epochs=null", f"training.updates={updates}")
    short, long = (alone(wine(f"training.sampler={sampler}", more, *own)) for own in (budget, ()))
    assert short.steps == list(range(updates + 1))
    assert short.losses == long.losses[: updates + 1]
    for name, values in short.measured.items():
        last = updates if name == "update_ratio" else updates + 1
        assert np.array(values[:last]).tobytes() == long.column(name)[:last].tobytes()
    assert list(short.evaluations) == [*range(0, updates, UPDATES), updates]
    assert short.ending.status == "finished"


def test_equal_budgets_in_other_units_are_the_same_training() -> None:
    """Two epochs of 5 updates; 106 examples, 25 in a batch."""
    flops = 2 * (3 * (13 * 8 + 8 * 8 + 8 * 3) - 13 * 8)
    budgets = ["epochs=2", "updates=10", "examples=212", "examples=236", f"flops={212 * flops}"]
    nulls = [() if budget.startswith("epochs") else ("training.epochs=null",) for budget in budgets]
    found = [alone(wine(*null, f"training.{budget}")) for null, budget in zip(nulls, budgets, strict=True)]
    assert [differences(found[0], other) for other in found] == [[]] * len(budgets)


def test_a_cosine_falls_over_the_budget_whatever_its_unit() -> None:
    common = ("training.schedule=cosine", "optimizer=gradient_descent", "training.dtype=float64")
    short = alone(wine(*common, "training.epochs=null", "training.updates=7"))
    _, lanes = build([wine(*common)])
    constant = alone(wine(*common[1:], "training.epochs=null", "training.updates=7"))
    assert short.losses[:2] == constant.losses[:2]  # the first update has the whole rate, the second less
    ratios = short.column("update_ratio")[:7, 0] / short.column("gradient_norm")[:7, 0]
    weights = lanes.network.layout.weight(lanes.network.parameters, 0)
    expected = 0.1 * (1 + np.cos(np.pi * np.arange(7) / 7)) / 2 / float(weights.norm())
    np.testing.assert_allclose(ratios, expected, rtol=0.15)  # ‖W‖ changes a little
    np.testing.assert_allclose(ratios[0], expected[0], rtol=1e-12)
