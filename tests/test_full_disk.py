"""A full disk stops a sweep at its last checkpoints; with space again the same command ends with the same bits."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs_fixtures import command, compose, everything

from mlpexp.results import recorded
from mlpexp.runner import run

WORDS = (
    "model.depth=2,3", "model.width=24", "training.epochs=160", "training.batch_size=256", "measurements=basic",
    "replicates=2", "executor.workers=2", "executor.checkpoint_seconds=0.1", "tracking=none",
)  # fmt: skip


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Half a megabyte: room for a few checkpoints, not for the records."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k", "none", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system of a few megabytes could be mounted here (run as root): {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_full_disk_stops_the_sweep_and_the_same_command_goes_on(small_disk: Path, tmp_path: Path) -> None:
    done = command("sweep", *WORDS, f"outputs={small_disk}/outputs", cwd=tmp_path)
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1
    assert "is full" in told
    assert "the same command goes on" in told
    assert "Traceback" not in told
    kept = [*small_disk.glob("outputs/cohorts/*/checkpoint.safetensors"), *small_disk.glob("outputs/interrupted/*")]
    assert kept, "nothing was checkpointed before the disk was full: the test shows nothing"
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    again = command("sweep", *WORDS, f"outputs={small_disk}/outputs", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "going on from an interrupted" in again.stderr
    elsewhere = ("executor=serial", f"outputs={tmp_path / 'whole'}")
    points = [compose(*(word for word in WORDS if "," not in word), f"model.depth={d}", *elsewhere) for d in (2, 3)]
    whole = {one.fingerprint: everything(one) for one in run(points, quiet=True)}
    assert {one.fingerprint: everything(one) for one in recorded(small_disk / "outputs")} == whole
    assert not os.listdir(small_disk / "outputs" / "cohorts")
