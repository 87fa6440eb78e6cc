"""A whole multirun as one order: points → runs → a table of points, a CSV, Hydra's folders.

Flow: Hydra's sweeper → launcher plugin → **sweep** → runner → display.
"""

import csv
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console

from mlpexp import yaml_text
from mlpexp.cohorts import cohort_key
from mlpexp.composition import Composer
from mlpexp.config import Config
from mlpexp.display import show_places, show_points, show_profiles
from mlpexp.planning import Order
from mlpexp.records import PARTS, metric
from mlpexp.results import Result
from mlpexp.runner import RunError, execute, order_of
from mlpexp.tuning import Grid, Pick, tune
from mlpexp.verdicts import labels, mean, points

MOST_PROFILES = 6
"""With more points than this the profiles are left to the dashboard."""


@dataclass
class Options:
    """What the command line asks of a sweep beside its points."""

    show_test: bool = False
    tune: Grid = field(default_factory=dict)


OPTIONS = Options()


def launch(
    files: ConfigLoader, hydra_config: DictConfig, job_overrides: Sequence[Sequence[str]], first: int
) -> list[JobReturn]:
    """Train all points of a batch; one JobReturn each, in order. Exits with 1 where runs failed."""
    composer = Composer(files, str(hydra_config.hydra.job.config_name))
    configs = composer.configs(job_overrides)
    order = order_of(configs)  # refuses before anything is written
    folders = [_job_folder(hydra_config, first + i) for i in range(len(configs))]
    write_job_folders(hydra_config, job_overrides, configs, folders)
    console, failed = Console(), None
    try:
        if OPTIONS.tune:
            picks = tune(composer, job_overrides, OPTIONS.tune)
            _tell_picks(picks, console)
            configs = [pick.fresh for pick in picks]
            order = order_of(configs)
        execute(order)
    except RunError as error:
        failed = error
    recorded = iter(order.results())
    found = [[run for _, run in zip(config.runs(), recorded, strict=False) if run.exists()] for config in configs]
    show(hydra_config, configs[0], list({run.fingerprint: run for runs in found for run in runs}.values()), console)
    if failed is not None:
        console.print(f"mlpexp: {failed}", style="red", highlight=False, markup=False)
        raise SystemExit(1)
    return [_job_return(*job) for job in zip(configs, job_overrides, folders, found, strict=True)]


def _tell_picks(picks: Sequence[Pick], console: Console) -> None:
    for pick in picks:
        console.print(pick.line(), highlight=False, markup=False, soft_wrap=True)
    for warning in filter(None, (pick.warning() for pick in picks)):
        console.print(warning, style="yellow", highlight=False, markup=False, soft_wrap=True)


def show(hydra_config: DictConfig, config: Config, results: Sequence[Result], console: Console) -> None:
    """The table of points, the CSV, profiles of a few, and where to look next."""
    if not results:
        return
    file = Path(str(hydra_config.hydra.sweep.dir)) / "points.csv"
    write_points(file, results)
    if OPTIONS.tune:
        console.print("scores of the picks on fresh seeds:", style="bold", highlight=False)
    show_points(results, console, OPTIONS.show_test)
    if len(points(results)) <= MOST_PROFILES:
        show_profiles(results, console)
    console.print(f"all points as a table: {file}", style="dim", highlight=False, soft_wrap=True)
    show_places(results, config, console)


def write_job_folders(
    hydra_config: DictConfig, job_overrides: Sequence[Sequence[str]], configs: Sequence[Config], folders: Sequence[Path]
) -> None:
    """`.hydra/config.yaml` and `overrides.yaml` of each job, and one `hydra.yaml` that they share."""
    sweep_dir = Path(str(hydra_config.hydra.sweep.dir))
    sweep_dir.mkdir(parents=True, exist_ok=True)
    shared = sweep_dir / "hydra.yaml"
    shared.write_text(OmegaConf.to_yaml(OmegaConf.masked_copy(hydra_config, "hydra")))
    for folder, overrides, config in zip(folders, job_overrides, configs, strict=True):
        own = folder / ".hydra"
        own.mkdir(parents=True, exist_ok=True)
        (own / "overrides.yaml").write_text(yaml_text.dump(list(overrides)))
        (own / "config.yaml").write_text(yaml_text.dump(config.shown()))
        with suppress(FileExistsError):
            os.link(shared, own / "hydra.yaml")


def write_points(file: Path, results: Sequence[Result]) -> None:
    """One row a point: the keys in which the points differ, means and half-widths of all scores, how the runs ended."""
    groups = points(results)
    names = labels(groups)
    scores = [metric(kind, part) for kind in ("accuracy", "loss") for part in PARTS] + ["gap/accuracy", "gap/loss"]
    flats = {point: runs[0].config.flat() for point, runs in groups.items()}
    keys = [key for key in next(iter(flats.values())) if not key.startswith("seed")]
    keys = [key for key in keys if len({str(flat.get(key)) for flat in flats.values()}) > 1]
    with open(file, "w", newline="") as stream:
        writer = csv.writer(stream)
        ends = [column for name in scores for column in (name, f"{name}/half_width")]
        writer.writerow(["point", "label", *keys, "runs", *ends, "fingerprints"])
        for point, runs in groups.items():
            cells: list[object] = []
            for name in scores:
                found = mean([run.scores[name] for run in runs if name in run.scores])
                cells += [found.value, found.half_width] if found.count else ["", ""]
            fingerprints = " ".join(run.fingerprint for run in runs)
            writer.writerow(
                [point, names[point], *(flats[point].get(key) for key in keys), len(runs), *cells, fingerprints]
            )


def plan_lines(order: Order) -> list[str]:
    """What a sweep would do: points, runs, cohorts, and what is recorded already."""
    open_configs = [order.configs[i] for i in order.to_train]
    shapes = {cohort_key(config) for config in open_configs}
    run_steps = sum(order.updates(config) for config in open_configs)
    return [
        f"{len({config.point() for config in order.configs})} points, {len(set(order.fingerprints))} runs",
        f"{len(set(order.fingerprints)) - len(open_configs)} runs are recorded already",
        f"{len(open_configs)} runs are to be trained, in cohorts of {len(shapes)} shapes: {run_steps:,} run-steps",
        f"{len(order.bases)} of them go on from where they were interrupted, or from a shorter run",
    ]


def _job_folder(hydra_config: DictConfig, number: int) -> Path:
    """What hydra.sweep.dir and hydra.sweep.subdir say for a job."""
    with open_dict(hydra_config):
        hydra_config.hydra.job.num, hydra_config.hydra.job.id = number, str(number)
    return Path(str(hydra_config.hydra.sweep.dir)) / str(hydra_config.hydra.sweep.subdir)


def _job_return(config: Config, overrides: Sequence[str], folder: Path, runs: Sequence[Result]) -> JobReturn:
    """As Hydra's own launchers return it."""
    returned = JobReturn()
    returned.overrides, returned.working_dir = list(overrides), str(folder)
    returned.cfg = OmegaConf.create(config.shown())
    returned.status = JobStatus.COMPLETED
    returned.return_value = validation_score(runs)
    return returned


def validation_score(runs: Sequence[Result]) -> float | None:
    """Mean accuracy (else loss) on the validation part; None where no run has one."""
    for name in (metric("accuracy", "validation"), metric("loss", "validation")):
        values = [run.scores[name] for run in runs if name in run.scores]
        if values:
            return mean(values).value
    return None
