"""Made-up tables of a study's runs: the shape of what would be trained, with scores that a test chooses."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlpexp.config import Config
from mlpexp.study import composed
from mlpexp.study_definition import Point, Study, open_study
from mlpexp.study_schema import Part

World = Callable[..., Any]
"""What one run of a point (point, config, generator) gives: its scores, and what the study's `read` would add, as a
dictionary; of a study that trains nothing, without arguments, the whole table."""
STATUS = {"fingerprint": "", "status": "finished"}


def at_corners(study: Study, grids: bool = True) -> Study:
    """The study with only the ends of what it tunes, and of its grids: what composing can refuse, in few points."""

    def ends(grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {key: [values[0], values[-1]] if len(values) > 1 else values for key, values in grid.items()}

    def narrowed(part: Part) -> Part:
        return part.model_copy(update={"tune": ends(part.tune), "grid": ends(part.grid) if grids else part.grid})

    return replace(study, parts={name: narrowed(part) for name, part in study.parts.items()})


@cache
def points_of(slug: str, size: str = "quick") -> tuple[Study, tuple[tuple[Point, Config], ...]]:
    """The points of a study, composed once; of what is tuned there, the first candidates are taken.

    Digits stand for Fashion-MNIST: the same everywhere, and in a tenth of the time.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("mlpexp.data.idx.FASHION_FOLDERS", ())
        study = open_study(slug, size)
    with composed(at_corners(study, grids=False)) as needed:
        return study, tuple(zip(needed.points, needed.configs, strict=True))


@cache
def runs_of(slug: str) -> tuple[tuple[int, Point, Config, dict[str, Any]], ...]:
    """Every run of a study: number of its point, the point, its config, and what every table says of it."""
    return tuple(
        (number, point, run, {"part": point.part, "condition": point.condition, **STATUS, **run.flat(), **point.axes})
        for number, (point, config) in enumerate(points_of(slug)[1])
        for run in config.runs()
    )


def made_up(slug: str, world: World, seed: int = 0) -> pd.DataFrame:
    """A table as `table_of` gives it."""
    if points_of(slug)[0].computation is not None:
        whole: pd.DataFrame = world()
        return whole
    return pd.DataFrame(
        [
            known | world(point, run, np.random.default_rng([seed, number, run.seed]))
            for number, point, run, known in runs_of(slug)
        ]
    )
