"""`mlpexp sweep search=…`: drive the study to its total, score the best on fresh seeds, report.

Flow: Hydra's sweeper → request → **command** → drive, report, best.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf
from optuna import Study
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial
from rich.console import Console

from mlpexp.cohorts import worker_count
from mlpexp.config import Config
from mlpexp.display import counted
from mlpexp.journal import json_bytes, write_atomically
from mlpexp.letters import in_width
from mlpexp.refusals import ConfigError, redact
from mlpexp.results import find
from mlpexp.runner import FULL, DiskFull, RunError, execute, order_of
from mlpexp.score_tables import show_places, show_points
from mlpexp.search.best import curse, on_fresh_seeds, write_best
from mlpexp.search.board import Board, table_of
from mlpexp.search.drive import RUNS, Drive, ranking, rows_of
from mlpexp.search.flight import Flight
from mlpexp.search.request import Request
from mlpexp.search.studies import counted_trials

TRIALS_A_WORKER, FEWEST_A_WORKER, GENERATIONS = 24, 8, 4
"""Under way by default: enough that equal shapes meet and share cohorts, which doubles the pace, but no more than a
share of all trials: proposals should know what went before."""

MOST_FRONT = 5
"""So many points of a Pareto front are scored on fresh seeds."""


def launch(files: ConfigLoader, hydra_config: DictConfig, overrides: Sequence[str]) -> list[FrozenTrial]:
    """Search, report, and return the best trials; exits with 1 where training failed, 2 where it was refused."""
    console = Console()
    try:
        paths = [word for word in hydra_config.hydra.overrides.hydra if word.startswith("hydra.searchpath=")]
        request = Request.read(files, str(hydra_config.hydra.job.config_name), [*paths, *overrides])
        study = request.open()
    except ConfigError as error:
        _tell("\nmlpexp: ".join(error.mistakes), console, code=2)
    folder = Path(str(hydra_config.hydra.sweep.dir)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hydra.yaml").write_text(redact(OmegaConf.to_yaml(OmegaConf.masked_copy(hydra_config, "hydra"))))
    failures: list[str] = []
    try:
        failures = train(request, study)
        shown = {name: bool(hydra_config.hydra.launcher.get(name, False)) for name in ("show_test", "bootstrap")}
        show(request, study, folder, shown, console)
    except RunError as error:
        failures = [str(error)]
    except StorageInternalError as error:
        said = redact(str(error).splitlines()[0])
        failures = [f"search.storage was lost ({said}); runs are recorded, and the same command goes on"]
    except OSError as error:
        if error.errno not in FULL:
            raise
        failures = [str(DiskFull(request.outputs))]
    if failures:
        _tell("\n".join(failures), console)
    return ranking(study, request.goals)


def train(request: Request, study: Study) -> list[str]:
    """Drive the study to its number of trials; a line for each trial whose training failed."""
    search, sample, goals = request.search, request.sample, request.goals
    board = Board(request.most, goals.names)
    drive = Drive(study, request.space, goals, search, board)
    watched = goals.names[0] if search.pruner in ("median", "hyperband") else None
    room = search.in_flight or room_of(worker_count(sample, 1 << 30), request.most)
    with Flight(sample, board, request.name, watched, search.pruner == "wilcoxon") as flight:
        drive.run(flight, room, request.most)
    return drive.failures


def room_of(workers: int, trials: int) -> int:
    """How many trials are under way at once in a search of so many, unless the config says."""
    return min(TRIALS_A_WORKER * workers, max(FEWEST_A_WORKER * workers, trials // GENERATIONS))


def show(request: Request, study: Study, folder: Path, shown: Mapping[str, bool], console: Console) -> None:
    """The best trials, the best point's fresh seeds, and where everything lies."""
    goals, ranked = request.goals, ranking(study, request.goals)
    trials = counted_trials(study)
    states = Counter(one.state.name.lower() for one in trials)
    lines = [f"{counted(len(trials), 'point')} tried: " + ", ".join(f"{n} {state}" for state, n in states.items())]
    report = folder / "report"
    from mlpexp.search.report import write_report  # half a second, for which no worker waits

    write_report(study, goals, report)
    if not ranked:
        lines.append(f"no trial finished and kept every constraint; {report}/trials.csv says what became of them")
        _print(lines, console)
        return
    console.print(table_of(goals.names, rows_of(ranked)))
    winners = [config_of(request, one) for one in ranked[: MOST_FRONT if len(goals.names) > 1 else 1]]
    told = [*lines, f"trial {ranked[0].number} of study {request.name}"]
    best = write_best(folder, winners[0], told)
    write_sweep(request, folder, trials)
    if request.search.fresh_seeds:
        order = order_of([on_fresh_seeds(one, request.search.fresh_seeds) for one in winners])
        results = iter(execute(order, sweep=request.name))
        fresh = [[next(results) for _ in range(request.search.fresh_seeds)] for _ in winners]
        for trial, runs in zip(ranked, fresh, strict=False):
            lines += [f"trial {trial.number}: {line}" for line in curse(goals, trial.values, runs)]
        console.print("the best on fresh seeds:", style="bold", highlight=False)
        show_points([run for runs in fresh for run in runs], console, **shown)
    (report / "summary.txt").write_text("\n".join(lines) + "\n")
    keep_in_tracking(request, study, report, best)
    _print(lines, console)
    for line in (f"report: {report}", f"the best point: mlpexp train --config-dir {folder} --config-name best"):
        console.print(line, style="dim", highlight=False, soft_wrap=True)
    runs = [run for one in ranked[:1] for name in one.user_attrs[RUNS] if (run := find(request.outputs, name))]
    show_places(runs, request.sample, console, request.name)


def config_of(request: Request, trial: FrozenTrial) -> Config:
    """The point that a trial stands for."""
    words, _ = request.space.overrides(lambda dimension: trial.params[dimension.key])
    return request.space.composer.config(words)


def write_sweep(request: Request, folder: Path, trials: Sequence[FrozenTrial]) -> None:
    """`sweep.json`, as every sweep has it: what was asked, and which runs."""
    content = {
        "sweep": request.name,
        "folder": str(folder),
        "search": request.search.model_dump(exclude={"storage"}),
        "space": request.space.described(),
        "runs": list(dict.fromkeys(name for one in trials for name in one.user_attrs.get(RUNS, []))),
    }
    for file in (folder / "sweep.json", request.outputs / "sweeps" / f"{request.name}.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json_bytes(content))


def keep_in_tracking(request: Request, study: Study, report: Path, best: Path) -> None:
    """The report as a run of its own in MLflow, and on each run's page the numbers of its trials."""
    if request.sample.tracking.name == "none":
        return
    from mlpexp.tracking import Store

    trials: dict[str, list[str]] = {}
    for one in counted_trials(study):
        for name in one.user_attrs.get(RUNS, []):
            trials.setdefault(name, []).append(str(one.number))
    runs = [run for name in trials if (run := find(request.outputs, name)) is not None]
    store = Store(request.sample.tracking, request.outputs)
    try:
        store.tag(runs, {name: {f"mlpexp.trial.{request.name}": " ".join(numbers)} for name, numbers in trials.items()})
        told = (report / "summary.txt").read_text()
        store.keep_files(request.name, [*sorted(report.iterdir()), best], told)
    except RuntimeError as error:
        Console(stderr=True).print(f"MLflow was not reached ({error}); the report is in {report}", highlight=False)


def _print(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(in_width(line), highlight=False, markup=False, soft_wrap=True)


def _tell(text: str, console: Console, code: int = 1) -> NoReturn:
    console.print(f"mlpexp: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    raise SystemExit(code)
