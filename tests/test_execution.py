"""Where cohorts train: an environment set before torch, one future a cohort."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from runs_fixtures import composed

from mlpexp.execution import ENVIRONMENT, Local, Serial, ahead, executor, place, train_cohort
from mlpexp.planning import plan
from mlpexp.results import Result
from mlpexp.task import Task


def task(outputs: Path, data_digest: str | None = None) -> Task:
    order = plan([composed(f"outputs={outputs}")])
    (config,) = order.configs
    digest = data_digest or order.of(config).digest
    return Task([config.record()], order.fingerprints, digest, str(outputs), bases=[None])


def test_training_in_a_process_that_loaded_torch_too_early_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MKL_CBWR")
    with pytest.raises(RuntimeError, match=r"MKL_CBWR=AUTO,STRICT.* or use executor=local"):
        executor("serial", 1)


def test_a_serial_future_is_done_at_once_and_names_the_runs(tmp_path: Path) -> None:
    order = task(tmp_path)
    future = Serial().submit(order)
    assert future.done()
    assert future.result() == order.fingerprints
    assert Result(tmp_path / "runs" / order.fingerprints[0]).status == "finished"
    assert list((tmp_path / "cohorts").iterdir()) == []


def test_data_that_changed_since_they_were_planned_are_refused(tmp_path: Path) -> None:
    future = Serial().submit(task(tmp_path, data_digest="0" * 64))
    assert "data digits has changed since this command began" in str(future.exception())
    assert not (tmp_path / "runs").exists()


def train_and_tell_what_is_loaded(task: Task) -> tuple[list[str], bool]:
    return train_cohort(task), "sklearn" in sys.modules


@pytest.mark.parametrize("handed_over", [True, False])
def test_a_worker_that_gets_its_data_need_not_load_the_package_that_has_them(tmp_path: Path, handed_over: bool) -> None:
    asked = task(tmp_path)
    parts = plan([composed(f"outputs={tmp_path}")]).facts.popitem()[1].parts
    assert parts is not None
    local = Local(1)
    try:
        names, loaded = local.in_worker(
            train_and_tell_what_is_loaded, replace(asked, parts=parts if handed_over else None)
        )
    finally:
        local.shutdown()
    assert names == asked.fingerprints
    assert loaded is not handed_over


def test_two_attempts_at_one_cohort_have_folders_of_their_own(tmp_path: Path) -> None:
    assert task(tmp_path).folder != task(tmp_path).folder


def environment_of_a_worker() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in ENVIRONMENT}


def test_workers_start_with_the_environment_that_stable_products_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MKL_CBWR")
    local = Local(1)
    try:
        assert local.in_worker(environment_of_a_worker) == ENVIRONMENT
    finally:
        local.shutdown()


HASTY = """
import psutil
from mlpexp.execution import Local
Local(2).shutdown()
commands = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
print(*[command for command in commands if "resource_tracker" not in command], sep="\\n", end="")
"""


def test_workers_that_are_shut_down_before_they_have_begun_leave_no_process() -> None:
    done = subprocess.run([sys.executable, "-c", HASTY], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""


LISTENING = """
import sys, threading
beside = []

def listen(event, arguments):
    if event == "import" and threading.current_thread() is not threading.main_thread():
        beside.append((threading.current_thread().name, arguments[0]))

sys.addaudithook(listen)
from mlpexp.cli import main

code = main(sys.argv[1:])
print(code, beside)
"""


@pytest.mark.parametrize("words", [
    ["sweep", "model.depth=2,3"], ["sweep", "search=tpe", "model.depth=range(2,4)", "search.n_trials=2"],
])  # fmt: skip
def test_no_thread_imports_while_workers_begin_and_the_main_thread_loads_the_data(
    words: list[str], tmp_path: Path
) -> None:
    """Two threads that import at once have found joblib half initialised, in some hundreds of runs."""
    quick = ["replicates=2", "training.epochs=1", "tracking=none", "executor.workers=2", f"outputs={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-c", LISTENING, *words, *quick],
        capture_output=True, text=True, check=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout


def test_after_the_shutdown_no_worker_is_started() -> None:
    local = Local(1)
    local.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        local.in_worker(os.getpid)


def test_what_a_run_folder_says(tmp_path: Path) -> None:
    train_cohort(task(tmp_path))
    (folder,) = (tmp_path / "runs").iterdir()
    facts = Result(folder).facts
    assert facts["widths"] == [64, 8, 10]
    assert facts["parameters"] == 65 * 8 + 9 * 10
    facts_flops = 6 * (64 * 8 + 8 * 10) - 2 * 64 * 8  # layer 1 passes nothing back
    assert facts["data"]["examples"] == {"train": 1077, "validation": 360, "test": 360}
    assert (facts["output"], facts["loss"], facts["lanes"]) == ("softmax", "cross_entropy", 1)
    assert facts["spent"] == {"updates": 34, "epochs": 2, "examples": 2 * 1077, "flops": 2 * 1077 * facts_flops}
    assert facts["warnings"] == []
    assert facts["numerics"]["products"] == "MKL_CBWR=AUTO,STRICT"
    assert {file.name for file in folder.iterdir()} >= {
        "config.yaml", "result.json", "record.parquet", "best.safetensors", "final.safetensors", "environment.json",
    }  # fmt: skip


# --- begun ahead ---


def test_the_first_place_is_the_one_that_was_begun_ahead() -> None:
    with ahead("local", 1):
        with place("local", 1) as first:
            assert isinstance(first, Local)
            worker = first.in_worker(os.getpid)
        assert not psutil.pid_exists(worker)
        with place("serial", 1) as second:
            assert isinstance(second, Serial)


def test_who_was_begun_ahead_with_too_few_workers_makes_room() -> None:
    with ahead("local", 1), place("local", 2) as where:
        assert isinstance(where, Local)
        workers = [where.threads.submit(where.in_worker, sleeping_pid) for _ in range(2)]
        assert len({one.result() for one in workers}) == 2


def sleeping_pid() -> int:
    time.sleep(1)  # so that the other worker takes the other call
    return os.getpid()


def test_who_was_begun_ahead_and_not_wanted_is_let_go_of() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with ahead("local", 2):
        while len(begun := {child.pid for child in psutil.Process().children(recursive=True)} - before) < 2:
            time.sleep(0.01)
    left = [child for child in psutil.Process().children(recursive=True) if child.pid in begun]
    assert not [child for child in left if "loky.backend.popen_loky" in " ".join(child.cmdline())]
    with place("serial", 1) as where:
        assert isinstance(where, Serial)
