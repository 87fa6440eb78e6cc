"""Pictures made of letters: a curve in one line, a profile over layers as bars. Where there is no Unicode the letters
are spelt in ASCII on their way out.

Flow: arrays → **text_pictures** → page, comparison.
"""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlpexp.letters import BLOCKS
from mlpexp.records import Array
from mlpexp.verdicts import power_of_ten, superscript

GAP = "·"
"""Where nothing finite was recorded."""


def sparkline(values: Array, width: int) -> str:
    """A curve [T] in `width` letters or fewer: each the mean of its share of the steps, between least and greatest."""
    finite = np.asarray(values, dtype=np.float64)
    if not len(finite):
        return ""
    edges = np.linspace(0, len(finite), min(width, len(finite)) + 1).astype(int)
    means = np.array([_mean(finite[a:b]) for a, b in pairwise(edges)])
    known = means[np.isfinite(means)]
    if not len(known):
        return GAP * len(means)
    low, high = float(known.min()), float(known.max())
    span = high - low if high > low else 1.0
    return "".join(BLOCKS[int((m - low) / span * (len(BLOCKS) - 1) + 0.5)] if np.isfinite(m) else GAP for m in means)


def _mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def profile_lines(profiles: dict[str, Array], width: int) -> list[str]:
    """One row a layer, one column of bars for each profile [L], all on one log axis; what is 0 or infinite has no bar.

    `width` is that of a whole line.
    """
    all_values = np.concatenate([np.asarray(profile, dtype=np.float64) for profile in profiles.values()])
    positive = all_values[np.isfinite(all_values) & (all_values > 0)]
    if not len(positive):
        return []
    high = math.ceil(math.log10(positive.max()))
    low = min(high - 3, math.floor(math.log10(positive.min())))
    depth = max(len(profile) for profile in profiles.values())
    bar = max(6, min(40, (width - 6) // len(profiles) - 11))
    column = bar + 11
    lines = ["layer " + "".join(name[: column - 1].ljust(column) for name in profiles)]
    for layer in range(depth):
        cells = [
            f"{_bar(float(profile[layer]), low, high, bar)} {power_of_ten(float(profile[layer]))}".ljust(column)
            for profile in profiles.values()
        ]
        lines.append(f"{layer + 1:>5} " + "".join(cells))
    left, right = f"10{superscript(low)}", f"10{superscript(high)}"
    axis = left.ljust(bar - len(right)) + right
    lines.append("      " + axis.ljust(column) * len(profiles))
    return [line.rstrip() for line in lines]


def _bar(value: float, low: int, high: int, width: int) -> str:
    share = (math.log10(value) - low) / (high - low) if math.isfinite(value) and value > 0 else 0.0
    return ("█" * round(min(1.0, max(0.0, share)) * width)).ljust(width)
