"""Gradient flow to be moved about in: layers × steps as a heat map beside profiles over depth, all points of a sweep on
one page that needs no network. plotly draws.

Flow: results → **gradient_flow** → outputs/pictures → tracking, browse. A page weighs 4.8 MB, nearly all of it plotly:
so there is one for a sweep, with a menu of its points, and what it shows is thinned to a few kilobytes a point.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from mlpexp.gradient_verdict import gradient_verdict
from mlpexp.journal import write_atomically
from mlpexp.projection import group_of
from mlpexp.records import Array, evenly_spaced, log_spaced
from mlpexp.results import Result
from mlpexp.verdicts import status_words

QUANTITIES = {"delta_norm": "backpropagated signal ‖δ‖", "gradient_norm": "gradient norm ‖∂ℓ/∂W‖"}
"""What is shown, in the words of the page."""

MOST_STEPS, MOST_LAYERS, MOST_POINTS = 32, 64, 300

Flow = dict[str, Any]
"""One point as the page takes it: logarithms to base 10, null where nothing is finite and positive."""


def flow_of(runs: Sequence[Result]) -> Flow | None:
    """A point: geometric means over its seeds, up to the step that all reached; None where nothing was measured.

    `steps` [t] and `layers` [l] are thinned; `values` quantity → [l, t]; `theory` [l] is the expected ‖δ_l‖ before
    training, brought to the measured ‖δ_L‖.
    """
    shown = {name: common for name in QUANTITIES if (common := _over_seeds(runs, name)) is not None}
    if not shown:
        return None
    depth, seeds = runs[0].config.model.depth, len(runs)
    layers = evenly_spaced(depth, MOST_LAYERS)
    flow: Flow = {
        "name": group_of(runs[0]),
        "told": f"{gradient_verdict(runs)}; {seeds} seed{'s' * (seeds > 1)}: {status_words(runs)}",
        "layers": [layer + 1 for layer in layers],
        "quantities": {},
    }
    for name, (steps, values) in shown.items():
        rows = log_spaced(len(steps), MOST_STEPS)
        thinned = values[np.ix_(rows, layers)].T
        flow["quantities"][name] = {
            "steps": [int(steps[row]) for row in rows],
            "values": [[_rounded(value) for value in line] for line in thinned],
        }
    theory = runs[0].theory
    if theory and "delta_norm" in shown and np.isfinite(last := shown["delta_norm"][1][0, -1]):
        flow["theory"] = [_rounded(last + theory["log_delta2"][layer] / 2 / np.log(10)) for layer in layers]
    return flow


def _over_seeds(runs: Sequence[Result], quantity: str) -> tuple[Array, Array] | None:
    """Steps [t] that all seeds have, and there the mean over seeds of log₁₀, [t, L]."""
    if any(quantity not in run.record.quantities for run in runs):
        return None
    measured = [run.record.measured(quantity) for run in runs]
    count = min(len(steps) for steps, _ in measured)
    if not count:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.mean([np.log10(values[:count].astype(float)) for _, values in measured], axis=0)
    return measured[0][0][:count], np.asarray(logs)


def _rounded(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None


class Flows:
    """The points of a sweep, gathered while it is tracked; several orders of one sweep add to one page."""

    def __init__(self, outputs: Path, sweep: str) -> None:
        self.sweep = sweep
        self.folder = outputs / "pictures"
        self.data = self.folder / f"{quote(sweep, safe='')}.json"
        self.page = self.data.with_suffix(".html")
        self.points = self._read()
        self.is_new = not self.page.exists()

    def has(self, point: str) -> bool:
        """Whether the page that is written shows a point, or would not take it."""
        return not self.is_new and (point in self.points or len(self.points) >= MOST_POINTS)

    def add(self, runs: Sequence[Result]) -> None:
        """A point with all its seeds."""
        name = runs[0].config.point()
        if name not in self.points and len(self.points) >= MOST_POINTS:
            return
        flow = flow_of(runs)
        if flow is not None and self.points.get(name) != flow:
            self.points[name] = flow
            self.is_new = True

    def write(self) -> Path | None:
        """The page, where there is something to show that was not there before."""
        if not self.points or not self.is_new:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.data, json.dumps(self.points, separators=(",", ":")).encode(), durably=False)
        write_atomically(self.page, page(f"sweep {self.sweep}", self.points).encode(), durably=False)
        return self.page

    def _read(self) -> dict[str, Flow]:
        try:
            content: dict[str, Flow] = json.loads(self.data.read_text())
        except (OSError, ValueError):
            return {}
        return content


def page(title: str, points: Mapping[str, Flow]) -> str:
    """The page: the library, the data, and what moves them."""
    from plotly.offline import get_plotlyjs

    template = files("mlpexp").joinpath("gradient_flow.html").read_text()
    told = {
        "title": f"{title}: gradient flow",
        "full": len(points) >= MOST_POINTS,
        "quantities": QUANTITIES,
        "points": sorted(points.values(), key=lambda flow: str(flow["name"])),
    }
    data = json.dumps(told, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return template.replace("/*PLOTLY*/", get_plotlyjs()).replace("/*DATA*/", data)
