"""A study, from its question to its figure: train what is missing, make the table, draw it, judge the claims.

Flow: study_definition → **study** → runner, tuning → recorded runs → table → figure.py → study_files.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlpexp.composition import Composer
from mlpexp.config import Config, absolute_outputs
from mlpexp.config_files import loader
from mlpexp.estimates import training_seconds
from mlpexp.journal import json_bytes, write_atomically
from mlpexp.planning import Order, accept
from mlpexp.refusals import ConfigError
from mlpexp.results import Result
from mlpexp.runner import execute, order_of
from mlpexp.study_definition import Point, Study
from mlpexp.tuning import Pick, candidates, tune

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "runs.json"


@dataclass(frozen=True)
class Row:
    """The runs of one point, seed by seed; `chosen` was picked on validation, `on_edge` names what lies on an edge."""

    part: str
    condition: str
    axes: dict[str, Any]
    chosen: dict[str, str]
    on_edge: list[str]
    runs: list[str]


@dataclass(frozen=True)
class Manifest:
    """Which runs a figure stands on: kept beside it, so that it is drawn again without a search or data."""

    study: str
    size: str
    key: str
    rows: list[Row]
    searched: list[str] = field(default_factory=list)
    """Runs of the candidates that the learning rate (or what else is tuned) was picked from."""

    @property
    def fingerprints(self) -> list[str]:
        """All runs, those of the search at the end."""
        return list(dict.fromkeys([*(name for row in self.rows for name in row.runs), *self.searched]))

    def write(self, folder: Path) -> None:
        """Keep it in the figure's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / MANIFEST, json_bytes(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """None where the study was not run yet."""
        if not (folder / MANIFEST).exists():
            return None
        content = json.loads((folder / MANIFEST).read_text())
        return cls(**{**content, "rows": [Row(**row) for row in content["rows"]]})


@dataclass(frozen=True)
class Runs:
    """What a study needs: points that are not tuned, and for the tuned ones all candidates."""

    study: Study
    composer: Composer
    points: list[Point]
    configs: list[Config]
    """Of each point, with the seeds that are scored; where it is tuned, of its first candidate."""
    searched: list[Config]
    base: Config
    """Where runs lie and are tracked, whatever is trained; a study that trains nothing has no other."""

    @property
    def outputs(self) -> Path:
        """The absolute outputs folder."""
        return Path(absolute_outputs(self.base.outputs))

    def order(self) -> Order:
        """Everything, for counting and estimates: a pick costs what its first candidate costs."""
        return order_of([*self.searched, *self.configs])

    def fixed(self) -> list[Config]:
        """What can be trained at once: the points for which nothing is picked."""
        pairs = zip(self.configs, self.points, strict=True)
        return [config for config, point in pairs if self.study.picked_from(point) is None]


@contextmanager
def composed(study: Study) -> Iterator[Runs]:
    """Every point of the study, composed and checked; raises ConfigError with all that is refused."""
    own = study.folder / "conf"
    with loader(str(own) if own.is_dir() else None) as files:
        composer = Composer(files, "train")
        points = study.points()
        base = composer.config([*study.elsewhere, f"tracking.experiment={study.slug}"])
        words = [_scored(study, point) for point in points]
        searched = [words for point in points for words in _candidates(study, point)]
        made = accept(composer.points(words))
        configs = [_above_search(study, *pair) for pair in zip(points, made, strict=True)]
        yield Runs(study, composer, points, configs, accept(composer.points(searched)) if searched else [], base)


def _scored(study: Study, point: Point) -> list[str]:
    """Overrides of a point with its seeds, at the first candidate where something is picked."""
    first = [f"{key}={values[0]}" for key, values in study.tune_of(study.picked_from(point) or point.part).items()]
    return [*point.overrides, *first, f"replicates={study.parts[point.part].replicates}"]


def _above_search(study: Study, point: Point, config: Config) -> Config:
    """Where something is picked for a point, its scored seeds lie above those of the search."""
    source = study.picked_from(point)
    above = study.parts[source].search_replicates if source else 0
    return config.model_copy(update={"seed": config.seed + above})


def _candidates(study: Study, point: Point) -> list[list[str]]:
    grid = study.tune_of(point.part)
    return [words for _, words in candidates(_to_tune(study, point), grid)] if grid else []


def _to_tune(study: Study, point: Point) -> list[str]:
    return [*point.overrides, f"replicates={study.parts[point.part].search_replicates}"]


def train(needed: Runs, quiet: bool = False, within: str = "") -> Manifest:
    """Train all that is missing, in two orders: what needs no search with all candidates, then the picks.

    `within` says of what larger whole this is a part, where its progress is shown.

    Raises RunError where a run failed; what is recorded stays, and the same call goes on.
    """
    study = needed.study
    if study.computation is not None:
        return Manifest(study.slug, study.size, study.key, [])
    name = study.place.replace("/", "-")
    execute(order_of([*needed.searched, *needed.fixed()]), quiet, name, within=within)
    picks = pick_all(needed)
    configs = [_picked(needed, *pair) for pair in zip(needed.points, needed.configs, picks, strict=True)]
    order = order_of(configs)
    execute(order, quiet, name, within=within)
    names = iter(order.fingerprints)
    rows = []
    for point, config, pick in zip(needed.points, configs, picks, strict=True):
        chosen = pick.chosen if pick else {}
        edge = pick.on_edge if pick and study.parts[point.part].tune else []  # said once, where it was picked
        runs = [next(names) for _ in range(config.replicates)]
        rows.append(Row(point.part, point.condition, point.axes, chosen, edge, runs))
    searched = order_of(needed.searched).fingerprints if needed.searched else []
    return Manifest(study.slug, study.size, study.key, rows, searched)


def pick_all(needed: Runs) -> list[Pick | None]:
    """What was picked for each point, from the recorded runs of the search; None where nothing is picked."""
    study = needed.study
    found: dict[str, Pick] = {}
    for part in study.parts:
        if study.tune_of(part):
            points = study.points_of(part)
            made = tune(needed.composer, [_to_tune(study, point) for point in points], study.tune_of(part))
            found |= {repr(point): pick for point, pick in zip(points, made, strict=True)}
    return [found.get(repr(study.source_of(point))) for point in needed.points]


def _picked(needed: Runs, point: Point, config: Config, pick: Pick | None) -> Config:
    """A point's config with what was picked for it, and with the fresh seeds of the pick."""
    if pick is None:
        return config
    chosen = [f"{key}={value}" for key, value in pick.chosen.items()]
    replicates = needed.study.parts[point.part].replicates
    composed = needed.composer.config([*point.overrides, *chosen, f"replicates={replicates}"])
    return composed.model_copy(update={"seed": pick.fresh.seed})


def progress(needed: Runs) -> tuple[int, int, float]:
    """Runs recorded, runs needed, and about how many seconds the open ones will take.

    What a search will pick is not known before; a pick that is not recorded counts as open.
    """
    if needed.study.computation is not None:
        return 0, 0, 0.0
    order = needed.order()
    total = len(set(order.fingerprints))
    manifest = Manifest.read(figure_folder(needed))
    if manifest and manifest.key == needed.study.key:
        open_ones = [name for name in manifest.fingerprints if not _result(needed.outputs, name).exists()]
        if not open_ones:
            return total, total, 0.0
    return total - len(order.to_train), total, training_seconds(order)[0]


def figure_folder(needed: Runs) -> Path:
    """Where the study's figure, claims and manifest lie."""
    return needed.outputs / "studies" / needed.study.place


def table_of(
    manifest: Manifest, outputs: Path, read: Callable[[Result], dict[str, Any]] | None = None
) -> "pd.DataFrame":
    """One row a run: part, condition, the grid's keys, seed, status, scores, all flat config keys, the fingerprint,
    and what the study's own `read(run)` adds. Raises ConfigError where a run is missing.
    """
    import pandas as pd

    missing = [name for row in manifest.rows for name in row.runs if not _result(outputs, name).exists()]
    if missing:
        raise ConfigError(
            [
                f"{len(missing)} of the {sum(len(row.runs) for row in manifest.rows)} runs are not recorded below "
                f"{outputs}, {missing[0]} the first; `mlpexp study {manifest.study}` trains them"
            ]
        )
    rows = []
    for row in manifest.rows:
        for name in row.runs:
            run = _result(outputs, name)
            own = {"part": row.part, "condition": row.condition, "fingerprint": name, "status": run.status}
            flat = run.config.flat()
            rows.append(own | flat | row.axes | run.scores | (read(run) if read else {}))
    return pd.DataFrame(rows)


def seconds_of(manifest: Manifest, outputs: Path, workers: int = 2) -> float:
    """What the training of all runs took on that many processes, the search included; starting them is not in it."""
    facts = [_result(outputs, name).facts for name in manifest.fingerprints if _result(outputs, name).exists()]
    return sum(float(one["seconds"]) / int(one["lanes"]) for one in facts) / workers


def _result(outputs: Path, name: str) -> Result:
    return Result(outputs / "runs" / name)


def seed_counts(manifest: Manifest) -> list[int]:
    """How many seeds the points have, each number once."""
    return sorted({len(row.runs) for row in manifest.rows})
