"""Gradient descent on fewer examples than weights, against the solution of least norm and against ridges; a network's
end over the scale of its start."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlpexp.claims import Claim, above, below, in_all_cases, judged, within
from mlpexp.data.prepare import prepare
from mlpexp.paper import COLOURS, THEORY, Axes, Figure, curve, means, panels
from mlpexp.results import Result

MARGIN = 0.01  # of the norm of the least solution
APART = 0.204  # the largest of 1 − e^−a − a/(1 + a): how far a ridge and a path of small steps can be apart
START_MARGIN, LAYERS_MARGIN = 0.1, 0.05
PILOT, START_PILOT, PATH_PILOT, LAYERS_PILOT = 0.001, 0.1, 0.05, 0.01
"""Standard deviations between three other problems (data.seed=100,101,102), rounded up; the first was 1e-14."""

NETWORK, SMALL, ORDINARY, DECAY = "network", 0.1, 1.0, "weight decay"
NORM_MARGIN, NORM_PILOT = 0.05, 0.02
ERROR_MARGIN, ERROR_PILOT = 0.03, 0.06
"""Of the least norm, and of the variance of the targets; pilots as above, rounded up."""

Floats = NDArray[np.float64]


def read(run: Result) -> dict[str, Any]:
    """Distance from the least solution and from the ridge of the same λγt = 1, and test errors of both.

    Of a network with hidden ReLU: the norm of all its weights, and its test error over the variance of the targets.
    """
    parts = prepare(run.config.data)
    if run.config.model.depth == 2 and run.config.model.activation == "relu":
        norm = np.sqrt(sum(float(weights.detach().double().square().sum()) for weights in run.network().parameters()))
        return {"norm": norm, "error": run.scores["loss/test"] / float(np.var(np.asarray(parts.test.targets, float)))}
    x, y, x_test, y_test = (
        np.asarray(one, float) for part in (parts.training, parts.test) for one in (part.features, part.targets)
    )
    product = np.eye(x.shape[1])
    for weights in run.network().parameters():  # no biases; outputs × inputs, as torch has them
        product = product @ weights.detach().double().numpy().T
    least = np.linalg.pinv(x) @ y
    time = run.config.optimizer.learning_rate * float(run.config.training.updates or 0)
    shrunk = ridge(x, y, 1 / time)
    size = np.linalg.norm(least)
    return {
        "distance": float(np.linalg.norm(product - least) / size),
        "from_ridge": float(np.linalg.norm(product - shrunk) / size),
        "error": float(np.mean((x_test @ product - y_test) ** 2)),
        "ridge_error": float(np.mean((x_test @ shrunk - y_test) ** 2)),
        "time": time,
    }


def ridge(x: Floats, y: Floats, penalty: float) -> Floats:
    """The weights of least (1/n)‖y − Xw‖² + (λ/2)‖w‖², [q, 1]."""
    n, q = x.shape
    found: Floats = np.linalg.solve(2 * x.T @ x / n + penalty * np.eye(q), 2 * x.T @ y / n)
    return found


def draw(table: pd.DataFrame) -> Figure:
    figure, (distances, errors, norms, ends) = panels(4)
    paths = table[table["part"] != NETWORK]
    for number, (condition, own) in enumerate(paths.groupby("condition", sort=False)):
        line = means(own.assign(log=np.log(own["distance"])), "time", "log")
        line[["value", "low", "high"]] = np.exp(line[["value", "low", "high"]])
        curve(distances, line["time"], line, str(condition), number)
    distances.set_xscale("log")
    distances.set_yscale("log")
    distances.set_xlabel("learning rate × updates")
    distances.set_ylabel("distance from least norm")
    distances.legend(loc="lower left")
    own = paths[paths["condition"] == "from zero"]
    for number, (column, word) in enumerate((("error", "gradient descent from zero"), ("ridge_error", "ridge"))):
        line = means(own, "time", column)
        curve(errors, line["time"], line, word, (0, 3)[number])
    errors.set_xscale("log")
    errors.set_xlabel("learning rate × updates, 1/λ")
    errors.set_ylabel("squared error, test")
    errors.set_ylim(0, None)
    errors.legend(loc="lower left")
    draw_network(table, norms, ends)
    return figure


def draw_network(table: pd.DataFrame, norms: Axes, ends: Axes) -> None:
    """What the scale of a network's initial weights makes of its end."""
    own = network(table)
    sigmas = sorted(own["initialisation.sigma_w"].unique())
    line = means(own, "initialisation.sigma_w", "over_least")
    curve(norms, line["initialisation.sigma_w"], line, "when it fits", 4)
    norms.plot(
        sigmas, means(own, "initialisation.sigma_w", "start_over_least")["value"], **THEORY, label="at the start"
    )
    norms.set_yscale("log")
    norms.set_ylabel("norm over the least")
    line = means(own, "initialisation.sigma_w", "error")
    curve(ends, line["initialisation.sigma_w"], line, "gradient descent", 4)
    decayed = table[(table["part"] == NETWORK) & (table["condition"] == DECAY)]["error"]
    ends.axhline(decayed.mean(), color=COLOURS[3], label="weight decay")
    ends.set_yscale("log")
    ends.set_yticks([0.25, 0.5, 1, 2, 4], ["0.25", "0.5", "1", "2", "4"])
    ends.minorticks_off()
    ends.set_ylabel("error, test / variance")
    for axes in (norms, ends):
        axes.set_xscale("log")
        axes.set_xlabel(r"scale of initial weights $\sigma_w$")
        axes.legend(loc="upper left")


def network(table: pd.DataFrame) -> pd.DataFrame:
    """Runs of gradient descent on the network, with norms over that which weight decay leaves on the same problem."""
    own = table[table["part"] == NETWORK]
    least = own[own["condition"] == DECAY].set_index("data.seed")["norm"]
    runs = own[own["condition"] != DECAY]
    least_of = runs["data.seed"].map(least)
    # W_l has k_l · k_{l+1} weights of variance σ_w²/k_l
    start = runs["initialisation.sigma_w"] * np.sqrt(runs["model.width"] + 1)
    return runs.assign(over_least=runs["norm"] / least_of, start_over_least=start / least_of)


def by_problem(runs: pd.DataFrame, sigma_w: float, column: str) -> pd.Series:
    """One number a problem, of the network from weights of that scale."""
    return runs[runs["initialisation.sigma_w"] == sigma_w].set_index("data.seed")[column]


def claims(table: pd.DataFrame) -> list[Claim]:
    nets, table = network(table), table[table["part"] != NETWORK]
    last = table["training.updates"].max()
    end = {name: own["distance"] for name, own in table[table["training.updates"] == last].groupby("condition")}
    zero = table[table["condition"] == "from zero"]
    path = {
        f"{updates} updates": below("path", "", own["from_ridge"], APART, PATH_PILOT, "Ali, Kolter & Tibshirani 2019")
        for updates, own in zero.groupby("training.updates")
    }
    return judged(
        [
            within(
                "least_norm",
                f"from zero gradient descent ends within {MARGIN:.0%} of the solution of least norm",
                end["from zero"],
                MARGIN,
                PILOT,
                "the lecture's last slide; linear algebra",
            ),
            above(
                "the_start_counts",
                f"from random weights it does not: it ends farther from it than {START_MARGIN:.0%} of its norm",
                end["from random weights"],
                START_MARGIN,
                START_PILOT,
                "linear algebra: what is orthogonal to all examples stays",
            ),
            in_all_cases(
                "path_tracks_ridge",
                f"all along its way it is less than {APART:g} of that norm away from the ridge of λ = 1/(γt)",
                path,
            ),
            within(
                "two_layers",
                f"two linear layers from small weights end within {LAYERS_MARGIN:.0%} of it too",
                end["two layers"],
                LAYERS_MARGIN,
                LAYERS_PILOT,
                "Gunasekar et al. 2017; Yun et al. 2021",
            ),
            within(
                "network_norm",
                f"a ReLU network from small weights (σ_w = {SMALL:g}) fits within {NORM_MARGIN:.0%} of the least norm",
                by_problem(nets, SMALL, "over_least") - 1,
                NORM_MARGIN,
                NORM_PILOT,
                "Chizat & Bach 2020; against Vardi & Shamir 2021",
            ),
            above(
                "ordinary_start",
                f"from ordinary ones (σ_w = {ORDINARY:g}) its test error is over {ERROR_MARGIN:g} of the variance more",
                by_problem(nets, ORDINARY, "error") - by_problem(nets, SMALL, "error"),
                ERROR_MARGIN,
                ERROR_PILOT,
                "Chizat, Oyallon & Bach 2019",
            ),
        ]
    )
