"""Update rules at an equal budget, Adam's two places of ε, Rprop without mini-batches; paths on a quadratic."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mlpexp.claims import Claim, above, judged, within
from mlpexp.kernel.optimizers import Adam, GradientDescent, RMSProp, Rule, column
from mlpexp.kernel.rprop import Rprop
from mlpexp.paper import COLOURS, Figure, curve, means, panels, whole_numbers
from mlpexp.results import Result
from mlpexp.verdicts import mean

MARGIN = 0.05  # five points of accuracy: at 8 sigmoid layers seeds differ by that much
RPROP_MARGIN = 0.02
EQUAL_PILOT, FLOOR_PILOT, RPROP_PILOT = 0.06, 0.12, 0.01  # standard deviations between three other seeds (seed=1000)
SCORE, CHANCE = "accuracy/test", 0.1
CURVATURES, START, STEPS = (1.0, 20.0), (-4.0, 1.0), 40


def read(run: Result) -> dict[str, Any]:
    """Loss on the training part after every epoch."""
    values = run.record["loss/train"]
    return {"course": tuple(map(float, values[~np.isnan(values)]))}


def draw(table: pd.DataFrame) -> Figure:
    figure, (loss, floors, plane) = panels(3)
    rules = table[table["part"] == "rules"]
    numbers = {str(condition): number for number, condition in enumerate(rules["condition"].unique())}
    for condition, own in rules.groupby("condition", sort=False):
        line = means(by_epoch(own), "epoch", "log_loss")
        line[["value", "low", "high"]] = np.exp(line[["value", "low", "high"]])
        curve(loss, line["epoch"], line, str(condition), numbers[str(condition)])
    whole_numbers(loss)
    loss.set_yscale("log")
    loss.set_xlabel("epoch")
    loss.set_ylabel("loss, training part")
    loss.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)  # above: curves may go anywhere
    conditions = list(table[table["part"] == "floors"]["condition"].unique())
    for place, condition in enumerate(conditions):
        scores = accuracies(table, "floors", condition)
        seen = mean(list(scores))
        floors.plot(
            np.full(len(scores), place), scores, "o", color=COLOURS[place], alpha=0.25, label=f"_{condition}, seeds"
        )
        floors.vlines(place + 0.15, seen.low, seen.high, color=COLOURS[place], label=f"_{condition}")
        floors.plot([place + 0.15], [seen.value], "s", color=COLOURS[place], label=condition)
    floors.set_xticks(range(len(conditions)), [name.replace(", ", "\n") for name in conditions])
    floors.set_ylabel("accuracy, test")
    floors.set_xlabel("place and size of ε")
    for name, path in paths().items():
        number = numbers.get(name, numbers["Rprop, m = n"])  # the whole gradient: here there is no other
        plane.plot(path[:, 0], path[:, 1], marker=".", color=COLOURS[number], label=name, linewidth=0.8)
    x, y = np.meshgrid(np.linspace(-4.6, 1.6, 60), np.linspace(-1.6, 1.6, 60))
    plane.contour(x, y, (CURVATURES[0] * x**2 + CURVATURES[1] * y**2) / 2, levels=8, colors="#bbbbbb", linewidths=0.5)
    plane.set_xlabel("x")
    plane.set_ylabel("y")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    def paired(part: str, one: str, other: str) -> pd.Series:
        return accuracies(table, part, one) - accuracies(table, part, other)

    return judged(
        [
            within(
                "equal_floors_agree",
                "at an equal floor Adam's ε inside (ε²) and outside the root agree within 5 points at 8 sigmoid layers",
                paired("floors", "outside, 1e-8", "inside, 1e-16"),
                MARGIN,
                EQUAL_PILOT,
                "the floor of √(V + ε²) is that of √V + ε",
            ),
            above(
                "the_floor_counts",
                "ε = 1e-8 inside the root, a floor of 1e-4, costs more than 5 points there, tuned as it is",
                paired("floors", "outside, 1e-8", "inside, 1e-8"),
                MARGIN,
                FLOOR_PILOT,
                "the lecture's form with torch's number",
            ),
            above(
                "rprop_needs_all_examples",
                "Rprop with mini-batches of 64 is more than 2 points worse than with all examples, at equal epochs",
                paired("rules", "Rprop, m = n", "Rprop, m = 64"),
                RPROP_MARGIN,
                RPROP_PILOT,
                "Riedmiller & Braun 1993: made for the whole gradient",
            ),
        ]
    )


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Rule, the learning rate that was picked, accuracy on the test part."""
    rows = []
    for condition, own in table.groupby("condition", sort=False):
        rate = own["optimizer.learning_rate"].iloc[0]
        scores = mean(list(own[SCORE].fillna(CHANCE)))
        rows.append({"rule": condition, "learning rate": f"{rate:g}", "accuracy, test": str(scores)})
    return pd.DataFrame(rows)


def accuracies(table: pd.DataFrame, part: str, condition: str) -> pd.Series:
    """Accuracy on the test part by seed; a diverged run counts as chance."""
    own = table[(table["part"] == part) & (table["condition"] == condition)]
    return own.set_index("seed")[SCORE].fillna(CHANCE)


def by_epoch(runs: pd.DataFrame) -> pd.DataFrame:
    """ln of the loss on the training part, one row a seed and epoch."""
    rows = []
    for values in runs["course"]:
        rows += [{"epoch": i, "log_loss": float(np.log(max(value, 1e-12)))} for i, value in enumerate(values)]
    return pd.DataFrame(rows)


def paths() -> dict[str, NDArray[np.float64]]:
    """Where each rule goes on the quadratic, [STEPS + 1, 2], at a learning rate that suits it there."""
    one = torch.float64
    rules: dict[str, Rule] = {
        "gradient descent": GradientDescent(column([0.09]), momentum=column([0.0])),
        "momentum": GradientDescent(column([0.02]), momentum=column([0.9])),
        "RMSProp": RMSProp(column([0.1]), beta=column([0.9]), epsilon=column([1e-8])),
        "Adam": Adam(column([0.3]), beta1=column([0.9]), beta2=column([0.999]), epsilon=column([1e-8])),
        "Rprop": Rprop(column([0.1]), column([0.5]), column([1.2]), column([1e-6]), column([50.0])),
    }
    found = {}
    for name, rule in rules.items():
        place = torch.tensor([START], dtype=one)
        rule.start(place)
        path = [place]
        for _ in range(STEPS):
            gradient = path[-1] * torch.tensor(CURVATURES, dtype=one)
            path.append(path[-1] + rule.step(gradient, rule.learning_rate, torch.empty_like(gradient)))
        found[name] = torch.cat(path).numpy()
    return found
