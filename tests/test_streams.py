"""Random streams: pure functions of seed and purpose; samplers that draw what they say."""

import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlpexp.kernel.budget import updates_per_epoch
from mlpexp.kernel.streams import dropout_mask, epoch_batches, stream

seeds = st.integers(0, 2**63 - 1)
epochs = st.integers(0, 10_000)


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    """Examples, and a batch no larger."""
    examples = draw(st.integers(1, 200))
    return examples, draw(st.integers(1, examples))


@given(st.sampled_from(reference.SAMPLERS), seeds, epochs, sizes())
def test_batches_are_rows_as_many_as_promised_and_a_pure_function(
    sampler: str, seed: int, epoch: int, size: tuple[int, int]
) -> None:
    examples, batch_size = size
    batches = epoch_batches(sampler, seed, epoch, examples, batch_size)
    np.random.default_rng(0).random()  # other generators do not matter
    again = epoch_batches(sampler, seed, epoch, examples, batch_size)
    assert len(batches) == updates_per_epoch(examples, batch_size, sampler)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert all(rows.min() >= 0 and rows.max() < examples and rows.dtype == np.int64 for rows in batches)
    assert all(len(np.unique(rows)) == len(rows) for rows in batches)


@given(seeds, epochs, sizes())
def test_an_epoch_is_a_permutation_cut_into_batches(seed: int, epoch: int, size: tuple[int, int]) -> None:
    examples, batch_size = size
    batches = epoch_batches("epoch", seed, epoch, examples, batch_size)
    assert sorted(np.concatenate(batches).tolist()) == list(range(examples))
    assert [len(rows) for rows in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert len(batches[-1]) == examples - batch_size * (len(batches) - 1)


@given(seeds, epochs, sizes())
def test_fresh_batches_are_all_full(seed: int, epoch: int, size: tuple[int, int]) -> None:
    examples, batch_size = size
    batches = epoch_batches("fresh", seed, epoch, examples, batch_size)
    assert [len(rows) for rows in batches] == [batch_size] * -(-examples // batch_size)


def test_fresh_batches_differ_between_steps_and_overlap() -> None:
    batches = epoch_batches("fresh", 0, 0, 100, 20)
    sets = [frozenset(rows.tolist()) for rows in batches]
    assert len(set(sets)) == len(sets)
    assert len(frozenset.union(*sets)) < 100  # independent subsets; a permutation would have met all


@pytest.mark.parametrize("sampler", ["epoch", "fresh"])
def test_every_row_is_as_likely_in_the_first_batch(sampler: str) -> None:
    counts = np.bincount(
        np.concatenate([epoch_batches(sampler, seed, 0, 20, 5)[0] for seed in range(2000)]), minlength=20
    )
    assert abs(counts / 2000 - 0.25).max() < 5 * (0.25 * 0.75 / 2000) ** 0.5


def test_full_takes_all_rows_in_order_whatever_the_batch_size() -> None:
    (rows,) = epoch_batches("full", 3, 5, 7, 2)
    assert rows.tolist() == list(range(7))


@pytest.mark.parametrize("sampler", ["epoch", "fresh"])
def test_epochs_and_seeds_differ(sampler: str) -> None:
    orders = {tuple(epoch_batches(sampler, seed, epoch, 50, 50)[0]) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


@given(seeds, epochs)
def test_streams_of_different_purposes_seeds_and_epochs_differ(seed: int, epoch: int) -> None:
    purposes = ("initialisation", "initialisation.biases", "batches", "dropout", "noise")
    keys = [(seed, purpose, epoch) for purpose in purposes]
    keys += [(seed + 1, "batches", epoch), (seed, "batches", epoch + 1)]
    assert len({stream(*key).bytes(16) for key in keys}) == len(keys)
    assert stream(seed, "batches", epoch).bytes(16) == stream(seed, "batches", epoch).bytes(16)


def test_an_epochs_stream_never_runs_into_the_next() -> None:
    """The epoch is the upper half of Philox' 256-bit counter: 2^128 blocks lie between two."""
    far = stream(0, "dropout", 0)
    assert isinstance(far.bit_generator, np.random.Philox)
    far.bit_generator.advance(1 << 128)
    assert far.bytes(16) == stream(0, "dropout", 1).bytes(16)


@given(st.floats(0, 0.99), seeds)
def test_a_mask_keeps_the_mean(share: float, seed: int) -> None:
    mask = dropout_mask(stream(seed, "dropout"), share, (40, 50), torch.float64)
    assert set(mask.unique().tolist()) <= {0.0, 1 / (1 - share)}
    spread = (share / (1 - share) / 2000) ** 0.5
    assert abs(float(mask.mean()) - 1) <= 6 * spread + 1e-12


def test_a_lane_without_dropout_draws_nothing() -> None:
    generator = stream(0, "dropout")
    assert bool((dropout_mask(generator, 0.0, (3, 4), torch.float32) == 1).all())
    assert generator.bytes(8) == stream(0, "dropout").bytes(8)
