"""Pictures of data in characters, as lines of text: images, signals, scatters, ranges."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpexp.data.dataset import Dataset

Floats = NDArray[np.float64]

SHADES = " ░▒▓█"
BARS = "▁▂▃▄▅▆▇█"
MARKS = "ox+*#@%&=~"
WIDTH = 80  # characters of a line
TALL, WIDE = 22, 64  # of a scatter
LISTED = 12


def picture(dataset: Dataset, rows: NDArray[np.int64]) -> list[str]:
    """What the examples in `rows` look like: the first image or signal of each class, a scatter, or ranges."""
    features, targets = dataset.features[rows].astype(np.float64), dataset.targets[rows]
    if dataset.image_shape is not None and dataset.task != "regression":
        chosen = [(name, features[targets == label]) for label, name in enumerate(dataset.classes)]
        examples = [(name, group[0].reshape(dataset.image_shape)) for name, group in chosen if len(group)]
        if len(dataset.image_shape) == 1:
            return signals(examples)
        if len(dataset.image_shape) == 2:
            return images(examples)
    if dataset.inputs == 1 and dataset.task == "regression":
        return scatter(features[:, 0], targets[:, 0].astype(np.float64), np.zeros(len(rows), dtype=np.int64), ())
    if dataset.inputs == 2 and dataset.task != "regression":
        return scatter(features[:, 0], features[:, 1], targets.astype(np.int64), dataset.classes)
    return ranges(features, [dataset.feature_name(column) for column in range(dataset.inputs)])


def images(examples: Sequence[tuple[str, Floats]]) -> list[str]:
    """Grey values as shades, side by side under their names, as many to a line as fit."""
    tiles = [(name, _tile(image)) for name, image in examples]
    wide = max(len(tile[0]) for _, tile in tiles) + 2
    to_a_line = max(1, WIDTH // wide)
    lines: list[str] = []
    for start in range(0, len(tiles), to_a_line):
        shown = tiles[start : start + to_a_line]
        lines.append("".join(name[: wide - 2].ljust(wide) for name, _ in shown).rstrip())
        lines += [
            "".join(line.ljust(wide) for line in row).rstrip() for row in zip(*(t for _, t in shown), strict=True)
        ]
    return lines


def _tile(image: Floats) -> list[str]:
    """One image; a character is about twice as high as wide, so small pixels share one and large ones get two."""
    step = -(-image.shape[1] // 40)
    image = pooled(image, step, step)
    doubled = image.shape[1] <= 16
    grey = image if doubled else pooled(image, 2, 1)
    low, high = grey.min(), grey.max()
    shade = np.rint((grey - low) / (high - low if high > low else 1.0) * (len(SHADES) - 1)).astype(int)
    return ["".join(SHADES[value] * (2 if doubled else 1) for value in row) for row in shade]


def pooled(images: NDArray[Any], down: int, across: int) -> NDArray[Any]:
    """Means of blocks of pixels, [..., height, width]; what fills no block at the lower and right edge is left out."""
    rows, columns = (images.shape[-2] // down or 1, images.shape[-1] // across or 1)
    trimmed = images[..., : rows * down, : columns * across]
    blocks = (rows, trimmed.shape[-2] // rows, columns, trimmed.shape[-1] // columns)
    means: NDArray[Any] = trimmed.reshape(*images.shape[:-2], *blocks).mean(axis=(-3, -1))
    return means


def signals(examples: Sequence[tuple[str, Floats]]) -> list[str]:
    """One line of bars for each, from its least to its largest value."""
    wide = max(len(name) for name, _ in examples)
    lines = []
    for name, signal in examples:
        spread = signal.max() - signal.min()
        heights = np.rint((signal - signal.min()) / (spread if spread > 0 else 1.0) * (len(BARS) - 1)).astype(int)
        lines.append(f"{name.ljust(wide)}  {''.join(BARS[height] for height in heights[: WIDTH - wide - 2])}")
    return lines


def scatter(x: Floats, y: Floats, labels: NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    """Points in a frame with its ranges, a mark for each class; where classes meet, the last drawn is seen."""
    canvas = np.full((TALL, WIDE), " ")
    (left, right), (low, high) = (float(x.min()), float(x.max())), (float(y.min()), float(y.max()))
    across = ((x - left) / ((right - left) or 1.0) * (WIDE - 1)).round().astype(int)
    up = ((y - low) / ((high - low) or 1.0) * (TALL - 1)).round().astype(int)
    canvas[TALL - 1 - up, across] = np.array(list(MARKS))[labels % len(MARKS)]
    frame = [f"│{''.join(row)}│" for row in canvas]
    key = "   ".join(f"{MARKS[label % len(MARKS)]} {name}" for label, name in enumerate(classes[: len(MARKS)]))
    legend = [key] if key else []
    span = f"across {left:.3g} … {right:.3g}, up {low:.3g} … {high:.3g}"
    return [f"┌{'─' * WIDE}┐", *frame, f"└{'─' * WIDE}┘", span, *legend]


def ranges(features: Floats, names: Sequence[str]) -> list[str]:
    """Least, mean and largest value of the first features, missing values left out."""
    shown = list(names[:LISTED])
    wide = max(len("feature"), *(len(name) for name in shown))
    lines = [f"{'feature'.ljust(wide)}  {'least':>10}  {'mean':>10}  {'largest':>10}"]
    for column, name in enumerate(shown):
        values = features[~np.isnan(features[:, column]), column]
        numbers = (values.min(), values.mean(), values.max()) if len(values) else (np.nan,) * 3
        lines.append(f"{name.ljust(wide)}  " + "  ".join(f"{number:>10.4g}" for number in numbers))
    return lines + ([f"… and {len(names) - LISTED} more"] if len(names) > LISTED else [])
