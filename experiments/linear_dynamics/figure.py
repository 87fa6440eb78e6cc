"""Modes of a deep linear network over time against Saxe's formula, a single layer beside it, and two step sizes.

With white inputs the loss Σ‖y − f‖² of two layers falls apart into modes of the correlation matrix (1/n)Σ y xᵀ =
Σ_α s_α u_α v_αᵀ. The strength a_α = u_αᵀ W v_α of each in the product W of the weights grows as 4a(s − a) (Saxe et al.
2014, whose loss is half of this one), in a single layer as 2(s − a).
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.claims import Claim, above, in_all_cases, judged, within
from mlpexp.config import Config
from mlpexp.data.prepare import prepare
from mlpexp.paper import COLOURS, MARKERS, THEORY, Figure, curve, means, panels
from mlpexp.results import Result
from mlpexp.verdicts import mean

MODES = 4  # classes less one: the last direction of five classes is that of their sum, and has no strength
RATIO_MARGIN, STAGES_MARGIN, LAG_MARGIN = 0.1, 0.3, 0.05
RATIO_PILOT, STAGES_PILOT, SHALLOW_PILOT, LAG_PILOT = 0.03, 0.1, 0.05, 0.03
"""Standard deviations between three seeds at a smaller size (--size smoke), rounded up."""
SMALL, LARGE, SHALLOW = "two layers", "large step", "one layer"

Floats = NDArray[np.float64]


def read(run: Result) -> dict[str, Any]:
    """Time γ × updates, strength of each mode over its own, and what formula begins with, in two layers, [MODES]."""
    left, sizes, right = modes(run.config)
    state = run.network().state_dict()
    weights = [state[f"layers.{l}.weight"].double().numpy() for l in range(run.config.model.depth)]
    product = weights[0] if len(weights) == 1 else weights[1] @ weights[0]
    strengths = np.einsum("ka,kq,aq->a", left, product, right) / sizes
    own = {"time": run.config.optimizer.learning_rate * (run.config.training.updates or 0), "strengths": strengths}
    if len(weights) == 2:
        growing = (weights[1].T @ left + weights[0] @ right.T) / 2  # what shrinks beside it is soon forgotten
        own |= {"start": (growing**2).sum(axis=0)}
    return own | {"sizes": sizes}


def modes(config: Config) -> tuple[Floats, Floats, Floats]:
    """u [k, MODES], s [MODES] and v [MODES, q] of the training part."""
    part = prepare(config.data).training
    inputs, labels = np.asarray(part.features, float), np.asarray(part.targets, int)
    classes = np.eye(labels.max() + 1)[labels]
    left, sizes, right = np.linalg.svd(classes.T @ inputs / len(inputs), full_matrices=False)
    return left[:, :MODES], sizes[:MODES], right[:MODES]


def predicted(sizes: Floats, start: Floats, times: Floats) -> Floats:
    """Share of each mode's strength, [times, MODES], by the formula."""
    found: Floats = 1 / (1 + (sizes / start - 1) * np.exp(-4 * np.outer(times, sizes)))
    return found


def half_times(runs: pd.DataFrame) -> Floats:
    """Of one seed the time at which each mode reaches half of its strength, between two of its runs, [MODES]."""
    ordered = runs.sort_values("time")
    times, strengths = ordered["time"].to_numpy(float), np.stack(list(ordered["strengths"]))
    found = []
    for course in strengths.T:
        after = int(np.argmax(course >= 0.5))
        if course[after] < 0.5 or after == 0:
            found.append(np.nan)
            continue
        share = (0.5 - course[after - 1]) / (course[after] - course[after - 1])
        found.append(times[after - 1] + share * (times[after] - times[after - 1]))
    return np.array(found)


def halves(table: pd.DataFrame, part: str) -> Floats:
    """Measured half times of all seeds, [seeds, MODES]."""
    return np.stack([half_times(own) for _, own in table[table["part"] == part].groupby("seed")])


def ratios(table: pd.DataFrame, part: str) -> Floats:
    """Measured half time over the formula's, [seeds, MODES]."""
    start = table[(table["part"] == part) & (table["time"] == 0)].sort_values("seed")
    theory = [np.log(s / a - 1) / (4 * s) for s, a in zip(start["sizes"], start["start"], strict=True)]
    found: Floats = halves(table, part) / np.stack(theory)
    return found


def draw(table: pd.DataFrame) -> Figure:
    figure, (deep, shallow, ratio) = panels(3)
    for axes, part in ((deep, SMALL), (shallow, SHALLOW)):
        own = table[table["part"] == part]
        for mode in range(MODES):
            line = means(own.assign(share=[strengths[mode] for strengths in own["strengths"]]), "time", "share")
            curve(axes, line["time"], line, f"mode {mode + 1}", mode)
        axes.set_xlabel("learning rate × updates")
        axes.set_ylabel("strength learned (share)")
        axes.set_ylim(-0.05, 1.15)
    start = table[(table["part"] == SMALL) & (table["time"] == 0)]
    times = np.linspace(0, table[table["part"] == SMALL]["time"].max(), 100)
    theory = np.mean([predicted(s, a, times) for s, a in zip(start["sizes"], start["start"], strict=True)], axis=0)
    for mode in range(MODES):
        deep.plot(times, theory[:, mode], **THEORY, zorder=3, label="_formula")
    deep.plot([], [], **THEORY, label="formula")
    deep.set_title("two layers", loc="left")
    deep.legend(loc="lower right")
    shallow.set_title("a single layer", loc="left")
    shallow.legend(loc="lower right")
    for number, (part, label) in enumerate(((SMALL, "γ = 0.05"), (LARGE, "γ = 1"))):
        found = ratios(table, part)
        at = np.arange(1, MODES + 1) + 0.15 * (number - 0.5)
        seen = [mean(list(column[np.isfinite(column)])) for column in found.T]
        colour = COLOURS[number]
        ratio.vlines(at, [one.low for one in seen], [one.high for one in seen], color=colour, label=f"_{label}")
        ratio.plot(at, [one.value for one in seen], MARKERS[number], color=colour, label=label)
    ratio.axhline(1, **THEORY, label="formula")
    ratio.set_xticks(range(1, MODES + 1))
    ratio.set_xlabel("mode, the strongest first")
    ratio.set_ylabel("time to half, over formula")
    ratio.set_title("learning rates", loc="left")
    ratio.legend(loc="center left")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    source = "Saxe et al. 2014"
    small = ratios(table, SMALL) - 1
    cases = {
        f"mode {mode + 1}": within("formula", "", small[:, mode], RATIO_MARGIN, RATIO_PILOT, source)
        for mode in range(MODES)
    }
    deep, shallow = halves(table, SMALL), halves(table, SHALLOW)
    statement = f"two layers learn half of each mode within {RATIO_MARGIN:.0%} of the time of the formula"
    return judged(
        [
            in_all_cases("formula", statement, cases),
            above(
                "one_after_the_other",
                f"the weakest mode takes them over {STAGES_MARGIN:.0%} longer than the strongest",
                deep[:, -1] / deep[:, 0] - 1,
                STAGES_MARGIN,
                STAGES_PILOT,
                source,
            ),
            within(
                "one_layer_has_one_pace",
                f"a single layer takes equally long for both, within {RATIO_MARGIN:.0%}",
                shallow[:, -1] / shallow[:, 0] - 1,
                RATIO_MARGIN,
                SHALLOW_PILOT,
                "white inputs: da/dt = 2(s − a)",
            ),
            above(
                "large_steps_lag",
                f"at γ = 1 the strongest mode comes over {LAG_MARGIN:.0%} later than the formula, which is of γ → 0",
                ratios(table, LARGE)[:, 0] - 1,
                LAG_MARGIN,
                LAG_PILOT,
                "a step multiplies by 1 + 2γs where the flow has exp(2γs)",
            ),
        ]
    )


def tabular(table: pd.DataFrame) -> pd.DataFrame:
    """Mode, its strength, time to half by formula and measured, at both learning rates and in one layer."""
    sizes = table["sizes"].iloc[0]
    theory = halves(table, SMALL) / ratios(table, SMALL)
    rows = []
    for mode in range(MODES):
        times = {part: str(mean(list(halves(table, part)[:, mode]))) for part in (SMALL, LARGE, SHALLOW)}
        rows.append(
            {"mode": mode + 1, "strength": f"{sizes[mode]:.3f}", "formula": str(mean(list(theory[:, mode]))), **times}
        )
    return pd.DataFrame(rows)
