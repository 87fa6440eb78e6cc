"""Test error over the width of a hidden layer: the peak where training examples are just fitted, and its controls."""

import pandas as pd

from mlpexp.claims import Claim, above, below, in_all_cases, judged
from mlpexp.paper import THEORY, Figure, curve, means, panels, powers_of_two
from mlpexp.verdicts import mean

MARGIN = 0.01  # a point of accuracy
PILOT = 0.015
"""Standard deviation of differences between three seeds at a smaller size (--size smoke), rounded up."""
NOISY, CLEAN, PICKED = "15 % wrong labels", "correct labels", "15 % wrong, γ picked"
CHANCE = 0.9


def draw(table: pd.DataFrame) -> Figure:
    figure, (test, train) = panels(2)
    for axes, part in ((test, "test"), (train, "train")):
        for number, (condition, own) in enumerate(table.groupby("condition", sort=False)):
            score = (1 - own[f"accuracy/{part}"]).fillna(CHANCE)
            line = means(own.assign(error=score), "model.width", "error")
            curve(axes, line["model.width"], line, str(condition), number)
        axes.axvline(peak(table), **THEORY, label="peak")
        powers_of_two(axes, sorted(table["model.width"].unique()))
        axes.set_xlabel("hidden units")
        axes.set_ylabel(f"error, {part}")
        axes.tick_params(axis="x", labelsize="x-small")
    train.set_ylim(-0.02, None)
    test.set_ylim(None, test.get_ylim()[1] + 0.04)
    test.legend(loc="upper right", ncols=2)
    return figure


def errors(table: pd.DataFrame, condition: str, part: str = "test") -> pd.DataFrame:
    """Share of wrong answers, [seeds, widths]; a diverged run counts as chance."""
    own = table[table["condition"] == condition]
    by_seed: pd.DataFrame = own.pivot(index="seed", columns="model.width", values=f"accuracy/{part}")
    return (1 - by_seed).fillna(CHANCE)


def peak(table: pd.DataFrame) -> int:
    """The inner width at which the error stands out most from both sides, read off the validation part."""
    score = errors(table, NOISY, "validation").mean()
    widths, values = [int(width) for width in score.index], score.to_numpy(float)
    inner = range(1, len(values) - 1)
    rise = {i: values[i] - max(values[:i].min(), values[i + 1 :].min()) for i in inner}
    return widths[max(rise, key=lambda i: rise[i])]


def dip(table: pd.DataFrame) -> int:
    """The width below the peak with the least error on the validation part."""
    score = errors(table, NOISY, "validation").mean()
    below = dict(zip(score.index[score.index < peak(table)], score, strict=False))
    return int(min(below, key=lambda width: below[width]))


def claims(table: pd.DataFrame) -> list[Claim]:
    source = "Belkin et al. 2019; Nakkiran et al. 2020"
    noisy, clean, picked = (errors(table, condition) for condition in (NOISY, CLEAN, PICKED))
    top, low, wide = peak(table), dip(table), int(noisy.columns.max())
    sides = {
        f"{width} units": above("peak", "", noisy[top] - noisy[width], MARGIN, PILOT, source) for width in (low, wide)
    }
    statement = f"with 15 % wrong labels the test error at {top} units is over a point above those of {low} and {wide}"
    return judged(
        [
            in_all_cases("peak", statement, sides),
            above(
                "noise_makes_it",
                f"the fall from {top} to {wide} units is over a point larger with wrong labels than without",
                (noisy[top] - noisy[wide]) - (clean[top] - clean[wide]),
                MARGIN,
                PILOT,
                source,
            ),
            below(
                "a_picked_rate_removes_the_rise",
                f"with γ picked on validation the error at {top} units is less than a point above that of {low}",
                picked[top] - picked[low],
                MARGIN,
                PILOT,
                "Nakkiran et al. 2021, of the best penalty",
            ),
        ]
    )


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Units of the hidden layer, errors on training and test part."""
    rows = []
    for width in sorted(table["model.width"].unique()):
        cells = {"units": width, "parameters": 51 * width + 10}
        for condition in (NOISY, CLEAN, PICKED):
            train, test = (errors(table, condition, part)[width] for part in ("train", "test"))
            cells |= {f"{condition}, train": f"{train.mean():.3f}", f"{condition}, test": str(mean(list(test)))}
        rows.append(cells)
    return pd.DataFrame(rows)
