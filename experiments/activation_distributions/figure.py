"""Distributions of activations by layer at the start, spread and saturation over time, at two scales of weights."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.claims import Claim, above, judged, within
from mlpexp.paper import COLOURS, DASHES, Figure, curve, means, panels
from mlpexp.results import Result
from mlpexp.verdicts import mean

SHRINK_MARGIN, EVEN_MARGIN = 0.5, 0.25  # of ln of a standard deviation: a factor of 1.65, of 1.28
LATER_MARGIN = 0.05  # share of saturated units
SHRINK_PILOT, LATER_PILOT = 0.06, 0.03
"""Standard deviations between three seeds at a smaller size (--size smoke), rounded up."""
STANDARD, NORMALISED = "standard", "normalised"
SCORE = "accuracy/test"
POINTS, BINS = 24, np.linspace(-1, 1, 42)

Floats = NDArray[np.float64]


def read(run: Result) -> dict[str, Any]:
    """Of hidden layers: densities before training [L − 1, bins]; spread and saturation over updates [t, L − 1]."""
    hidden = slice(0, run.config.model.depth - 1)
    if run.status == "diverged":
        return {"density": None, "updates": (), "spread": None, "saturation": None}
    counts, edges = run.record["activation_histogram"][0][hidden], run.record.edges("activation_histogram")[0][hidden]
    steps, spread = run.record.measured("activation_std")
    _, saturation = run.record.measured("saturation")
    at = np.unique(np.geomspace(1, len(steps), POINTS).round().astype(int)) - 1
    return {
        "density": np.stack([rebinned(*pair) for pair in zip(counts, edges, strict=True)]),
        "updates": tuple(int(step) for step in steps[at]),
        "spread": spread[at][:, hidden].astype(float),
        "saturation": saturation[at][:, hidden].astype(float),
    }


def rebinned(counts: Floats, edges: Floats) -> Floats:
    """The density on BINS of a histogram with edges of its own, taken as even within its bins."""
    cumulated = np.concatenate([[0.0], np.cumsum(counts, dtype=float)])
    found: Floats = np.diff(np.interp(BINS, edges.astype(float), cumulated)) / cumulated[-1] / np.diff(BINS)
    return found


def draw(table: pd.DataFrame) -> Figure:
    figure, (start, spread, saturated) = panels(3)
    middle = (BINS[:-1] + BINS[1:]) / 2
    for number, condition in enumerate((STANDARD, NORMALISED)):
        densities = np.stack(list(table[table["condition"] == condition]["density"].dropna()))
        layers = densities.shape[1]
        for l in (0, layers - 1):
            line, label = densities[:, l].mean(axis=0), f"{condition}, layer {l + 1}"
            place = 2 * number + (l > 0)
            start.plot(middle, line, color=COLOURS[place], linestyle=DASHES[place], label=label)
    start.set_xlabel("output of a hidden unit")
    start.set_ylabel("density, before training")
    start.set_yscale("log")
    start.set_ylim(0.02, 100)
    start.legend(loc="upper left", ncols=2)
    number = 0
    for condition in (STANDARD, NORMALISED):
        for l in (0, layers - 1):
            line = over_time(table, condition, "spread", l)
            curve(spread, line["update"], line, f"{condition}, layer {l + 1}", number)
            number += 1
    spread.set_ylabel("standard deviation of outputs")
    spread.set_ylim(0, 1.2)
    spread.legend(loc="upper left", ncols=2)
    for number, condition in enumerate((STANDARD, NORMALISED)):
        line = over_time(table, condition, "saturation", 0)
        curve(saturated, line["update"], line, f"{condition}, layer 1", 2 * number)
    saturated.set_ylabel("saturated (share)")
    saturated.legend(loc="upper left")
    for axes in (spread, saturated):
        axes.set_xscale("log")
        axes.set_xlabel("update (1: before training)")
    return figure


def over_time(table: pd.DataFrame, condition: str, column: str, layer: int) -> pd.DataFrame:
    """Mean over seeds of what one layer has, over updates."""
    own = table[(table["condition"] == condition) & table[column].notna()]
    rows = [
        {"update": step + 1, column: value}
        for steps, values in zip(own["updates"], own[column], strict=True)
        for step, value in zip(steps, values[:, layer], strict=True)
    ]
    return means(pd.DataFrame(rows, columns=["update", column]), "update", column)


def by_seed(table: pd.DataFrame, condition: str) -> pd.DataFrame:
    """Runs of a condition that did not diverge, by seed."""
    own = table[(table["condition"] == condition) & table["spread"].notna()]
    return own.set_index("seed")


def log_ratio(table: pd.DataFrame, condition: str) -> pd.Series:
    """ln of the first hidden layer's standard deviation over the last one's, before training, by seed."""
    return by_seed(table, condition)["spread"].map(lambda spread: float(np.log(spread[0, 0] / spread[0, -1])))


def claims(table: pd.DataFrame) -> list[Claim]:
    source = "Glorot & Bengio 2010"
    end = {
        name: by_seed(table, name)["saturation"].map(lambda share: float(share[-1, 0]))
        for name in (STANDARD, NORMALISED)
    }
    return judged(
        [
            above(
                "scale_changes_the_spread",
                "before training outputs narrow from the first hidden layer to the last by a factor that is over 1.65 "
                "times larger with the standard scale than with the normalised one",
                log_ratio(table, STANDARD) - log_ratio(table, NORMALISED),
                SHRINK_MARGIN,
                SHRINK_PILOT,
                source,
            ),
            within(
                "normalised_keeps_it",
                "with the normalised scale they keep their spread within a factor of 1.28",
                log_ratio(table, NORMALISED),
                EVEN_MARGIN,
                SHRINK_PILOT,
                source,
            ),
            above(
                "standard_saturates_later",
                "after training over 5 % more of the first hidden layer is saturated with the standard scale",
                end[STANDARD] - end[NORMALISED],
                LATER_MARGIN,
                LATER_PILOT,
                source,
            ),
        ]
    )


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Scale, the learning rate that was picked, accuracy on the test part; spread and saturation by layer."""
    rows = []
    for condition in (STANDARD, NORMALISED):
        own = by_seed(table, condition)
        rate, score = own["optimizer.learning_rate"].iloc[0], str(mean(list(own[SCORE].dropna())))
        spread, saturation = (np.mean(list(own[name]), axis=0) for name in ("spread", "saturation"))
        for l in range(spread.shape[1]):
            cells = {"layer": str(l + 1), "spread, start": f"{spread[0, l]:.3f}", "spread, end": f"{spread[-1, l]:.3f}"}
            ends = {"saturated, end": f"{saturation[-1, l]:.3f}"}
            rows.append({"scale": condition, "learning rate": f"{rate:g}", "accuracy, test": score, **cells, **ends})
    return pd.DataFrame(rows)
