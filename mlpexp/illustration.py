"""Which pictures lie in a run's folder, and so among its artifacts in MLflow.

Flow: results → figures, flow_figures, layer_figures, learned_figures → **illustration** → run folders → tracking.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlpexp.figures import Figure, large_and_small, png, profiles_of
from mlpexp.flow_figures import flow_of, gradient_flow
from mlpexp.layer_figures import course, phase_diagram, ridges
from mlpexp.own_measurement_text import told_in
from mlpexp.projection import RIDGES, SMALL_PICTURE, picture_of
from mlpexp.results import Result
from mlpexp.run_note import PICTURE
from mlpexp.verdicts import leading_score, mean, points, varying

SIGMA_W, DEPTH = "initialisation.sigma_w", "model.depth"
SCALES, LEAST_PLACES = 6, 3
"""Depth scales of theory up to which networks train (Schoenholz et al. 2017); values of a key that make a diagram."""


def illustrate(results: Sequence[Result]) -> None:
    """Put a picture of the gradient's flow into each run's folder; it is drawn once a point, for all its seeds.

    Each point's first seed has the ridges of its histograms, too, and the course of what a file of the user's own
    measures.
    """
    for runs in points(results).values():
        first = min(runs, key=lambda run: run.config.seed)
        for name, file in RIDGES.items():
            if name in first.record.distributions and not (first.folder / file).exists():
                found = first.record.distributions[name]
                put(first.folder / file, png(ridges(found.steps, found.values, found.edges, name, first.name)))
        _illustrate_own(first)
        if all((run.folder / PICTURE).exists() for run in runs):
            continue
        if any("delta_norm" not in run.record.quantities for run in runs):
            continue
        start, end = profiles_of(runs)
        if not len(start):
            continue  # nothing finite and positive: the sentence says so
        theory = None if first.theory is None else np.array(first.theory["log_delta2"])
        large, small = large_and_small(gradient_flow(*flow_of(runs), start, end, first.condition, theory))
        put(first.folder / SMALL_PICTURE, small)  # one a point: a grid of all seeds would say it many times
        put(first.folder / PICTURE, large)
        for run in runs:
            if run is not first:
                link(first.folder / PICTURE, run.folder / PICTURE)


def _illustrate_own(run: Result) -> None:
    """A picture of each quantity of the user's own."""
    for name, file in run.measurements.own.items():
        place = run.folder / picture_of(name)
        if not place.exists() and name in (*run.record.quantities, *run.record.metrics):
            label = f"{name.replace('_', ' ')} [{told_in(run.measurements.sources[file]).unit}]"
            put(place, png(course(*run.record.measured(name), label, run.name)))


def phase_diagram_of(results: Sequence[Result]) -> Figure | None:
    """Training score over σ_w² and depth, where a sweep varies these two and nothing else, each three times or more."""
    groups = points(results)
    keys, flats = varying(groups)
    if set(keys) != {SIGMA_W, DEPTH}:
        return None
    sigmas, depths = (sorted({float(flat[key]) for flat in flats.values()}) for key in (SIGMA_W, DEPTH))
    if min(len(sigmas), len(depths)) < LEAST_PLACES or not sigmas[0]:
        return None
    name, _ = leading_score(results, "train")
    values = np.full((len(depths), len(sigmas)), np.nan)
    rates = np.full(len(sigmas), np.nan)
    for point, runs in sorted(groups.items(), key=lambda item: item[1][0].config.model.depth):
        column = sigmas.index(float(flats[point][SIGMA_W]))
        row = depths.index(float(flats[point][DEPTH]))
        values[row, column] = mean([run.scores[name] for run in runs if name in run.scores]).value
        if runs[0].theory and depths[row] > 1:  # the deepest says most
            rates[column] = abs(runs[0].theory["log_delta2"][0]) / (depths[row] - 1)
    boundary = 1 + SCALES / np.maximum(rates, 1e-9)
    model = results[0].config.model
    title = f"{'-'.join(dict.fromkeys(model.activations))}, width {'-'.join(map(str, dict.fromkeys(model.widths)))}"
    return phase_diagram(np.square(sigmas), np.array(depths), values, boundary, name, title)


def put(file: Path, content: bytes) -> None:
    """A file that is whole whenever it is there."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_bytes(content)
    os.replace(beside, file)


def link(file: Path, other: Path) -> None:
    """The same file in another folder; a copy of it on disks that have no links."""
    beside = other.with_name(f".{other.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    try:
        os.link(file, beside)
    except OSError:
        shutil.copyfile(file, beside)
    os.replace(beside, other)
