"""Made-up examples whose truth is known. Each is drawn from its own seed, that of the data.

All are stored in float32: sines and products differ between processors in their last bits of float64, and a data
set must not.
"""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlpexp.data.dataset import Dataset, Task, refuse_if_too_large

Floats = NDArray[np.float64]
BAYES_DRAWS = 100_000


def clusters(seed: int, examples: int, features: int, classes: int, separation: float) -> Dataset:
    """Clouds of unit spread, their centres `separation` from the origin, evenly round a circle; equal shares.

    The circle lies in a random plane of the features; of a single feature the centres share a line. The Bayes accuracy
    is Φ(separation) for two classes, else the mean of the largest posterior over 100 000 draws (standard error
    below 0.0016).
    """
    generator = _generator("clusters", seed, examples * features)
    centres = separation * _directions(generator, features, classes)
    labels = _labels(generator, examples, classes)
    inputs = centres[labels] + generator.standard_normal((examples, features))
    bayes = _normal_cdf(separation) if classes == 2 else _bayes_of_clusters(centres, generator)
    return _classification("clusters", inputs, labels, classes, bayes)


def _directions(generator: np.random.Generator, features: int, classes: int) -> Floats:
    """Points of a circle of radius 1 in a random plane, [classes, features]; on a line for a single feature."""
    if features == 1:
        return np.linspace(-1.0, 1.0, classes)[:, None]
    first, second = generator.standard_normal((2, features))
    first /= math.sqrt((first**2).sum())
    second -= (second * first).sum() * first
    second /= math.sqrt((second**2).sum())
    angle = 2 * math.pi * np.arange(classes)[:, None] / classes
    circle: Floats = np.cos(angle) * first + np.sin(angle) * second
    return circle


def moons(seed: int, examples: int, noise: float) -> Dataset:
    """Two half circles of radius 1, one turned over and put into the other, [n, 2]."""
    generator = _generator("moons", seed, examples * 2)
    labels = _labels(generator, examples, 2)
    angle = math.pi * generator.random(examples)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inputs = np.where(labels[:, None] == 0, upper, np.array([1.0, 0.5]) - upper)
    return _classification("moons", inputs + noise * generator.standard_normal((examples, 2)), labels, 2)


def spirals(seed: int, examples: int, classes: int, turns: float, noise: float) -> Dataset:
    """Arms r = angle / (2π · turns) from the origin to radius 1, evenly turned against each other, [n, 2]."""
    generator = _generator("spirals", seed, examples * 2)
    labels = _labels(generator, examples, classes)
    radius = np.sqrt(generator.random(examples))  # the outer, longer windings get more of the points
    angle = 2 * math.pi * (turns * radius + labels / classes)
    inputs = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return _classification("spirals", inputs + noise * generator.standard_normal((examples, 2)), labels, classes)


def xor(seed: int, examples: int, noise: float) -> Dataset:
    """Clouds at (±1, ±1), [n, 2]; class 1 where the corner's signs differ.

    The best rule compares the signs of what is seen. It is right where noise flips none of them or both.
    """
    generator = _generator("xor", seed, examples * 2)
    labels = _labels(generator, examples, 2)
    sign = np.where(generator.random(examples) < 0.5, -1.0, 1.0)
    corners = np.stack([sign, np.where(labels == 1, -sign, sign)], axis=1)
    kept = _normal_cdf(1 / noise) if noise > 0 else 1.0
    inputs = corners + noise * generator.standard_normal((examples, 2))
    return _classification("xor", inputs, labels, 2, kept**2 + (1 - kept) ** 2)


def parity(seed: int, bits: int, relevant: int | None, examples: int | None) -> Dataset:
    """Distinct rows of −1 and 1, [n, bits]; class 1 where an odd number of the first `relevant` are 1."""
    count = 2**bits if examples is None else examples
    generator = _generator("parity", seed, count * bits)
    numbers = generator.permutation(2**bits)[:count]
    ones = (numbers[:, None] >> np.arange(bits)) & 1  # bit j in column j
    labels = ones[:, :relevant].sum(axis=1) % 2
    return _classification("parity", 2.0 * ones - 1.0, labels, 2, bayes=1.0)


def sine(
    seed: int, examples: int, frequency: float, noise: float, outliers: float = 0.0, outlier_size: float = 5.0
) -> Dataset:
    """y = sin(2π · frequency · x) + noise, x uniform in [−1, 1]: features [n, 1], targets [n, 1].

    A share of `outliers` of the rows has normal noise of that size instead (Tukey 1960); rows that are outliers at a
    smaller share are outliers at a larger one too.
    """
    generator = _generator("sine", seed, examples)
    inputs = generator.uniform(-1.0, 1.0, (examples, 1))
    normal = generator.standard_normal((examples, 1))
    is_outlier = generator.permutation(examples)[:, None] < round(outliers * examples)
    targets = np.sin(2 * math.pi * frequency * inputs) + np.where(is_outlier, outlier_size, noise) * normal
    return _regression("sine", inputs, targets, bayes_mse=None if outliers else noise**2)


def teacher(
    seed: int,
    examples: int,
    features: int,
    depth: int,
    width: int,
    classes: int | None,
    noise: float,
    scale_ratio: float = 1.0,
) -> Dataset:
    """Normal inputs [n, features], and what a random tanh network without biases makes of them.

    Its weights have variance 2/k_in, so that signals survive any depth. Each output is scaled to unit variance over
    the examples, then gets the noise. With `classes`, the class is the largest of that many outputs. The inputs
    that are returned are those over 1 … `scale_ratio`, feature by feature: the same problem in other units.
    """
    generator = _generator("teacher", seed, examples * max(features, width if depth > 1 else 1))
    sizes = [features, *[width] * (depth - 1), classes or 1]
    inputs = generator.standard_normal((examples, features))
    outputs = inputs
    for layer, (rows, columns) in enumerate(pairwise(sizes)):
        outputs = outputs @ (generator.standard_normal((rows, columns)) * math.sqrt(2 / rows))
        outputs = np.tanh(outputs) if layer < depth - 1 else outputs
    outputs = (outputs - outputs.mean(axis=0)) / outputs.std(axis=0)
    targets = outputs + noise * generator.standard_normal(outputs.shape)
    inputs = inputs / np.geomspace(1.0, scale_ratio, features)
    if classes is None:
        return _regression("teacher", inputs, targets, bayes_mse=noise**2)
    return _classification("teacher", inputs, targets.argmax(axis=1), classes, bayes=1.0 if noise == 0 else None)


def _generator(name: str, seed: int, numbers: int) -> np.random.Generator:
    """A generator of its own, once it is known that so many numbers fit in memory."""
    refuse_if_too_large(f"data={name}", 4 * 8.0 * numbers)
    return np.random.Generator(np.random.Philox(key=seed))


def _labels(generator: np.random.Generator, examples: int, classes: int) -> NDArray[np.int64]:
    """Class numbers in equal shares, in random order, [n]."""
    return generator.permutation(np.arange(examples, dtype=np.int64) % classes)


def _normal_cdf(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def _bayes_of_clusters(centres: Floats, generator: np.random.Generator) -> float:
    """Mean of the largest posterior: it goes with x·centre − |centre|²/2."""
    total, done, chunk = 0.0, 0, max(1, 5_000_000 // max(centres.shape))
    while done < BAYES_DRAWS:
        count = min(chunk, BAYES_DRAWS - done)
        origin = generator.integers(len(centres), size=count)
        scores = (centres[origin] + generator.standard_normal((count, centres.shape[1]))) @ centres.T
        scores -= (centres**2).sum(axis=1) / 2
        total += float((1 / np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1)).sum())
        done += count
    return total / BAYES_DRAWS


def _classification(
    name: str, inputs: NDArray[np.floating], labels: NDArray[np.integer], classes: int, bayes: float | None = None
) -> Dataset:
    task: Task = "binary" if classes == 2 else "multiclass"
    return Dataset(
        name=name,
        task=task,
        features=inputs.astype(np.float32),
        targets=labels.astype(np.int64),
        classes=tuple(str(label) for label in range(classes)),
        feature_names=tuple(f"x{column + 1}" for column in range(inputs.shape[1])),
        licence="generated",
        source="mlpexp",
        bayes_accuracy=bayes,
    )


def _regression(name: str, inputs: Floats, targets: Floats, bayes_mse: float | None) -> Dataset:
    return Dataset(
        name=name,
        task="regression",
        features=inputs.astype(np.float32),
        targets=targets.astype(np.float32),
        feature_names=tuple(f"x{column + 1}" for column in range(inputs.shape[1])),
        licence="generated",
        source="mlpexp",
        bayes_mse=bayes_mse,
    )
