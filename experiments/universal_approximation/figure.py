"""The error of one hidden layer over its width, trained, and with random hidden units as the control."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.claims import Claim, above, judged
from mlpexp.data.dataset import Parts
from mlpexp.data.prepare import prepare
from mlpexp.data_schema import Sine
from mlpexp.paper import THEORY, Figure, curve, means, panels, powers_of_two
from mlpexp.results import Result

MARGIN = 0.5  # of the slope of ln(error) over ln(width): Barron's rate of the root mean square
PILOT = 0.25  # standard deviation between three other seeds (seed=1000): 0.05 to 0.22
GRID = 400
RANGE = 8.0  # of random units: slopes up to that, kinks all over the inputs
ERROR, CONTROL = "error", "control"

Floats = NDArray[np.float64]


def read(run: Result) -> dict[str, Any]:
    """Root mean squared error on evenly spaced inputs: the run's, and that of as many random units."""
    import torch

    data = run.config.data
    if not isinstance(data, Sine):
        raise TypeError(f"the curve of data={data.name} is not known; leave data=sine")
    x = np.linspace(-1, 1, GRID)[:, None]
    true = np.sin(2 * np.pi * data.frequency * x)
    random = random_units(prepare(data), int(run.config.model.widths[0]), run.config.seed, x)
    control = float(np.sqrt(np.mean((random - true) ** 2)))
    if run.status == "diverged":
        return {ERROR: float("nan"), CONTROL: control}
    with torch.no_grad():
        found = run.network()(torch.tensor(x)).double().numpy()
    return {ERROR: float(np.sqrt(np.mean((found - true) ** 2))), CONTROL: control}


def random_units(parts: Parts, width: int, seed: int, x: Floats) -> Floats:
    """Outputs at x, [n, 1], of hidden units drawn at random, with a last layer solved for on the training part."""
    draw = np.random.default_rng(seed)
    slopes = draw.uniform(-RANGE, RANGE, width)
    kinks = draw.uniform(-np.sqrt(3), np.sqrt(3), width)  # what uniform inputs reach once they are standardised

    def features(inputs: Floats) -> Floats:
        return np.hstack([np.tanh(slopes * (inputs - kinks)), np.ones_like(inputs)])

    own = parts.training
    last = np.linalg.lstsq(features(np.asarray(own.features, float)), own.targets.astype(float), rcond=1e-10)[0]
    found: Floats = features((x - parts.centre) / parts.scale) @ last
    return found


def draw(table: pd.DataFrame) -> Figure:
    figure, (axes,) = panels()
    for number, (column, word) in enumerate(((ERROR, "trained"), (CONTROL, "random hidden units"))):
        line = means(table.assign(log=np.log(table[column])), "model.width", "log")
        line[["value", "low", "high"]] = np.exp(line[["value", "low", "high"]])
        curve(axes, line["model.width"], line, word, number)
    widths = np.array(sorted(table["model.width"].unique()), float)
    axes.plot(widths, 0.7 * (widths / widths[0]) ** -MARGIN, **THEORY, label="slope −½")
    powers_of_two(axes, list(widths))
    axes.set_yscale("log")
    axes.set_xlabel("hidden units")
    axes.set_ylabel("error against the curve (RMS)")
    axes.legend(loc="lower left")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    trained, random = falls(table, ERROR), falls(table, CONTROL)
    return judged(
        [
            above(
                "trained_falls",
                "trained, the error falls faster over width than as k to the power of −½",
                trained,
                MARGIN,
                PILOT,
                "Hornik, Stinchcombe & White 1989; the rate: Barron 1993",
            ),
            above(
                "random_falls",
                "so it does with random hidden units and a last layer that is solved for",
                random,
                MARGIN,
                PILOT,
                "Rahimi & Recht 2008",
            ),
        ]
    )


def falls(table: pd.DataFrame, column: str) -> Floats:
    """Of each seed minus the slope of ln(error) over ln(width), by least squares; a diverged run is left out."""
    found = []
    for _, own in table.groupby("seed"):
        kept = own[np.isfinite(own[column])]
        found.append(-np.polyfit(np.log(kept["model.width"].astype(float)), np.log(kept[column]), 1)[0])
    return np.array(found)
