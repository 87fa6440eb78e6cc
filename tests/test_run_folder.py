"""Run folders: written whole or not at all, and what was written of each lane, record and weights, is what is read."""

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import ending, header, piece
from safetensors.numpy import load_file

from mlpexp import journal, record_files, run_folder
from mlpexp.journal import write_atomically
from mlpexp.kernel.layout import BatchNorm, Layout
from mlpexp.records import Ending, Piece
from mlpexp.run_folder import row_of, tensors, write_runs
from mlpexp.run_record import Record

PEAK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from mlpexp.journal import Journal
from mlpexp.run_folder import write_runs
from made_up_records import ending, header, piece
steps = int(sys.argv[2])
book = Journal(Path(sys.argv[1]) / "book")
for start in range(0, steps, 500):
    book.append(piece(range(start, start + 500), [0, 1], layers=24))
endings = [ending(lane, steps - 1) for lane in (0, 1)]
write_runs(Path(sys.argv[1]) / "runs", book.pieces, endings, [header(0), header(1)], {})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_peak_memory_does_not_grow_with_the_length_of_records(tmp_path: Path) -> None:
    def peak(steps: int) -> float:
        (tmp_path / str(steps)).mkdir()
        words = [str(tmp_path / str(steps)), str(steps), str(Path(__file__).parent)]
        done = subprocess.run([sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=True)
        return float(done.stdout)

    grown = 2 * 70_000 * 2 * 24 * 8 / 2**20  # MB that the longer records have more
    assert peak(80_000) - peak(10_000) < grown / 4


# --- records ---


def written(runs: Path, pieces: Sequence[Piece], endings: Sequence[Ending]) -> list[Record]:
    write_runs(
        runs, lambda: iter(pieces), endings, [header(lane) for lane in range(1 + max(e.lane for e in endings))], {}
    )
    return [Record(runs / f"run{e.lane}" / "record.parquet") for e in endings]


def test_each_lane_gets_its_own_column_of_every_piece(tmp_path: Path) -> None:
    pieces = [piece(range(4), [0, 1]), piece(range(4, 6), [1]), piece(range(6, 7), [1])]
    first, second = written(tmp_path, pieces, [ending(0, 3), ending(1, 6)])
    assert first.steps.tolist() == [0, 1, 2, 3]
    assert second.steps.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert np.array_equal(first["loss/batch"], pieces[0].losses[:, 0])
    assert np.array_equal(
        second["loss/batch"], np.concatenate([pieces[0].losses[:, 1], *(p.losses[:, 0] for p in pieces[1:])])
    )
    columns = [pieces[0].measured["delta_norm"][:, 1], *(p.measured["delta_norm"][:, 0] for p in pieces[1:])]
    whole = np.concatenate(columns)
    assert np.array_equal(second["delta_norm"], whole)


def test_an_evaluation_stands_in_the_row_of_its_step_and_nowhere_else(tmp_path: Path) -> None:
    pieces = [piece(range(4), [0]), piece(range(4, 7), [0])]
    (record,) = written(tmp_path, pieces, [ending(0, 6)])
    rows = np.flatnonzero(~np.isnan(record["loss/validation"]))
    assert rows.tolist() == [0, 4]
    assert record["loss/validation"][rows].tolist() == [p.evaluation["loss/validation"][0] for p in pieces]


def test_rows_behind_the_diverging_step_are_left_out(tmp_path: Path) -> None:
    pieces = [piece(range(4), [0, 1]), piece(range(4, 8), [0, 1])]
    diverged, finished = written(tmp_path, pieces, [ending(0, 2, "diverged"), ending(1, 7)])
    assert diverged.steps.tolist() == [0, 1, 2]
    assert finished.steps.tolist() == list(range(8))
    assert '"diverged_at_step": 2' in (tmp_path / "run0" / "result.json").read_text()
    assert '"diverged_at_step": null' in (tmp_path / "run1" / "result.json").read_text()


def test_steps_that_were_not_measured_are_blank(tmp_path: Path) -> None:
    (record,) = written(tmp_path, [piece(range(7), [0], every=3)], [ending(0, 6)])
    steps, values = record.measured("gradient_norm")
    assert steps.tolist() == [0, 3, 6]
    assert np.isfinite(values).all()
    assert np.isnan(record["gradient_norm"][[1, 2, 4, 5]]).all()


def test_many_rows_are_written_in_groups_and_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [piece(range(start, start + 10), [0]) for start in range(0, 100, 10)]
    (whole,) = written(tmp_path / "one", pieces, [ending(0, 99)])
    monkeypatch.setattr(record_files, "GROUP_ROWS", 16)
    (cut,) = written(tmp_path / "many", pieces, [ending(0, 99)])
    assert pq.ParquetFile(cut.file).num_row_groups > pq.ParquetFile(whole.file).num_row_groups
    assert cut.columns == whole.columns
    assert all(np.array_equal(cut[name], whole[name], equal_nan=True) for name in whole.columns)


def test_many_lanes_are_written_in_batches_and_each_gets_all_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [piece(range(start, start + 10), range(7)) for start in range(0, 40, 10)]
    together = written(tmp_path / "together", pieces, [ending(lane, 39) for lane in range(7)])
    monkeypatch.setattr(run_folder, "lanes_at_once", lambda *_: 3)
    batches = written(tmp_path / "batches", pieces, [ending(lane, 39) for lane in range(7)])
    for one, other in zip(together, batches, strict=True):
        assert one.file.read_bytes() == other.file.read_bytes()


def test_a_record_does_not_depend_on_how_many_pieces_are_cut_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes leave, evaluations and measurements are missing in some pieces, and groups end within them."""
    monkeypatch.setattr(record_files, "GROUP_ROWS", 16)
    lanes = [[0, 1, 2], [0, 1, 2], [1, 2], [1, 2], [1, 2], [2], [2]]
    pieces = [piece(range(7 * i, 7 * i + 7), of, every=3 + 9 * (i % 2)) for i, of in enumerate(lanes)]
    endings = [ending(0, 12, "diverged"), ending(1, 34), ending(2, 48)]
    together = written(tmp_path / "together", pieces, endings)
    monkeypatch.setattr(record_files, "STRETCH_BYTES", 1)
    alone = written(tmp_path / "alone", pieces, endings)
    for one, other in zip(together, alone, strict=True):
        assert one.file.read_bytes() == other.file.read_bytes()


def test_a_record_has_the_same_bytes_whether_its_pieces_were_on_disk_or_not(tmp_path: Path) -> None:
    """A cohort that kept a checkpoint, or was interrupted, reads its pieces back: in files names are sorted."""
    pieces = [piece(range(4), [0]), piece(range(4, 8), [0])]
    (straight,) = written(tmp_path / "straight", pieces, [ending(0, 7)])
    book = journal.Journal(tmp_path / "book")
    for one in pieces:
        book.append(one)
        book.flush()
    (read,) = written(tmp_path / "read", list(book.pieces()), [ending(0, 7)])
    assert read.columns == straight.columns == [
        *("step", "loss/batch", "loss/train", "loss/validation"),
        *("gradient_norm/layer_01", "gradient_norm/layer_02", "delta_norm/layer_01", "delta_norm/layer_02"),
    ]  # fmt: skip
    assert read.file.read_bytes() == straight.file.read_bytes()


def test_infinite_scores_are_no_json_numbers(tmp_path: Path) -> None:
    written(tmp_path, [piece(range(2), [0])], [ending(0, 1)])
    text = (tmp_path / "run0" / "result.json").read_text()
    assert '"loss/train": null' in text
    assert "Infinity" not in text


def test_a_run_that_is_written_again_replaces_its_folder_and_leaves_no_other(tmp_path: Path) -> None:
    written(tmp_path, [piece(range(4), [0])], [ending(0, 3)])
    (tmp_path / "run0" / "stray.txt").write_text("of the first time")
    (record,) = written(tmp_path, [piece(range(2), [0])], [ending(0, 1)])
    assert record.steps.tolist() == [0, 1]
    assert os.listdir(tmp_path) == ["run0"]
    assert not (tmp_path / "run0" / "stray.txt").exists()


def test_a_run_folder_is_on_disk_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut may keep a rename and lose what it renamed, unless each file was brought to disk before."""
    events: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def noting_fsync(descriptor: int) -> None:
        events.append(("on disk", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def noting_rename(source: Path, target: Path) -> None:
        rename(source, target)
        events.append(("renamed", str(source)))

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "rename", noting_rename)
    written(tmp_path, [piece(range(4), [0])], [ending(0, 3)])
    (renaming,) = (i for i, (what, _) in enumerate(events) if what == "renamed")
    hidden = Path(events[renaming][1])
    before = {path for what, path in events[:renaming] if what == "on disk"}
    assert before == {str(hidden), *(str(hidden / name) for name in os.listdir(tmp_path / "run0"))}
    assert events[renaming + 1 :] == [("on disk", str(tmp_path))]


# --- weights ---


NORMS = (None, BatchNorm("before"), BatchNorm("after", affine=False))


@given(widths=st.lists(st.integers(1, 5), min_size=2, max_size=5), bias=st.booleans(), norm=st.sampled_from(NORMS))
def test_a_row_of_parameters_survives_torchs_names(widths: list[int], bias: bool, norm: BatchNorm | None) -> None:
    layout = Layout(tuple(widths), bias, norm)
    size = sum(a * b + (b if bias else 0) for a, b in pairwise(widths))
    hidden = sum(widths[1:-1])
    size += hidden * (4 if norm == NORMS[1] else 2 if norm else 0)
    row = np.arange(size, dtype=np.float32)
    named = tensors(row, layout)
    assert sum(part.size for part in named.values()) == size
    assert [named[f"layers.{l}.weight"].shape for l in range(len(widths) - 1)] == [(b, a) for a, b in pairwise(widths)]
    assert np.array_equal(row_of(named, layout), row)


def test_weights_of_many_layers_keep_their_order(tmp_path: Path) -> None:
    layout = Layout((2,) * 13)
    row = np.arange(12 * 6, dtype=np.float32)
    write_atomically(tmp_path / "w.safetensors", journal.save(tensors(row, layout)))
    assert np.array_equal(row_of(load_file(tmp_path / "w.safetensors"), layout), row)


# --- files that runs have in common ---

COMMON = ("environment.json", "normalisation.safetensors")


def test_what_the_runs_of_a_cohort_have_in_common_is_one_file(tmp_path: Path) -> None:
    written(tmp_path, [piece(range(4), [0, 1])], [ending(0, 3), ending(1, 3)])
    for name in os.listdir(tmp_path / "run0"):
        assert (tmp_path / "run0" / name).samefile(tmp_path / "run1" / name) == (name in COMMON)


def test_runs_that_have_something_of_their_own_keep_it(tmp_path: Path) -> None:
    other = header(1) | {"environment": {"commit": "of another"}, "normalisation": {"centre": np.ones(2)}}
    write_runs(tmp_path, lambda: iter([piece(range(4), [0, 1])]), [ending(0, 3), ending(1, 3)], [header(0), other], {})
    assert '"of another"' in (tmp_path / "run1" / "environment.json").read_text()
    assert '"of another"' not in (tmp_path / "run0" / "environment.json").read_text()
    assert [list(load_file(tmp_path / run / COMMON[1])) for run in ("run0", "run1")] == [
        ["centre", "scale"],
        ["centre"],
    ]


def test_where_a_disk_has_no_links_each_run_has_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    written(tmp_path, [piece(range(4), [0, 1])], [ending(0, 3), ending(1, 3)])
    for name in COMMON:
        one, other = (tmp_path / run / name for run in ("run0", "run1"))
        assert not one.samefile(other)
        assert one.read_bytes() == other.read_bytes()
