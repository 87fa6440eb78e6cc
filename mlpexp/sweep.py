"""A whole multirun as one order: points → runs → a table of points, a CSV, Hydra's folders.

Flow: Hydra's sweeper → launcher plugin → **sweep** → runner → score_tables.
"""

import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NoReturn, Self

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console

from mlpexp import yaml_text
from mlpexp.composition import Composer
from mlpexp.config import Config, absolute_outputs, digest
from mlpexp.display import counted, spelt
from mlpexp.estimates import training_seconds
from mlpexp.execution import Executor, place
from mlpexp.journal import json_bytes, write_atomically
from mlpexp.overrides import parse, plain
from mlpexp.planning import Order, accept
from mlpexp.results import Result
from mlpexp.runner import FULL, DiskFull, RunError, cohorts_of, execute, order_of, workers_of
from mlpexp.score_tables import show_places, show_points, show_profiles
from mlpexp.sweep_tables import write_points, write_tuning
from mlpexp.tuning import Grid, Pick, tune
from mlpexp.verdicts import points, validation_score, varying

SIGMA_W = "initialisation.sigma_w"
ASKS_CONFIG = re.compile(r"\$\{(?!hydra[.:])")
"""An interpolation of the point's own values."""

MOST_PROFILES = 6
"""With more points than this the profiles are left to the dashboard."""


@dataclass(frozen=True)
class Options:
    """What the command line asks of a sweep beside its points: keys of `hydra.launcher`."""

    show_test: bool = False
    bootstrap: bool = False
    tune: Grid = field(default_factory=dict)


def launch(
    files: ConfigLoader,
    hydra_config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    options: Options = Options(),
) -> list[JobReturn]:
    """Train all points of a batch; one JobReturn each, in order. Exits with 1 where runs failed."""
    searched = [word for word in hydra_config.hydra.overrides.hydra if word.startswith("hydra.searchpath=")]
    composer = Composer(files, str(hydra_config.hydra.job.config_name), searched)
    configs = accept(composer.points(job_overrides, first))
    order = order_of(configs)  # refuses before anything is written
    sweep = Sweep.of(order, Path(str(hydra_config.hydra.sweep.dir)), options)
    folders: list[Path] = []
    console, failed, recorded = Console(), None, None
    try:
        with workers(order) if not options.tune else nullcontext() as where:  # they start meanwhile
            jobs = zip(job_overrides, configs, count(first), strict=False)
            folders += [job_folder(hydra_config, *job) for job in jobs]
            write_job_folders(hydra_config, job_overrides, configs, folders)
            if options.tune:
                picks = tune(composer, job_overrides, options.tune, sweep.name)
                _tell_picks(picks, console)
                write_tuning(sweep.folder / "tuning.csv", picks)
                configs = [pick.fresh for pick in picks]
                order = order_of(configs)
            sweep.keep(order, job_overrides)
            recorded = execute(order, sweep=sweep.name, told=bool(options.tune), where=where)
    except DiskFull as error:
        _tell(error, console)
    except OSError as error:
        if error.errno not in FULL:
            raise
        _tell(DiskFull(order.outputs), console)
    except RunError as error:
        failed = error
    every = iter(recorded or order.results())
    found = [[run for _, run in zip(config.runs(), every, strict=False) if run.exists()] for config in configs]
    sweep.show(configs[0], list({run.fingerprint: run for runs in found for run in runs}.values()), console)
    if failed is not None:
        _tell(failed, console)
    return [Returned(*job) for job in zip(configs, job_overrides, folders, found, strict=True)]


def workers(order: Order) -> AbstractContextManager[Executor | None]:
    """Processes that begin to load torch; none where nothing is left to train."""
    return place(order.configs[0].executor.name, workers_of(order)) if order.to_train else nullcontext()


@dataclass(frozen=True)
class Sweep:
    """One sweep: the same points asked for again are the same sweep, whatever folder Hydra gives it."""

    name: str
    folder: Path
    options: Options

    @classmethod
    def of(cls, order: Order, folder: Path, options: Options) -> Self:
        """Named by its runs and by what it tunes."""
        content = {"runs": sorted(set(order.fingerprints)), "tune": options.tune}
        return cls(digest(content)[:8], folder, options)

    def keep(self, order: Order, job_overrides: Sequence[Sequence[str]]) -> None:
        """`sweep.json` in the sweep's folder, and under its name in outputs/sweeps: what was asked, and which runs."""
        content = {
            "sweep": self.name,
            "folder": str(self.folder.absolute()),
            "points": [" ".join(words) for words in job_overrides],
            "tune": self.options.tune,
            "runs": list(dict.fromkeys(order.fingerprints)),
        }
        for file in (self.folder / "sweep.json", order.outputs / "sweeps" / f"{self.name}.json"):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, json_bytes(content))

    def show(self, config: Config, results: Sequence[Result], console: Console) -> None:
        """The table of points, the CSV, profiles of a few, and where to look next."""
        if not results:
            return
        options, file = self.options, self.folder / "points.csv"
        write_points(file, results, options.bootstrap)
        if options.tune:
            console.print("scores of the picks on fresh seeds:", style="bold", highlight=False)
        show_points(results, console, options.show_test, options.bootstrap)
        if len(points(results)) <= MOST_PROFILES:
            show_profiles(results, console)
        console.print(f"all points as a table: {file}", style="dim", highlight=False, soft_wrap=True)
        self._show_phases(config, results, console)
        show_places(results, config, console, self.name)

    def _show_phases(self, config: Config, results: Sequence[Result], console: Console) -> None:
        """The phase diagram of a sweep over σ_w and depth, in its folder and among its pictures in MLflow."""
        if SIGMA_W not in varying(points(results))[0]:
            return  # matplotlib is loaded for those sweeps alone
        from mlpexp.figures import png
        from mlpexp.illustration import phase_diagram_of, put

        figure = phase_diagram_of(results)
        if figure is None:
            return
        file = self.folder / "phase_diagram.png"
        put(file, png(figure))
        console.print(f"phase diagram: {file}", style="dim", highlight=False, soft_wrap=True)
        if config.tracking.name == "mlflow":
            from mlpexp.tracking import Store

            with suppress(RuntimeError):  # the store is away, and it was told
                Store(config.tracking, Path(absolute_outputs(config.outputs))).keep_sweep_file(self.name, file)


def _tell(error: Exception, console: Console) -> NoReturn:
    """What went wrong, in a line for each, and exit code 1."""
    console.print(f"mlpexp: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
    raise SystemExit(1)


def _tell_picks(picks: Sequence[Pick], console: Console) -> None:
    for pick in picks:
        console.print(pick.line(), highlight=False, markup=False, soft_wrap=True)
    for warning in filter(None, (pick.warning() for pick in picks)):
        console.print(warning, style="yellow", highlight=False, markup=False, soft_wrap=True)


def write_job_folders(
    hydra_config: DictConfig, job_overrides: Sequence[Sequence[str]], configs: Sequence[Config], folders: Sequence[Path]
) -> None:
    """`.hydra/config.yaml` and `overrides.yaml` of each job, and one `hydra.yaml` that they share."""
    sweep_dir = Path(str(hydra_config.hydra.sweep.dir))
    sweep_dir.mkdir(parents=True, exist_ok=True)
    shared = sweep_dir / "hydra.yaml"
    shared.write_text(OmegaConf.to_yaml(OmegaConf.masked_copy(hydra_config, "hydra")))
    sections: dict[str, str] = {}
    for folder, overrides, config in zip(folders, job_overrides, configs, strict=True):
        own = folder / ".hydra"
        own.mkdir(parents=True, exist_ok=True)
        (own / "overrides.yaml").write_text(yaml_text.dump(list(overrides)))
        (own / "config.yaml").write_text(yaml_text.dump_sections(config.shown(), sections))
        with suppress(FileExistsError):
            os.link(shared, own / "hydra.yaml")


def plan_lines(order: Order) -> list[str]:
    """What a sweep would do: points, runs, what is recorded already, cohorts, how long."""
    open_configs = [order.configs[i] for i in order.to_train]
    runs = len(set(order.fingerprints))
    lines = [
        f"{len({config.point() for config in order.configs})} points, {runs} runs",
        f"{runs - len(open_configs)} runs are recorded already",
    ]
    if not open_configs:
        return [*lines, "nothing is left to train"]
    cohorts = cohorts_of(order)
    run_steps = sum(order.updates(config) for config in open_configs)
    seconds, known = training_seconds(order)
    basis = f"from {counted(known, 'recorded run')}" if known else "a guess: nothing has trained here yet"
    lines += [
        f"{len(open_configs)} runs are to be trained, in {counted(len(cohorts), 'cohort')} on "
        f"{counted(workers_of(order), 'process')}: {run_steps:,} run-steps",
        f"training will take {spelt(seconds)} ({basis})",
    ]
    if order.bases:
        lines.append(f"{len(order.bases)} of them go on from where they were interrupted, or from a shorter run")
    return [*lines, *order.warnings()]


def job_folder(hydra_config: DictConfig, overrides: Sequence[str], config: Config, number: int) -> Path:
    """What hydra.sweep.dir and hydra.sweep.subdir say for a job, as Hydra's own launchers read them."""
    job, sweep = hydra_config.hydra.job, hydra_config.hydra.sweep
    names = job.config.override_dirname
    dirname = get_overrides_dirname(
        [parse(word) for word in overrides],
        exclude_keys=list(names.exclude_keys),
        item_sep=names.item_sep,
        kv_sep=names.kv_sep,
    )
    with open_dict(hydra_config):
        job.num, job.id, job.override_dirname = number, str(number), dirname
        if ASKS_CONFIG.search(str(plain(sweep)["subdir"])):
            hydra_config.merge_with(config.shown())
    return Path(str(sweep.dir)) / str(sweep.subdir)


class Returned(JobReturn):
    """As Hydra's own launchers return it; the config is made when it is asked for, which hardly any sweeper does."""

    def __init__(self, config: Config, overrides: Sequence[str], folder: Path, runs: Sequence[Result]) -> None:
        super().__init__(overrides=list(overrides), working_dir=str(folder), status=JobStatus.COMPLETED)
        self._shown = config.shown()
        self.return_value = validation_score(runs)

    def __getattribute__(self, name: str) -> Any:
        if name == "cfg" and self.__dict__["cfg"] is None:
            self.cfg = OmegaConf.create(self._shown)
        return super().__getattribute__(name)
