"""What a run is in MLflow: name, tags, params, at most 600 points, its data set. Plain values; nothing of MLflow.

Flow: run folder → **projection** → tracking.
"""

import json
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlpexp.config import digest
from mlpexp.gradient_verdict import GradientVerdict, gradient_verdict, verdict_numbers, verdict_word
from mlpexp.measurement_catalogue import of_kind
from mlpexp.records import PARTS, Array, evenly_spaced, layer_metric, log_spaced, profile_metric
from mlpexp.results import Result
from mlpexp.run_note import NOTE, PICTURE, note_of
from mlpexp.views import IMAGE, POINT

MOST_POINTS, CURVE_POINTS, LAYER_STEPS = 600, 100, 20
PROFILE_POINTS, LAYER_CURVE_POINTS = 200, 160
LAYER_CURVES = ("delta_norm", "gradient_norm")
PARAMETER_CHARACTERS = 6000
SMALL_PICTURE = "gradient_flow.webp"
RIDGES = {name: f"{name}.png" for name in of_kind("histograms")}
ARTIFACTS = ("config.yaml", "environment.json", "result.json", PICTURE, *RIDGES.values())


class Point(NamedTuple):
    """One value of a metric; `timestamp` in milliseconds, from the record, so that it is the same whenever written."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class Projection:
    """All that MLflow is told of a run, but its files. `dataset` is empty where a run has none."""

    name: str
    start: int
    end: int
    tags: dict[str, str]
    params: dict[str, str]
    points: list[Point]
    dataset: dict[str, str]


def project(result: Result, sweep: str | None = None) -> Projection:
    """A recorded run as MLflow shows it; `start` and `end` in milliseconds."""
    start = int(result.facts["started"] * 1000)
    flat, verdict = result.config.flat(), gradient_verdict([result])
    return Projection(
        name=result.name,
        start=start,
        end=start + int(result.facts["seconds"] * 1000),
        tags=_tags(result, verdict, sweep) | ({"mlpexp.sweep": sweep} if sweep else {}),
        params={key: str(value)[:PARAMETER_CHARACTERS] for key, value in flat.items() if value is not None},
        points=points_of(result, verdict),
        dataset=_dataset(result),
    )


def version_of(result: Result) -> str:
    """Tells a record from another of the same run that was trained again."""
    return str(int(result.facts["started"] * 1000))


def _tags(result: Result, verdict: GradientVerdict | str, sweep: str | None) -> dict[str, str]:
    facts, environment = result.facts, result.environment
    tags = {
        "mlpexp.fingerprint": result.fingerprint,
        "mlpexp.point": result.config.point(),
        "mlpexp.condition": result.condition,
        POINT: group_of(result),
        "mlpexp.status": result.status,
        "mlpexp.numerics": digest(result.numerics)[:8],
        "mlpexp.gradient": str(verdict),
        "mlpexp.verdict": verdict_word(verdict),
        "mlpexp.folder": str(result.folder),
        "mlflow.source.name": "mlpexp",
        "mlflow.source.type": "LOCAL",
        NOTE: note_of(result, str(verdict), [sweep] if sweep else []),
    }
    if (result.folder / SMALL_PICTURE).exists():
        tags["mlflow.loggedImages"] = "True"  # the page looks for pictures in runs that say so
    if result.status == "diverged":
        tags["mlpexp.diverged_at_step"] = str(facts["diverged_at_step"])
    if environment["commit"]:
        tags |= {"mlpexp.commit": environment["commit"], "mlflow.source.git.commit": environment["commit"].rstrip("+")}
    return tags


def artifacts(result: Result) -> dict[str, Path]:
    """Place among a run's artifacts → file of its folder, for those that exist.

    The picture is there twice: to be opened, and under the names by which MLflow's image grid finds it (as
    MlflowClient.log_image of MLflow 3.17 spells them).
    """
    own = [picture_of(name) for name in result.measurements.own]
    found = {name: result.folder / name for name in (*ARTIFACTS, *own)}
    name = uuid.uuid5(uuid.NAMESPACE_OID, result.fingerprint)
    place = f"images/{IMAGE}+step+0+timestamp+{version_of(result)}+{name}"
    if (result.folder / SMALL_PICTURE).exists():
        found |= {f"{place}.png": result.folder / PICTURE}
        found |= {f"{place}+compressed.webp": result.folder / SMALL_PICTURE}
    return {place: file for place, file in found.items() if file.exists()}


def picture_of(quantity: str) -> str:
    """The file with the picture of a quantity of the user's own."""
    return f"{quantity}.png"


def group_of(result: Result) -> str:
    """`relu-d8-w64-he-adam η 0.001 · 3f2a`: short, the same for all seeds, and the point's hash tells the rest."""
    rate = result.config.flat().get("optimizer.learning_rate")
    told = f" η {rate:.4g}" if isinstance(rate, int | float) else ""
    return f"{result.condition}{told} · {result.config.point()[:4]}"


def _dataset(result: Result) -> dict[str, str]:
    data = result.facts["data"]
    profile = {f"{part}_examples": count for part, count in data["examples"].items()}
    return {
        "name": data["name"],
        "digest": data["digest"][:36],
        "source_type": "local",
        "source": json.dumps({"source": data["source"]}),
        "profile": json.dumps(profile),
    }


def metric_names(result: Result) -> set[str]:
    """The metrics that a run has in MLflow."""
    return {point.key for point in points_of(result, gradient_verdict([result]))}


def points_of(result: Result, verdict: GradientVerdict | str) -> list[Point]:
    """At most 600 points: scores, profiles over depth, δ and gradient norms of layers at log-spaced steps, curves."""
    record, facts = result.record.whole(), result.facts
    last = int(record.steps[-1])
    start, span = facts["started"] * 1000, facts["seconds"] * 1000 / max(1, last)
    found: list[Point] = []

    def add(name: str, values: Sequence[float] | Array, steps: Sequence[int] | Array, at: int | None = None) -> None:
        for value, step in zip(np.asarray(values, dtype=float).tolist(), np.asarray(steps).tolist(), strict=True):
            if math.isfinite(value):  # infinity would be stored as 1.8e308, for good
                found.append(Point(name, value, int(start + span * (step if at is None else at)), step))

    for name, value in result.scores.items():
        kind, _, part = name.partition("/")
        add(name if kind == "gap" or part == PARTS[-1] else f"restored/{kind}_{part}", [value], [last])
    for name, number in verdict_numbers(verdict).items():
        add(name, [number.value], [0])
    measured = {quantity: record.measured(quantity) for quantity in record.quantities}
    depth = result.config.model.depth
    curves = [q for q in (*LAYER_CURVES, *result.measurements.own) if q in measured]
    shown = list(measured) if 2 * depth * len(measured) <= PROFILE_POINTS else curves
    pairs = 2 * max(len(LAYER_CURVES), len(curves))  # two profiles a quantity share the points, and so do its curves
    for quantity in shown:
        steps, values = measured[quantity]
        defined = np.isfinite(values).any(axis=0)  # the last layer has no saturation
        finite = np.flatnonzero(np.isfinite(values[:, defined]).all(axis=1))
        for moment, row in (("start", finite[:1]), ("end", finite[-1:])):
            layers = np.array(evenly_spaced(depth, PROFILE_POINTS // pairs) if len(row) else [], dtype=int)
            name = profile_metric(quantity, moment)
            add(name, values[row, layers], layers + 1, at=int(steps[row[0]]) if len(row) else None)
    for quantity in curves:
        steps, values = measured[quantity]
        layers = np.array(evenly_spaced(depth, LAYER_CURVE_POINTS // pairs))
        chosen = log_spaced(len(steps), min(LAYER_STEPS, 2 * LAYER_CURVE_POINTS // (pairs * len(layers))))
        for layer in layers.tolist():
            add(layer_metric(quantity, layer + 1, depth), values[chosen, layer], steps[chosen])
    most = min(CURVE_POINTS, (MOST_POINTS - len(found)) // max(1, len(record.metrics)))
    for name in record.metrics:
        values = record[name]
        rows = np.flatnonzero(~np.isnan(values))
        rows = rows[evenly_spaced(len(rows), most)]
        add(name, values[rows], record.steps[rows])
    return found
