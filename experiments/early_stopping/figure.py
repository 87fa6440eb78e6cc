"""Stopping against going on, and against training anew on the validation part as well."""

from typing import Any

import numpy as np
import pandas as pd

from mlpexp.claims import Claim, above, judged, within
from mlpexp.data.catalogue import spoken
from mlpexp.kernel.streams import updates_per_epoch
from mlpexp.paper import COLOURS, Figure, curve, forest, means, panels, whole_numbers
from mlpexp.results import Result
from mlpexp.verdicts import mean

MARGIN = 0.01  # a point of accuracy
PILOT = 0.01  # standard deviation between three other seeds (seed=1000): 0.003 to 0.009

NOISE = 0.15
SCORE = "accuracy/test"
OTHERS = {"on": "going on", "end": "end", "anew": "anew"}


def read(run: Result) -> dict[str, Any]:
    """Accuracy on the validation part by epoch, and the epoch whose weights were taken."""
    if "accuracy/validation" not in run.record.metrics:
        return {}
    values, training = run.record["accuracy/validation"], run.config.training
    per_epoch = updates_per_epoch(run.facts["data"]["examples"]["train"], training.batch_size, training.sampler)
    course = tuple(map(float, values[~np.isnan(values)]))
    return {"validation": course, "best_epoch": run.facts["best_step"] / per_epoch}


def draw(table: pd.DataFrame) -> Figure:
    figure, (course, effects) = panels(2)
    data = shown(table)
    line = means(by_epoch(chosen(table, "going on", data, NOISE)), "epoch", "accuracy")
    curve(course, line["epoch"], line, "going on, validation part", 0)
    stopped = chosen(table, "stop", data, NOISE)
    course.plot(stopped["best_epoch"], stopped[SCORE], "D", color=COLOURS[1], alpha=0.6, label="stopped, test part")
    whole_numbers(course)
    course.set_xlabel("epoch")
    course.set_ylabel("accuracy")
    course.legend(loc="lower right")
    found = {}
    for name in dict.fromkeys(table["data.name"]):
        for noise in dict.fromkeys(table["data.label_noise"]):
            for word, other in OTHERS.items():
                seen = mean(list(difference(table, other, name, noise)))
                found[f"{spoken(name)} {noise:.0%}, {word}"] = (seen.value, seen.low, seen.high)
    forest(effects, found, MARGIN)
    effects.tick_params(axis="y", labelsize="x-small")
    effects.set_xlabel("gain of stopping (accuracy)")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    data = shown(table)
    noisy, clean = f"with 15 % wrong labels ({spoken(data)})", f"with correct labels ({spoken(data)})"

    def gain(other: str, noise: float) -> pd.Series:
        return difference(table, other, data, noise)

    found = [
        above(
            "stopping_beats_going_on",
            f"{noisy} stopping is more than a point better than going on at the same learning rate",
            gain("going on", NOISE),
            MARGIN,
            PILOT,
            "Prechelt 1998",
        ),
        above(
            "stopping_beats_the_end",
            f"{noisy} stopping is more than a point better than training to the end, each at its own learning rate",
            gain("end", NOISE),
            MARGIN,
            PILOT,
            "Prechelt 1998",
        ),
        within(
            "stopping_costs_nothing",
            f"{clean} it makes less than a point of difference to training to the end",
            gain("end", 0.0),
            MARGIN,
            PILOT,
            "Prechelt 1998",
        ),
        above(
            "training_anew_beats_stopping",
            f"{clean} training anew on both parts is more than a point better than stopping",
            -gain("anew", 0.0),
            MARGIN,
            PILOT,
            "Goodfellow et al. 2016, section 7.8",
        ),
    ]
    return judged(found)


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Accuracy on the test part, mean ± half the 95 % interval."""
    rows = []
    for data in dict.fromkeys(table["data.name"]):
        for noise in dict.fromkeys(table["data.label_noise"]):
            ways = {way: chosen(table, way, data, noise) for way in ("stop", "going on", "end")}
            cells = {way: str(mean(list(own[SCORE].dropna()))) for way, own in ways.items()}
            again = str(mean(list(trained_anew(table, data, noise).dropna())))
            rows.append({"data": spoken(data), "wrong labels": f"{noise:.0%}"} | cells | {"anew": again})
    return pd.DataFrame(rows)


def shown(table: pd.DataFrame) -> str:
    """The data set that claims are about, the first."""
    return str(table["data.name"].iloc[0])


def chosen(table: pd.DataFrame, condition: str, data: object, noise: float) -> pd.DataFrame:
    """Runs of one way to stop on one data set."""
    own = table[(table["part"] != "retraining") & (table["condition"] == condition)]
    return own[(own["data.name"] == data) & (own["data.label_noise"] == noise)]


def difference(table: pd.DataFrame, other: str, data: object, noise: float) -> pd.Series:
    """Accuracy of stopping less that of the other, one a seed; `anew` is training anew on both parts."""
    stopped = chosen(table, "stop", data, noise).set_index("seed")[SCORE]
    against = (
        trained_anew(table, data, noise)
        if other == "anew"
        else chosen(table, other, data, noise).set_index("seed")[SCORE]
    )
    return (stopped - against).dropna()


def trained_anew(table: pd.DataFrame, data: object, noise: float) -> pd.Series:
    """By seed the accuracy of training on both parts, for that number of epochs which is nearest to stopping's."""
    own = table[(table["part"] == "retraining") & (table["data.name"] == data) & (table["data.label_noise"] == noise)]
    stopped = chosen(table, "stop", data, noise).set_index("seed")["best_epoch"].clip(lower=1)
    far = np.abs(np.log(own["training.epochs"]) - np.log(own["seed"].map(stopped)))
    nearest = own.assign(far=far).sort_values(["far", "training.epochs"]).drop_duplicates("seed")
    return nearest.set_index("seed")[SCORE].sort_index()


def by_epoch(runs: pd.DataFrame) -> pd.DataFrame:
    """Accuracy on the validation part, one row a seed and epoch; every second beyond 20 is left out."""
    rows = []
    for values in runs["validation"]:
        rows += [{"epoch": i, "accuracy": value} for i, value in enumerate(values) if i <= 20 or i % 5 == 0]
    return pd.DataFrame(rows)
