"""MSE, Huber's loss and MAE where a share of the targets is far off: error against the curve itself."""

from typing import Any

import numpy as np
import pandas as pd

from mlpexp.claims import Claim, above, judged, within
from mlpexp.data_schema import Sine
from mlpexp.paper import Figure, curve, means, panels
from mlpexp.results import Result

MARGIN = 0.02  # of the curve's amplitude: a fifth of the noise that every target has
CLEAN_PILOT, PILOT = 0.09, 0.04  # standard deviation between three other seeds (seed=1000): 0.086 at 0 %, 0.032 at 30 %
GRID = 400
ERROR = "error"


def read(run: Result) -> dict[str, Any]:
    """Root mean squared error against the curve itself, on evenly spaced inputs; NaN for a run that diverged."""
    import torch

    data = run.config.data
    if run.status == "diverged" or not isinstance(data, Sine):
        return {ERROR: float("nan")}
    x = np.linspace(-1, 1, GRID)[:, None]
    with torch.no_grad():
        found = run.network()(torch.tensor(x)).double().numpy()
    return {ERROR: float(np.sqrt(np.mean((found - np.sin(2 * np.pi * data.frequency * x)) ** 2)))}


def draw(table: pd.DataFrame) -> Figure:
    figure, (errors,) = panels()
    for number, (condition, own) in enumerate(table.groupby("condition", sort=False)):
        line = means(own, "data.outliers", ERROR)
        curve(errors, 100 * line["data.outliers"], line, str(condition), number)
    errors.set_xlabel("outliers (% of targets)")
    errors.set_ylabel("error against the curve (RMS)")
    errors.set_ylim(0, None)
    errors.legend(loc="upper left")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    shares = sorted(table["data.outliers"].unique())
    most, source = shares[-1], "Huber 1964; the lecture: MAE for outliers"
    gains = {share: difference(table, share) for share in shares}
    return judged(
        [
            above(
                "mae_wins_with_outliers",
                f"with {most:.0%} outliers MAE's error is more than {MARGIN:g} below MSE's",
                gains[most],
                MARGIN,
                PILOT,
                source,
            ),
            above(
                "the_gain_grows",
                f"that gain is more than {MARGIN:g} larger with {most:.0%} outliers than with none",
                gains[most] - gains[shares[0]],
                MARGIN,
                CLEAN_PILOT,
                source,
            ),
            within(
                "mae_costs_nothing_without",
                f"without outliers the two differ by less than {MARGIN:g}",
                gains[shares[0]],
                MARGIN,
                CLEAN_PILOT,
                source,
            ),
        ]
    )


def difference(table: pd.DataFrame, share: float) -> pd.Series:
    """Error of MSE less that of MAE, one a seed; a diverged run is wrong by the curve's own size, √½."""
    own = table[table["data.outliers"] == share]
    by_seed = own.pivot(index="seed", columns="condition", values=ERROR).fillna(np.sqrt(0.5))
    return by_seed["MSE"] - by_seed["MAE"]
