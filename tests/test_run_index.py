"""The index of run folders: a view that follows them, and is made again where it cannot be trusted."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from runs_fixtures import composed

from mlpexp import run_index
from mlpexp.results import recorded
from mlpexp.runner import run


def test_a_row_is_what_the_run_folder_says(browsed_outputs: Path) -> None:
    rows = {row["fingerprint"]: row for row in run_index.rows(browsed_outputs)}
    assert set(rows) == {one.fingerprint for one in recorded(browsed_outputs)}
    for one in recorded(browsed_outputs):
        row = rows[one.fingerprint]
        assert (row["name"], row["status"], row["point"]) == (one.name, one.status, one.config.point())
        assert {name: row[name] for name in one.scores} == one.scores
        assert {key: row[key] for key in one.config.flat()} == one.config.flat()
        assert row["folder"] == str(one.folder)


def test_the_index_follows_runs_that_come_change_and_go(browsed_copy: Path) -> None:
    before = run_index.rows(browsed_copy)
    gone, changed = before[0], before[1]
    shutil.rmtree(gone["folder"])
    file = Path(changed["folder"]) / "result.json"
    content = json.loads(file.read_text())
    file.unlink()
    file.write_text(json.dumps(content | {"status": "stopped_early"}))
    after = {row["fingerprint"]: row["status"] for row in run_index.rows(browsed_copy)}
    assert gone["fingerprint"] not in after
    assert after[changed["fingerprint"]] == "stopped_early"
    assert len(after) == len(before) - 1


@pytest.mark.parametrize("content", [b"", b"no database " * 1000, "cut", "flipped", "other make"])
def test_a_damaged_index_is_made_again(browsed_copy: Path, content: bytes | str) -> None:
    before, file = run_index.rows(browsed_copy), browsed_copy / run_index.FILE
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "cut":
        file.write_bytes(file.read_bytes()[:9000])
    elif content == "flipped":
        with sqlite3.connect(file) as database:
            database.execute("UPDATE runs SET content = substr(content, 2)")
        database.close()
    else:
        with sqlite3.connect(file) as database:
            database.execute("UPDATE make SET of = 'older'")
            database.execute("UPDATE runs SET content = '{}'")
        database.close()
    assert run_index.rows(browsed_copy) == before


def test_what_is_known_is_not_read_again(browsed_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_index.rows(browsed_copy)
    monkeypatch.setattr(run_index, "row_of", lambda folder: pytest.fail(f"{folder} was read again"))
    assert run_index.rows(browsed_copy) == before


def test_what_was_just_trained_is_known_and_what_is_trained_again_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, place = composed("training.epochs=1", f"outputs={tmp_path}"), tmp_path.resolve()
    (trained_once,) = run(config, quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(run_index, "row_of", lambda folder: pytest.fail(f"{folder} was read again"))
        (row,) = run_index.rows(place)
    assert row == {**run_index.row_of(trained_once.folder), "folder": str(trained_once.folder)}
    (again,) = run(composed("training.epochs=1", "rerun=true", f"outputs={tmp_path}"), quiet=True)
    (newer,) = run_index.rows(place)
    assert newer["started"] == again.facts["started"] > row["started"]


def test_an_index_that_cannot_be_written_stops_no_training(tmp_path: Path) -> None:
    (tmp_path / run_index.FILE).mkdir()
    (result,) = run(composed("training.epochs=1", f"outputs={tmp_path}"), quiet=True)
    assert [row["fingerprint"] for row in run_index.rows(tmp_path)] == [result.fingerprint]
