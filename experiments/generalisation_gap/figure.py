"""Small and large batches at equal epochs and at equal updates; how far the weights have gone, over time."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.claims import Claim, above, judged, within
from mlpexp.paper import COLOURS, THEORY, Figure, curve, means, panels
from mlpexp.results import Result
from mlpexp.verdicts import mean

MARGIN = 0.01  # a point of accuracy
PILOT, FIT_PILOT = 0.015, 0.9
"""Standard deviations between three seeds at a smaller size (--size smoke), rounded up."""
HALF = float(np.log(2))
SCORE, CHANCE = "accuracy/test", 0.1
SMALL, EPOCHS, UPDATES = "m = 16", "m = 512, equal epochs", "m = 512, equal updates"
FIRST, POINTS = 10, 40  # the first update of the fits, and how many, evenly on a logarithmic axis

Floats = NDArray[np.float64]


def read(run: Result) -> dict[str, Any]:
    """‖W − W₀‖ of all layers together at updates that are evenly spaced on a logarithmic axis."""
    if run.status == "diverged":
        return {"updates": (), "distance": ()}
    steps, values = run.record.measured("weight_distance")
    whole = np.sqrt((values.astype(float) ** 2).sum(axis=1))
    at = np.unique(np.geomspace(1, len(steps) - 1, POINTS).round().astype(int))
    return {"updates": tuple(int(step) for step in steps[at]), "distance": tuple(whole[at])}


def draw(table: pd.DataFrame) -> Figure:
    figure, (scores, distance) = panels(2)
    names = list(table["condition"].unique())
    for place, condition in enumerate(names):
        own, colour = accuracies(table, condition), COLOURS[place]
        seen = mean(list(own))
        scores.plot(np.full(len(own), place), own, "o", color=colour, alpha=0.25, label=f"_{condition}, seeds")
        scores.vlines(place + 0.15, seen.low, seen.high, color=colour, label=f"_{condition}")
        scores.plot([place + 0.15], [seen.value], "s", color=colour, label=f"_{condition}, mean")
    scores.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names])
    scores.set_xlim(-0.4, len(names) - 0.5)
    scores.set_ylabel("accuracy, test")
    for number, condition in enumerate(names):
        own = table[table["condition"] == condition]
        rows = [
            {"update": t, "distance": d}
            for times, distances in zip(own["updates"], own["distance"], strict=True)
            for t, d in zip(times, distances, strict=True)
        ]
        line = means(pd.DataFrame(rows, columns=["update", "distance"]), "update", "distance")
        curve(distance, line["update"], line, condition, number)
        late = line[line["update"] >= FIRST]
        if condition == SMALL and len(late) > 2:
            slope, level = np.polyfit(np.log(late["update"]), late["value"], 1)
            distance.plot(late["update"], level + slope * np.log(late["update"]), **THEORY, zorder=3, label="_fit")
    distance.plot([], [], **THEORY, label="a + b ln t")
    distance.set_xscale("log")
    distance.set_ylim(0, 1.35 * distance.get_ylim()[1])
    distance.set_xlabel("update t")
    distance.set_ylabel(r"$\|W_t - W_0\|$")
    distance.legend(loc="upper left")
    return figure


def accuracies(table: pd.DataFrame, condition: str) -> pd.Series:
    """Accuracy on the test part by seed; a diverged run counts as chance."""
    return table[table["condition"] == condition].set_index("seed")[SCORE].fillna(CHANCE)


def logarithm_over_power(times: Floats, distance: Floats) -> float:
    """ln of the squared residual of c·t^p over that of a + b ln t, each fitted by least squares from update 10 on."""
    late = times >= FIRST
    t, d = times[late], distance[late]
    if len(t) < 4:
        return float("nan")
    straight = float(((d - np.polyval(np.polyfit(np.log(t), d, 1), np.log(t))) ** 2).sum())
    powers = [t**p for p in np.linspace(0.01, 1.5, 150)]
    curved = min(float(((d - (x @ d) / (x @ x) * x) ** 2).sum()) for x in powers)
    return float(np.log(curved / straight))


def claims(table: pd.DataFrame) -> list[Claim]:
    source = "Hoffer et al. 2017"
    small = accuracies(table, SMALL)
    own = table[table["condition"] == SMALL]
    fits = [
        logarithm_over_power(np.array(t, float), np.array(d, float))
        for t, d in zip(own["updates"], own["distance"], strict=True)
    ]
    return judged(
        [
            above(
                "gap_at_equal_epochs",
                "at equal epochs batches of 512 are over a point worse on the test part than batches of 16",
                small - accuracies(table, EPOCHS),
                MARGIN,
                PILOT,
                source,
            ),
            within(
                "no_gap_at_equal_updates",
                "at equal updates they differ by less than a point",
                small - accuracies(table, UPDATES),
                MARGIN,
                PILOT,
                source,
            ),
            above(
                "distance_is_logarithmic",
                "with batches of 16 a + b ln t leaves under half of the squared residual of a power law in ‖W − W₀‖",
                fits,
                HALF,
                FIT_PILOT,
                source,
            ),
        ]
    )


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Batch and budget, the learning rate that was picked, accuracy on training and test part, their gap."""
    rows = []
    for condition, own in table.groupby("condition", sort=False):
        cells = {"learning rate": f"{own['optimizer.learning_rate'].iloc[0]:g}"}
        for part in ("train", "test"):
            cells[f"accuracy, {part}"] = str(mean(list(own[f"accuracy/{part}"].dropna())))
        cells["gap"] = str(mean(list((own["accuracy/train"] - own["accuracy/test"]).dropna())))
        rows.append({"batch": condition, **cells})
    return pd.DataFrame(rows)
