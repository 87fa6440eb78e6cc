"""Wrong labels on purpose: a pure function of the labels, a share and a key."""

import numpy as np
from numpy.typing import NDArray


def noisy_labels(labels: NDArray[np.integer], share: float, classes: int, seed: int) -> NDArray[np.int64]:
    """The labels [n] with round(share · n) of them, chosen at random, replaced by another class, each as likely.

    Every row draws its place in the queue and its wrong class, whatever the share: with one `seed`, the rows that
    are wrong at 0.1 are wrong at 0.2 too, and in the same way.
    """
    if not 0 <= share <= 1:  # also catches nan
        raise ValueError(f"share must be between 0 and 1, got {share}")
    if classes < 2:
        raise ValueError(f"{classes} class leaves no other to take; label noise needs two or more")
    if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, not from 0 to {classes - 1}")
    generator = np.random.Generator(np.random.Philox(key=seed))
    place, draw = generator.random((2, len(labels)))  # uniform doubles: the stream NumPy is least likely to change
    chosen = np.argsort(place, kind="stable")[: round(share * len(labels))]
    shift = 1 + np.floor(draw * (classes - 1)).astype(np.int64)  # 1 … classes − 1: never back to itself
    noisy = labels.astype(np.int64)
    noisy[chosen] = (noisy[chosen] + shift[chosen]) % classes
    return noisy
