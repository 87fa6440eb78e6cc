"""The spread over seeds of the backpropagated signal of one input, against the sum of inverse widths."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.claims import Claim, judged, within
from mlpexp.paper import COLOURS, MARKERS, THEORY, Figure, panels
from mlpexp.results import Result
from mlpexp.verdicts import mean

MARGIN = 0.2  # of the slope, which is 1
PILOT = 0.12  # of a group: a variance of 30 normals varies by √(2/29) = 0.26 of itself, the mean over 9 shapes by 0.09
GROUPS = 10
CONSTANTS = {"ReLU, He": 5.0, "linear": 2.0}
"""c of Σ c/k: 3 E[σ′⁴]/E[σ′²]² − 1."""


def read(run: Result) -> dict[str, Any]:
    """ln(‖δ_1‖²/‖δ_L‖²) before training; NaN where a layer was off for this input."""
    first, last = run.record["delta_norm"][0][[0, -1]].astype(float)
    return {"log_square": 2 * float(np.log(first / last)) if first > 0 else float("nan")}


def draw(table: pd.DataFrame) -> Figure:
    figure, (axes,) = panels()
    reach = 0.0
    for number, condition in enumerate(CONSTANTS):
        expected, found = variances(table, condition)
        if not len(expected):
            continue
        seen = [mean(list(column)) for column in found.T]
        values = [one.value for one in seen]
        colour = COLOURS[number]
        bars = [[one.low for one in seen], [one.high for one in seen]]
        axes.vlines(expected, *bars, color=colour, linewidth=1.0, label=f"_{condition}")
        axes.plot(expected, values, MARKERS[number], color=colour, label=condition)
        reach = max(reach, float(expected.max()))
    axes.plot([0, reach], [0, reach], **THEORY, label="theory")
    axes.set_xlabel(r"theory: $5\,\sum_\ell 1/k_\ell$ (linear: 2)")
    axes.set_ylabel(r"variance of $\ln(\|\delta_1\|^2/\|\delta_L\|^2)$")
    axes.legend(loc="upper left")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    found = []
    for condition, constant in CONSTANTS.items():
        name = condition.partition(",")[0].lower()
        statement = f"{condition}: the slope of the variance over {constant:g}Σ1/k is 1 ± {MARGIN:g}"
        found.append(within(f"slope_{name}", statement, slopes(table, condition) - 1, MARGIN, PILOT, "Hanin 2018"))
    return judged(found)


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Shape, theory's variance, the measured one."""
    rows = []
    for condition in CONSTANTS:
        expected, found = variances(table, condition)
        for one, column, (depth, width) in zip(expected, found.T, shapes(table, condition), strict=True):
            cells = {"units": condition, "depth": depth, "width": width}
            rows.append(cells | {"theory": f"{one:.3f}", "measured": str(mean(list(column)))})
    return pd.DataFrame(rows)


def shapes(table: pd.DataFrame, condition: str) -> list[tuple[int, int]]:
    """(depth, width) of one condition's networks, in order."""
    own = table[table["condition"] == condition]
    return sorted({(int(d), int(k)) for d, k in zip(own["model.depth"], own["model.width"], strict=True)})


def variances(table: pd.DataFrame, condition: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Theory's variance of each shape, [shapes], and the measured one in each group of seeds, [GROUPS, shapes].

    Seeds in which a layer is off altogether are left out: there is no logarithm, and at these widths they are rare.
    """
    own = table[table["condition"] == condition]
    constant = CONSTANTS[condition]
    expected, found = [], []
    for depth, width in shapes(table, condition):
        seen = own[(own["model.depth"] == depth) & (own["model.width"] == width)].sort_values("seed")
        groups = np.array_split(seen["log_square"].to_numpy(float), GROUPS)
        expected.append(constant * (depth - 1) / width)
        found.append([float(np.nanvar(group, ddof=1)) for group in groups])
    return np.array(expected), np.array(found).reshape(-1, GROUPS).T


def slopes(table: pd.DataFrame, condition: str) -> NDArray[np.float64]:
    """Of each group of seeds the slope of a line through zero: each shape's ratio to theory, all with equal weight."""
    expected, found = variances(table, condition)
    ratios: NDArray[np.float64] = (found / expected).mean(axis=1)
    return ratios
