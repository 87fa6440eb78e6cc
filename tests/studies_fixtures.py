"""Made-up tables of a study's runs: the shape of what would be trained, with scores that a test chooses."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from mlpexp.config import Config
from mlpexp.study import composed
from mlpexp.study_definition import Point, Study, open_study

World = Callable[..., Any]
"""What one run of a point (point, config, generator) gives: its scores, and what the study's `read` would add, as a
dictionary; of a study that trains nothing, without arguments, the whole table."""


@cache
def points_of(slug: str, size: str = "quick") -> tuple[Study, tuple[tuple[Point, Config], ...]]:
    """The points of a study, composed once."""
    study = open_study(slug, size)
    with composed(study) as needed:
        return study, tuple(zip(needed.points, needed.configs, strict=True))


def made_up(slug: str, world: World, seed: int = 0) -> pd.DataFrame:
    """A table as `table_of` gives it."""
    study, points = points_of(slug)
    if study.computation is not None:
        whole: pd.DataFrame = world()
        return whole
    rows = []
    for number, (point, config) in enumerate(points):
        for run in config.runs():
            draw = np.random.default_rng([seed, number, run.seed])
            own = {"part": point.part, "condition": point.condition, "fingerprint": "", "status": "finished"}
            rows.append(own | run.flat() | point.axes | world(point, run, draw))
    return pd.DataFrame(rows)
