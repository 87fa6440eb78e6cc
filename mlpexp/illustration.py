"""Which pictures lie in a run's folder, and so among its artifacts in MLflow.

Flow: results → figures, layer_figures, learned_figures → **illustration** → run folders → tracking.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlpexp.figures import png, profiles_of, small
from mlpexp.layer_figures import flow_of, gradient_flow, ridges
from mlpexp.projection import RIDGES, SMALL_PICTURE
from mlpexp.results import Result
from mlpexp.run_note import PICTURE
from mlpexp.verdicts import points


def illustrate(results: Sequence[Result]) -> None:
    """Put a picture of the gradient's flow into each run's folder; it is drawn once a point, for all its seeds.

    Where histograms were measured, each point's first seed has their ridges, too.
    """
    for runs in points(results).values():
        first = min(runs, key=lambda run: run.config.seed)
        for name, file in RIDGES.items():
            if name in first.record.distributions and not (first.folder / file).exists():
                found = first.record.distributions[name]
                put(first.folder / file, png(ridges(found.steps, found.values, found.edges, name, first.name)))
        if all((run.folder / PICTURE).exists() for run in runs):
            continue
        if any("delta_norm" not in run.record.quantities for run in runs):
            continue
        start, end = profiles_of(runs)
        if not len(start):
            continue  # nothing finite and positive: the sentence says so
        theory = None if first.theory is None else np.array(first.theory["log_delta2"])
        content = png(gradient_flow(*flow_of(runs), start, end, first.condition, theory))
        put(first.folder / SMALL_PICTURE, small(content))  # one a point: a grid of all seeds would say it many times
        for run in runs:
            put(run.folder / PICTURE, content)


def put(file: Path, content: bytes) -> None:
    """A file that is whole whenever it is there."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    beside.write_bytes(content)
    os.replace(beside, file)
