"""What a killed process left becomes runs to go on from; and which recorded run another one extends.

Flow: outputs/cohorts/<id>/ of a dead owner → **salvage** → outputs/interrupted/<fingerprint>/ → planning.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock
from safetensors import SafetensorError, safe_open

from mlpexp.config import Config
from mlpexp.journal import CHECKPOINT, Journal, JournalError, json_bytes, write_atomically
from mlpexp.kernel.budget import Pace, is_evaluation
from mlpexp.leases import identity, is_alive
from mlpexp.numerics import agree
from mlpexp.records import Array, Ending
from mlpexp.refusals import ConfigError
from mlpexp.results import Result
from mlpexp.run_folder import write_runs

OWNER, HEADERS = "owner.json", "headers.json"


def own(folder: Path) -> None:
    """Say that this process trains the cohort of this folder."""
    beside = folder.with_name(f".{folder.name}")
    beside.mkdir(parents=True, exist_ok=True)
    write_atomically(beside / OWNER, json_bytes(identity()))
    os.rename(beside, folder)  # it appears with its owner: another command never sees it without


@contextmanager
def disowned_on_error(folder: Path) -> Iterator[None]:
    """Give a cohort up where training it fails: its last checkpoint may be salvaged at once."""
    try:
        yield
    except BaseException:
        (folder / OWNER).unlink(missing_ok=True)
        raise


def is_owned(folder: Path) -> bool:
    """Whether the process that trains this cohort is alive; those of another machine are taken to be."""
    try:
        owner = json.loads((folder / OWNER).read_text())
    except (OSError, ValueError):
        return False
    return is_alive(owner) is not False


def salvage(outputs: Path) -> int:
    """Turn the checkpoints of dead owners into runs to go on from, and clear away the rest; how many runs that were."""
    cohorts = outputs / "cohorts"
    if not cohorts.is_dir() or not any(cohorts.iterdir()):
        return 0
    saved = 0
    with FileLock(outputs / ".salvage.lock"):
        for folder in sorted(cohorts.iterdir()):
            if folder.is_dir() and not folder.name.startswith(".") and not is_owned(folder):
                saved += _salvage_cohort(folder, outputs)
                shutil.rmtree(folder, ignore_errors=True)
        for place in (outputs / "runs", outputs / "interrupted"):
            _clear_half_written(place)
    return saved


def _clear_half_written(place: Path) -> None:
    """Remove what writers that are dead now left beside the run folders."""
    for folder in place.glob(".*.*") if place.is_dir() else ():
        pid = folder.name.split(".")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _salvage_cohort(folder: Path, outputs: Path) -> int:
    """A folder for each lane of the last checkpoint: rows up to it, weights and state."""
    if not (folder / CHECKPOINT).exists():
        return 0
    try:
        return _rescue(folder, outputs)
    except (JournalError, SafetensorError, FileNotFoundError, ValueError, KeyError):
        return 0  # damaged: the runs begin anew
    except OSError as error:  # a full disk, say: the checkpoint stays for the next attempt
        raise ConfigError([f"what was interrupted in {folder} cannot be saved: {error}"]) from None


def _rescue(folder: Path, outputs: Path) -> int:
    headers = json.loads((folder / HEADERS).read_text())["headers"]
    states: dict[int, dict[str, Array]] = {}
    with safe_open(folder / CHECKPOINT, framework="numpy") as content:
        place = content.metadata()
        for key in content.keys():  # noqa: SIM118 (no mapping)
            lane, _, name = key.partition(".")
            states.setdefault(int(lane), {})[name] = content.get_tensor(key)
    step = int(place["step"])
    endings = [
        Ending(lane, "interrupted", step - 1, int(state["best_step"][0]), state["parameters"], state["best"], {})
        for lane, state in states.items()
    ]
    headers = [header | {"normalisation": {}} for header in headers]
    keep_interrupted(outputs, Journal(folder), endings, headers, states)
    return len(endings)


def keep_interrupted(
    outputs: Path,
    journal: Journal,
    endings: Sequence[Ending],
    headers: Sequence[Mapping[str, Any]],
    states: Mapping[int, Mapping[str, Array]],
) -> None:
    """Keep lanes that did not come to their end, with their state at the pause after their last row, to go on from."""
    write_runs(outputs / "interrupted", journal.pieces, endings, headers, states)


def write_headers(folder: Path, headers: list[dict[str, Any]]) -> None:
    """Keep what the run folders will say, for whoever salvages this cohort."""
    kept = [{name: value for name, value in header.items() if name != "normalisation"} for header in headers]
    write_atomically(folder / HEADERS, json_bytes({"headers": kept}))


def settle(outputs: Path, names: list[str]) -> None:
    """These runs are recorded: what was kept to go on from is not needed any more, and longer runs may find them."""
    for name in names:
        shutil.rmtree(outputs / "interrupted" / name, ignore_errors=True)
        result = Result(outputs / "runs" / name)
        if (result.folder / CHECKPOINT).exists():
            stem = outputs / "stems" / str(result.facts["stem"])
            stem.mkdir(parents=True, exist_ok=True)
            (stem / f"{result.next_step}-{name}").touch()


def base_of(
    outputs: Path, config: Config, name: str, data_digest: str, numerics: dict[str, str], pace: Pace
) -> Result | None:
    """The recorded run that this one goes on from with the same bits: interrupted, or finished after fewer updates."""
    candidates = [outputs / "interrupted" / name]
    stem = outputs / "stems" / config.stem()
    candidates += [outputs / "runs" / file.name.partition("-")[2] for file in stem.iterdir()] if stem.is_dir() else []
    kept = {folder: _kept(folder / CHECKPOINT) for folder in candidates}
    found = [(Result(folder), names) for folder, names in kept.items() if names]
    fit = [
        result
        for result, names in found
        if _fits(result, config, data_digest, numerics, pace) and _has_its_best(result, names, config, pace)
    ]
    return max(fit, key=lambda result: result.next_step, default=None)


def _kept(checkpoint: Path) -> list[str]:
    """Names of what a checkpoint holds; empty where it is not there, or not as long as its header says."""
    try:
        with safe_open(checkpoint, framework="numpy") as content:
            return list(content.keys())
    except (OSError, SafetensorError):
        return []


def _has_its_best(result: Result, kept: list[str], config: Config, pace: Pace) -> bool:
    """Whether the best weights at the time of the checkpoint are known.

    A run is evaluated once more where it ends. A longer run is not, unless that is on its schedule: so the best weights
    that this run found at its end are no part of the longer one, and those before must have been kept.
    """
    scheduled = is_evaluation(result.next_step, pace.updates_per_epoch, config.training.evaluate_every)
    return result.has_left or scheduled or result.facts["best_step"] < result.next_step or "best" in kept


def _fits(result: Result, config: Config, data_digest: str, numerics: dict[str, str], pace: Pace) -> bool:
    step, updates = result.next_step, pace.updates(**config.training.budget())
    return (
        0 < step <= updates
        and (step < updates or result.has_left)
        and result.facts["data"]["digest"] == data_digest
        and agree(result.facts["numerics"], numerics)
        and result.measurements == config.measurements
    )
