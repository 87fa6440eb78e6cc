"""Budgets in epochs, updates, examples and FLOPs, counted against the batches themselves and torch's own counter."""

import itertools
from collections.abc import Iterator

import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from mlpexp.kernel.budget import Pace, flops_per_example
from mlpexp.kernel.layout import Layout
from mlpexp.kernel.streams import epoch_batches

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
