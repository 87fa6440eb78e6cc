"""`mlpexp pictures RUN [OTHER]`: what a run has learned, as pictures in its folder and among its artifacts in MLflow.

Flow: run_index → choosing → learned → learned_figures → **pictures** → run folders, tracking.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlpexp.browse.choosing import chosen
from mlpexp.refusals import ConfigError
from mlpexp.results import Result
from mlpexp.run_index import rows

if TYPE_CHECKING:
    from mlpexp.data.dataset import Parts
    from mlpexp.figures import Figure

PLACES = np.linspace(-0.5, 1.5, 81)
"""On the line between two solutions, which lie at 0 and at 1."""


def command(options: argparse.Namespace) -> int:
    """Draw what the run's kind allows, and tell the files; raises ConfigError for runs that cannot be drawn."""
    from mlpexp.figures import save
    from mlpexp.illustration import illustrate
    from mlpexp.learned import parts_of

    outputs = Path(options.outputs).expanduser().absolute()
    known = rows(outputs)
    run, *others = (chosen(word, known, outputs) for word in (options.run, *options.other))
    illustrate([run])
    parts = parts_of(run)
    files = []
    for name, figure in [*_learned(run, parts), *_lines(run, others, parts)]:
        file = run.folder / f"{name}.png"
        save(figure, file)
        files.append(file)
    for file in sorted({*files, *run.folder.glob("*.png")}):
        print(file)
    if not options.no_tracking:
        _attach(run, files, outputs)
    return 0


def _learned(run: Result, parts: "Parts") -> Iterator[tuple[str, "Figure"]]:
    """Name and figure of each picture that the run's data and shape allow."""
    from mlpexp import learned, learned_figures

    dataset = parts.dataset
    if dataset.image_shape is not None:
        weights = learned.first_weights(run, dataset.image_shape)
        yield "weights", learned_figures.weight_images(weights, run.name)
    if dataset.inputs == 2 and dataset.classes:
        inputs, labels = learned.raw(parts, parts.test.features), parts.test.targets.astype(np.int64)
        found = learned.decision_regions(run, parts)
        yield "regions", learned_figures.regions(*found, inputs, labels, dataset.classes, run.name)
    if run.config.model.depth > 1:
        yield "units", learned_figures.units(learned.hidden_outputs(run, parts), run.name)
    yield (
        "attribution",
        learned_figures.attributions(learned.attribution(run, parts), dataset.classes, dataset.image_shape, run.name),
    )


def _lines(run: Result, others: list[Result], parts: "Parts") -> Iterator[tuple[str, "Figure"]]:
    """The loss on the line to each of the other runs."""
    from mlpexp import learned, learned_figures

    for other in others:
        if other.fingerprint == run.fingerprint:
            raise ConfigError([f"{run.name} is named twice; a line takes two solutions"])
        losses = learned.loss_slice(run, other, parts, PLACES)
        names = (run.name, other.name)
        yield f"line_to_{other.fingerprint[:8]}", learned_figures.slices(PLACES, losses, names)


def _attach(run: Result, files: list[Path], outputs: Path) -> None:
    """To the run in the store that lies in outputs, where it is there."""
    from mlpexp.tracking import attach

    try:
        if attach(run, files, outputs):
            print("also among its artifacts in MLflow")
    except RuntimeError as error:
        print(f"MLflow was not reached ({error}); the pictures are in the run's folder")
