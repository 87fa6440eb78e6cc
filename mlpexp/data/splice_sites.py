"""DNA windows about a boundary of exon and intron, drawn from position weight matrices: the best rule is known.

A window has `flank` bases on either side of the boundary. At a donor site (exon → intron) and at an acceptor site
(intron → exon) each base near the boundary has its own probabilities; everywhere else, and throughout the windows of
the third class, the four bases are even. Bases are independent, so the posterior is a product, and so is its mean.
"""

import numpy as np
from numpy.typing import NDArray

from mlpexp.data.dataset import Dataset, refuse_if_too_large, repeated_rows

BASES = "ACGT"
CLASSES = ("donor", "acceptor", "neither")
REACH = 6  # bases on either side of the boundary in which sites differ from other DNA

# Round percentages in the manner of consensus tables (donor MAG|GTRAGT, acceptor YYNCAG|G): a row a base of BASES,
# a column a position from −6 to −1 and from +1 to +6 about the boundary.
DONOR = (
    (25, 25, 25, 35, 60, 10, 0, 0, 50, 70, 5, 15),
    (25, 25, 25, 35, 15, 5, 0, 0, 5, 10, 5, 20),
    (25, 25, 25, 20, 10, 80, 100, 0, 40, 10, 85, 20),
    (25, 25, 25, 10, 15, 5, 0, 100, 5, 10, 5, 45),
)
ACCEPTOR = (
    (10, 10, 25, 5, 100, 0, 25, 25, 25, 25, 25, 25),
    (40, 35, 25, 70, 0, 0, 15, 25, 25, 25, 25, 25),
    (5, 5, 25, 0, 0, 100, 50, 25, 25, 25, 25, 25),
    (45, 50, 25, 25, 0, 0, 10, 25, 25, 25, 25, 25),
)


def load(seed: int, examples: int, flank: int, conservation: float) -> Dataset:
    """Windows as four bits a base, [n, 8 · flank]; donor, acceptor, neither in shares of ¼, ¼, ½."""
    refuse_if_too_large("data=splice_sites", 24.0 * examples * flank)
    generator = np.random.Generator(np.random.Philox(key=seed))
    labels = generator.permutation(np.array([0, 1, 2, 2])[np.arange(examples) % 4])
    tables = probabilities(conservation)
    letters = np.minimum((4 * generator.random((examples, 2 * flank))).astype(np.int8), 3)
    draws = generator.random((examples, 2 * REACH))
    above = draws[:, None, :] >= tables.cumsum(axis=1)[labels, :-1]  # [n, 3, 12]: how many bases the draw is past
    letters[:, flank - REACH : flank + REACH] = above.sum(axis=1)
    places = [f"{place:+d}" for place in (*range(-flank, 0), *range(1, flank + 1))]
    features = (letters[:, :, None] == np.arange(4)).reshape(examples, -1).astype(np.int8)
    return Dataset(
        name="splice_sites",
        task="multiclass",
        features=features,
        targets=labels.astype(np.int64),
        classes=CLASSES,
        feature_names=tuple(f"{place}{base}" for place in places for base in BASES),
        groups=repeated_rows(features),
        licence="generated",
        source="mlpexp",
        bayes_accuracy=bayes_accuracy(conservation),
    )


def probabilities(conservation: float) -> NDArray[np.float64]:
    """Probability of each base near the boundary, [3 classes, 4 bases, 12 positions]."""
    even = np.full((4, 2 * REACH), 0.25)
    sites = [np.array(table) / 100 for table in (DONOR, ACCEPTOR)]
    return np.stack([*(conservation * table + (1 - conservation) * even for table in sites), even])


def bayes_accuracy(conservation: float) -> float:
    """Σ over all 4¹² words near the boundary of the largest joint probability of word and class; exact."""
    tables = probabilities(conservation)
    shares = np.array([0.25, 0.25, 0.5])[:, None]
    left, right = shares * _words(tables[:, :, :REACH]), _words(tables[:, :, REACH:])  # [3, 4⁶] each
    blocks = (left[:, i : i + 64, None] * right[:, None, :] for i in range(0, left.shape[1], 64))
    return float(sum(block.max(axis=0).sum() for block in blocks))


def _words(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of each word of independent bases, [3, 4^positions], from [3, 4, positions]."""
    words = np.ones((len(tables), 1))
    for place in range(tables.shape[2]):
        words = (words[:, :, None] * tables[:, None, :, place]).reshape(len(tables), -1)
    return words
