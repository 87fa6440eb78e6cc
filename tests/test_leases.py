"""Who trains what: one owner for a run, and a dead owner's lease is taken over."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs_fixtures import composed

from mlpexp import cohort_training
from mlpexp.leases import EXPIRY_SECONDS, Leases, holds, identity, is_alive
from mlpexp.results import recorded
from mlpexp.runner import order_of, run
from mlpexp.salvage import own

HOLD = """
import sys, time
from pathlib import Path
from mlpexp.leases import Leases
with Leases(Path(sys.argv[1])) as leases:
    print(leases.take(["a", "b"]), flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    """Another process that holds a and b."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "['a', 'b']"
    return process


def test_a_run_has_one_owner_until_it_is_released(tmp_path: Path) -> None:
    with Leases(tmp_path) as mine, Leases(tmp_path) as other:
        assert mine.take(["a", "b"]) == ["a", "b"]
        assert mine.take(["a"]) == ["a"]
        assert other.take(["a", "c"]) == ["c"]
        mine.release(["a"])
        assert other.take(["a", "b"]) == ["a"]
    assert not list((tmp_path / "leases").iterdir())


def test_a_killed_owners_lease_is_taken_over_and_a_living_ones_is_not(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with Leases(tmp_path) as mine:
            assert mine.take(["a", "b"]) == []
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert mine.take(["a", "b"]) == ["a", "b"]
    finally:
        process.kill()
        process.communicate()


def test_another_machines_lease_counts_until_it_grows_old(tmp_path: Path) -> None:
    file = tmp_path / "leases" / "a"
    file.parent.mkdir()
    file.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": 0.0}))
    with Leases(tmp_path) as mine:
        assert mine.take(["a"]) == []
        old = time.time() - EXPIRY_SECONDS - 1
        os.utime(file, (old, old))
        assert mine.take(["a"]) == ["a"]


def test_a_torn_lease_is_given_time_and_then_taken(tmp_path: Path) -> None:
    file = tmp_path / "leases" / "a"
    file.parent.mkdir()
    file.write_text('{"host": "el')
    with Leases(tmp_path) as mine:
        assert mine.take(["a"]) == []
        os.utime(file, (0, 0))
        assert mine.take(["a"]) == ["a"]


def test_a_process_knows_itself_from_a_later_one_with_its_number() -> None:
    assert is_alive(identity())
    assert is_alive(identity() | {"started": 1.0}) is False
    assert is_alive(identity() | {"host": "elsewhere"}) is None


def test_two_commands_at_once_train_a_run_once(tmp_path: Path) -> None:
    words = ["train", "tracking=none", "executor=serial", "model.width=8", "training.epochs=60", "replicates=2"]
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "mlpexp", *words, f"outputs={tmp_path}"],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("training 2 networks" in text for text in told) == 1
    assert len(list(recorded(tmp_path))) == 2
    assert not list((tmp_path / "leases").iterdir())


def test_an_owner_that_slept_while_its_lease_expired_leaves_the_run_to_the_next(tmp_path: Path) -> None:
    with Leases(tmp_path) as sleeper:
        sleeper.take(["a"])
        file = tmp_path / "leases" / "a"
        taken_over = json.dumps({"host": "elsewhere", "pid": 1, "started": 0.0, "fence": 1})
        file.write_text(taken_over)
        assert not holds(tmp_path, "a", sleeper.held["a"])
        sleeper.release(["a"])
        assert file.read_text() == taken_over


def test_a_run_whose_lease_was_taken_over_is_not_written_and_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed(f"outputs={tmp_path}")
    (name,) = order_of([config]).fingerprints
    file = tmp_path / "leases" / name
    written: list[float] = []

    def owned_and_then_lost(folder: Path) -> None:
        own(folder)
        if not written:
            file.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": 0.0, "fence": 1}))
            written.append(time.time())

    def other_process_gives_up(seconds: float) -> None:
        assert not (tmp_path / "runs" / name).exists()  # the first attempt ended, and wrote nothing
        os.utime(file, (0, 0))

    monkeypatch.setattr(cohort_training, "own", owned_and_then_lost)
    monkeypatch.setattr("mlpexp.runner.time.sleep", other_process_gives_up)
    (result,) = run(config, quiet=True)
    assert written
    assert result.status == "finished"
