"""Label noise: how many, which, and what they become."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpexp.data import DataError, load, noisy_labels, prepare
from mlpexp.data.catalogue import default_config

SHARES = st.integers(0, 1000).map(lambda permille: permille / 1000)  # no subnormals: torch may flush them


@given(st.integers(0, 60), SHARES, st.integers(2, 6), st.integers(0, 2**63 - 1))
def test_exactly_the_share_changes_and_stays_a_class(n: int, share: float, classes: int, seed: int) -> None:
    labels = np.arange(n) % classes
    noisy = noisy_labels(labels, share, classes, seed)
    assert (noisy != labels).sum() == round(share * n)
    assert n == 0 or (noisy.min() >= 0 and noisy.max() < classes)
    assert np.array_equal(noisy, noisy_labels(labels, share, classes, seed))


def test_every_other_class_and_every_row_is_as_likely() -> None:
    labels = np.zeros(300, dtype=np.int64)
    drawn = np.stack([noisy_labels(labels, 0.5, 4, seed) for seed in range(400)])
    assert np.allclose(np.bincount(drawn.ravel()) / drawn.size, [0.5, 1 / 6, 1 / 6, 1 / 6], atol=0.01)
    assert abs((drawn != 0).mean(axis=0) - 0.5).max() < 5 * 0.5 / 400**0.5


def test_more_noise_keeps_the_noise_there_was() -> None:
    labels = np.arange(100) % 5
    little, much = (noisy_labels(labels, share, 5, seed=3) for share in (0.1, 0.4))
    changed = little != labels
    assert np.array_equal(much[changed], little[changed])


def test_it_leaves_its_input_alone_and_refuses_nonsense() -> None:
    labels = np.array([0, 1, 1])
    noisy_labels(labels, 1.0, 2, 0)
    assert labels.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="between 0 and 1"):
        noisy_labels(labels, float("nan"), 2, 0)
    with pytest.raises(ValueError, match="two or more"):
        noisy_labels(labels, 0.5, 1, 0)
    with pytest.raises(ValueError, match="not from 0 to 1"):
        noisy_labels(np.array([0, 2]), 0.5, 2, 0)


def test_a_regression_has_no_labels_to_confuse() -> None:
    config = default_config("sine", label_noise=0.2)
    for use in (load, prepare):
        with pytest.raises(DataError, match="is a regression and has none"):
            use(config)
