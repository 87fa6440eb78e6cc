"""The spread over seeds of the backpropagated signal of one input, against the sum of inverse widths."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import digamma, polygamma
from scipy.stats import binom

from mlpexp.claims import Claim, judged, within
from mlpexp.paper import COLOURS, MARKERS, THEORY, Axes, Figure, panels, powers_of_two
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
    figure, (axes, ratios) = panels(2)
    reach = 0.0
    for number, condition in enumerate(CONSTANTS):
        expected, found = variances(table, condition)
        if not len(expected):
            continue
        seen = [mean(list(column)) for column in found.T]
        values = [one.value for one in seen]
        colour = COLOURS[number]
        low, high = [one.low for one in seen], [one.high for one in seen]
        axes.vlines(expected, low, high, color=colour, linewidth=1.0, label=f"_{condition}")
        axes.plot(expected, values, MARKERS[number], color=colour, label=condition)
        reach = max(reach, float(expected.max()))
        over_width(ratios, table, condition, number)
    axes.plot([0, reach], [0, reach], **THEORY, label="theory")
    axes.set_xlabel(r"theory: $c\,\sum_\ell 1/k_\ell$ (ReLU: c = 5, linear: c = 2)")
    axes.set_ylabel(r"variance of $\ln(\|\delta_1\|^2/\|\delta_L\|^2)$")
    axes.legend(loc="upper left")
    powers_of_two(ratios, sorted({width for one in CONSTANTS for _, width in shapes(table, one)}))
    ratios.axhline(1, **THEORY, label="theory")
    ratios.set_xlabel("units of a layer, k")
    ratios.set_ylabel("variance over theory")
    ratios.set_ylim(0.55, None)
    ratios.legend(loc="lower left")
    return figure


def over_width(axes: Axes, table: pd.DataFrame, condition: str, number: int) -> None:
    """Variance over theory's, mean over depths, at every width; as a line what is exact at that width."""
    expected, found = variances(table, condition)
    widths = np.array([width for _, width in shapes(table, condition)])
    each = np.unique(widths)
    seen = [mean(list((found / expected)[:, widths == width].mean(axis=1))) for width in each]
    at, colour = each * 2 ** (0.06 * number), COLOURS[number]
    axes.vlines(at, [one.low for one in seen], [one.high for one in seen], color=colour, label=f"_{condition}")
    axes.plot(at, [one.value for one in seen], MARKERS[number], color=colour, label=condition)
    true = [exact_variance(condition, int(width)) * width / CONSTANTS[condition] for width in each]
    axes.plot(at, true, **{**THEORY, "color": colour}, label=f"{condition}: exact")


def exact_variance(condition: str, width: int) -> float:
    """Variance of ln(‖δ_l‖²/‖δ_{l+1}‖²) of one layer at a finite width, without its leading-order approximation.

    The ratio is a mean of k squared normals (χ²_k, whose logarithm has variance ψ′(k/2)); of ReLU units only the n that
    are on count, a binomial number, and layers in which none is on have no logarithm.
    """
    if condition == "linear":
        return float(polygamma(1, width / 2))
    on = np.arange(1, width + 1)
    share = binom.pmf(on, width, 0.5) / (1 - 0.5**width)
    middle = digamma(on / 2)
    return float(share @ (polygamma(1, on / 2) + middle**2) - (share @ middle) ** 2)


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
