"""The folder of a run: the record of what it was, what was measured, and what it learned.

Flow: journal → **run folder** → (tracking, results). `outputs/runs/<fingerprint>/` holds

    config.yaml         the run's config
    result.json         status, scores, steps, what was measured, numerics; `ends`: what a verdict needs of the record
    record.parquet, distributions.parquet   what was measured; see record_files
    best.safetensors    weights with the lowest validation loss; final.safetensors those at the end
    checkpoint.safetensors, normalisation.safetensors   what it takes to go on, and to predict from raw inputs
    environment.json    versions, platform, commit
"""

import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save

from mlpexp import record_files, yaml_text
from mlpexp.journal import CHECKPOINT, bring_to_disk, json_bytes
from mlpexp.kernel.budget import Pace
from mlpexp.kernel.layout import Layout
from mlpexp.measurement_catalogue import numbers_a_step
from mlpexp.measurement_schema import Measurements, due_updates
from mlpexp.model_schema import Model
from mlpexp.record_files import LaneRecord, is_distribution, stretches
from mlpexp.records import Array, Ending, Piece
from mlpexp.shapes import layout_of

FOOTER_BYTES, RECORD_BYTES = 1024, 256 << 20
"""Bytes of a parquet file's footer for a column and group; bytes of all records being written."""
WAITING = 8
"""Threads that wait for the disk: files that were waited for one after the other took several times as long."""

WEIGHTS = {"parameters": "final", "best": "best"}
"""What the two rows of a lane's state are called in its folder."""


def write_runs(
    runs: Path,
    pieces: Callable[[], Iterable[Piece]],
    endings: Sequence[Ending],
    headers: Sequence[Mapping[str, Any]],
    states: Mapping[int, Mapping[str, Array]],
) -> None:
    """Write the run folder of each lane.

    `headers[lane]` has fingerprint, config, result, pace, normalisation, environment, the names of evaluations, and as
    `base` the folder of the run that this one went on from, or None. `states` of lanes that may go on are kept beside
    their weights, without those rows that are these weights.
    """
    runs.mkdir(parents=True, exist_ok=True)
    places = {ending.lane: runs / f".{headers[ending.lane]['fingerprint']}.{os.getpid()}" for ending in endings}
    for place in places.values():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    at_once = lanes_at_once(max((ending.last_step for ending in endings), default=0), headers)
    ends: dict[int, dict[str, Array] | None] = {}
    for first in range(0, len(endings), at_once):
        some = {ending.lane: ending for ending in endings[first : first + at_once]}
        ends |= _write_records(pieces(), some, places, headers)
    sections, shared = dict[str, str](), dict[bytes, Path]()
    for ending in endings:
        header, place = headers[ending.lane], places[ending.lane]
        (place / "config.yaml").write_bytes(yaml_text.dump_sections(header["config"], sections).encode())
        _write_shared(place / "normalisation.safetensors", save(header["normalisation"]), shared)
        _write_shared(place / "environment.json", json_bytes(header["environment"]), shared)
        _write_rest(place, ending, header, ends[ending.lane])
        if ending.lane in states:
            kept = _beside_weights(states[ending.lane], ending)
            (place / CHECKPOINT).write_bytes(save(kept))
    with ThreadPoolExecutor(WAITING) as waiting:  # the disk takes together what is asked for at once
        for paths in ([path for place in places.values() for path in place.iterdir()], places.values()):
            list(waiting.map(bring_to_disk, paths))  # before the rename: a folder that is there is whole
    for lane, place in places.items():
        move_into_place(place, runs / headers[lane]["fingerprint"])
    bring_to_disk(runs)


def _beside_weights(state: Mapping[str, Array], ending: Ending) -> dict[str, Array]:
    """What of a state is not in the files of weights already."""
    written = {"parameters": ending.final, "best": ending.best}
    return {name: a for name, a in state.items() if name not in written or not np.array_equal(a, written[name])}


def lanes_at_once(last_step: int, headers: Sequence[Mapping[str, Any]]) -> int:
    """How many records are written in one reading of the journal: their buffers and footers stay in memory."""
    rows, groups = min(last_step + 1, record_files.GROUP_ROWS), 1 + last_step // record_files.GROUP_ROWS

    def lane_bytes(result: Mapping[str, Any]) -> int:
        measured = Measurements.model_validate(result["measurements"])
        depth = len(result["widths"]) - 1
        columns = 1 + sum(not is_distribution(name) for name in measured.names) * depth
        numbers = sum(
            numbers_a_step(name, depth, result["widths"]) * len(due_updates(measured.schedule_of(name), 0, rows))
            for name in measured.names
        )
        return 16 * numbers + 8 * columns * rows + FOOTER_BYTES * groups * columns

    return max(1, RECORD_BYTES // max(lane_bytes(header["result"]) for header in headers))


def _write_shared(file: Path, content: bytes, shared: dict[bytes, Path]) -> None:
    """A file that the runs of a cohort have in common: one of them has it, and the others a link, where disks can."""
    with suppress(OSError):
        if content in shared:
            os.link(shared[content], file)
            return
    file.write_bytes(content)
    shared[content] = file


def _write_rest(place: Path, ending: Ending, header: Mapping[str, Any], ends: Mapping[str, Array] | None) -> None:
    result = header["result"] | {
        "fingerprint": header["fingerprint"],
        "status": ending.status,
        "diverged_at_step": ending.last_step if ending.status == "diverged" else None,
        "last_step": ending.last_step,
        "best_step": ending.best_step,
        "spent": Pace(**header["pace"]).spent(ending.last_step),
        "scores": {name: value if np.isfinite(value) else None for name, value in ending.scores.items()},
    }
    if ends is not None:
        result["ends"] = {name: [x if math.isfinite(x) else None for x in row.tolist()] for name, row in ends.items()}
    layout = _layout(header["config"], header["result"])
    for name, row in (("best", ending.best), ("final", ending.final)):
        (place / f"{name}.safetensors").write_bytes(save(tensors(row, layout)))
    (place / "result.json").write_bytes(json_bytes(result))


def tensors(row: Array, layout: Layout) -> dict[str, Array]:
    """A row [P + S] of a network under torch's names: `layers.0.weight` [k_out, k_in], `norms.0.running_mean` …"""
    named = {}
    for name, start, shape in layout.named():
        part = row[start : start + math.prod(shape)].reshape(shape)
        named[name] = np.ascontiguousarray(part.T if len(shape) == 2 else part)
    return named


def row_of(named: Mapping[str, Array], layout: Layout) -> Array:
    """The inverse of `tensors`."""
    row = np.empty(layout.size + layout.statistics, dtype=next(iter(named.values())).dtype)
    for name, start, shape in layout.named():
        row[start : start + math.prod(shape)] = (named[name].T if len(shape) == 2 else named[name]).ravel()
    return row


def _layout(config: Mapping[str, Any], result: Mapping[str, Any]) -> Layout:
    """The shape of a recorded network."""
    return layout_of(Model.model_validate(config["model"]), result["widths"][0], result["widths"][-1])


def read_state(folder: Path) -> dict[str, Array]:
    """The state from which a run goes on: its weights, and what its checkpoint keeps beside them."""
    layout = _layout(
        yaml_text.load((folder / "config.yaml").read_text()), json.loads((folder / "result.json").read_text())
    )
    rows = {name: row_of(load_file(folder / f"{file}.safetensors"), layout) for name, file in WEIGHTS.items()}
    return rows | load_file(folder / CHECKPOINT)


def _write_records(
    pieces: Iterable[Piece],
    endings: Mapping[int, Ending],
    places: Mapping[int, Path],
    headers: Sequence[Mapping[str, Any]],
) -> dict[int, dict[str, Array] | None]:
    """One parquet file a lane: rows of the run it went on from, then its own; none behind a diverging step.

    Returns what a verdict on each needs.
    """
    with ExitStack() as open_files:
        lanes = {
            lane: open_files.enter_context(LaneRecord(places[lane], ending.last_step, headers[lane]["evaluations"]))
            for lane, ending in endings.items()
        }
        begun: set[int] = set()
        for stretch in stretches(pieces):
            for column, lane in enumerate(stretch.lanes):
                if lane not in lanes:
                    continue  # it ended before a checkpoint that the others go on from
                base = headers[lane]["base"]
                if base and lane not in begun:
                    lanes[lane].go_on(Path(base), int(stretch.steps[0]))
                begun.add(lane)
                lanes[lane].append(stretch, column)
    return {lane: record.ends for lane, record in lanes.items()}


def move_into_place(folder: Path, target: Path) -> None:
    """Rename a finished folder to its place; what stood there (a run trained again) makes room."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    for _ in range(100):  # another process may put the same run there at the same time
        with suppress(FileNotFoundError):
            os.rename(target, old)
        try:
            os.rename(folder, target)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
