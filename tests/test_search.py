"""`mlpexp sweep search=…` with real training: cohorts shared, lanes pruned, killed and shared searches, the report."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from optuna import Study
from optuna.trial import TrialState
from runs_fixtures import SMALL, command, composed, files_below

from mlpexp.browse.tables import load
from mlpexp.composition import CONFIG_NAME, compose
from mlpexp.config_files import loader
from mlpexp.results import Result, recorded
from mlpexp.runner import run
from mlpexp.search.command import room_of, train
from mlpexp.search.drive import RUNS
from mlpexp.search.request import Request
from mlpexp.search.studies import REASON, counted_trials
from mlpexp.tracking import Store

RATES = "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))"


def searched(outputs: Path, *words: str) -> Study:
    """A search in this process, driven to its end."""
    with loader() as files:
        request = Request.read(files, CONFIG_NAME, [*SMALL, f"outputs={outputs}", *words])
        study = request.open()
        assert train(request, study) == []
    return study


def test_proposals_of_one_shape_share_a_cohort_and_replicates_always_do(tmp_path: Path) -> None:
    searched(tmp_path, "search=random", RATES, "search.n_trials=6", "search.in_flight=3", "replicates=2")
    runs = list(recorded(tmp_path))
    assert len(runs) == 12
    assert {run.facts["lanes"] for run in runs} == {6}  # three trials of two seeds
    other = searched(tmp_path / "b", "search=random", "model.depth=range(1,9)", "search.n_trials=5", "replicates=2")
    assert len(other.trials) == 5
    assert all(one.facts["lanes"] % 2 == 0 for one in recorded(tmp_path / "b"))


def test_points_that_were_trained_before_cost_nothing(tmp_path: Path) -> None:
    swept = run([composed(f"model.depth={d}", "replicates=2", f"outputs={tmp_path}") for d in (1, 2, 3)], quiet=True)
    trained = {one.fingerprint: one.facts["started"] for one in swept}
    study = searched(tmp_path, "search=grid", "model.depth=range(1,5)", "replicates=2")
    assert len(study.trials) == 4
    found = {one.fingerprint: one.facts["started"] for one in recorded(tmp_path)}
    assert len(found) == 8
    assert trained.items() <= found.items()
    values = {one.params["model.depth"]: one.value for one in study.trials}
    for depth in (1, 2, 3):
        own = [one.scores["accuracy/validation"] for one in swept if one.config.model.depth == depth]
        assert values[depth] == sum(own) / 2


def test_a_diverged_seed_fails_its_trial(tmp_path: Path) -> None:
    words = ("optimizer=gradient_descent", "optimizer.learning_rate=0.1,1e30", "search=grid")
    study = searched(tmp_path, *words)
    states = {one.params["optimizer.learning_rate"]: one for one in study.trials}
    assert states[0.1].state is TrialState.COMPLETE
    assert states[1e30].state is TrialState.FAIL
    assert states[1e30].user_attrs[REASON].startswith("seed 0 diverged at step")


def test_hopeless_trials_stop_after_few_seeds(tmp_path: Path) -> None:
    """Wilcoxon: seeds come in rounds; a point that is worse on the first ones is not trained with the others."""
    words = ("search=grid", "search.pruner=wilcoxon", "replicates=8", "search.in_flight=1", "training.epochs=3")
    study = searched(tmp_path, *words, "optimizer.learning_rate=1e-2,1e-6,1e-5,2e-6")
    pruned = [one for one in study.trials if one.state is TrialState.PRUNED]
    complete = [one for one in study.trials if one.state is TrialState.COMPLETE]
    assert pruned
    for one in pruned:
        assert len(one.intermediate_values) < 8
        assert sum((tmp_path / "runs" / name).exists() for name in one.user_attrs[RUNS]) == len(one.intermediate_values)
    assert all(len(one.intermediate_values) == 8 for one in complete)


def test_pruned_lanes_leave_their_cohort_are_replaced_and_can_go_on(tmp_path: Path) -> None:
    words = ("executor=local", "executor.workers=1", "search=grid", "search.pruner=hyperband", "search.in_flight=4")
    rates = "optimizer.learning_rate=1e-2,1e-6,2e-6,1e-5,3e-6,5e-3,4e-6,5e-6"
    study = searched(tmp_path, *words, rates, "training.epochs=400", "model.width=32", "measurements=none")
    pruned = [one for one in study.trials if one.state is TrialState.PRUNED]
    assert pruned
    assert len(counted_trials(study)) == 8
    best = max((one for one in study.trials if one.value is not None), key=lambda one: one.value or 0)
    assert best.params["optimizer.learning_rate"] >= 5e-3
    # a worker that is ended while it writes one leaves a hidden folder, which whoever goes on removes
    left = [Result(folder) for folder in (tmp_path / "interrupted").glob("[!.]*")]
    assert {one.status for one in left} == {"pruned"}
    assert {one.fingerprint for one in left} <= {name for one in pruned for name in one.user_attrs[RUNS]}
    stops = [one.next_step for one in left]
    rate = f"optimizer.learning_rate={left[0].config.optimizer.learning_rate!r}"
    point = (rate, "training.epochs=400", "model.width=32", "measurements=none")
    (again,) = run(composed(*point, f"outputs={tmp_path}"), quiet=True)
    assert again.fingerprint == left[0].fingerprint
    assert again.facts["went_on_from_step"] == stops[0]
    assert 0 < min(stops) <= max(stops) < again.facts["last_step"]


# --- the command ---

WORDS = (
    "search=tpe", "model.depth=range(1,4)", "optimizer=choice(momentum,adam)", RATES, "executor=serial",
    "optimizer.momentum=interval(0.5,0.99)", "model.width=8", "training.epochs=2", "replicates=2", "search.n_trials=12",
    "search.fresh_seeds=3", "hydra.sweep.dir=found",
)  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a search of twelve trials, and what the command said."""
    folder = tmp_path_factory.mktemp("found")
    done = command("sweep", *WORDS, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_the_report_tells_how_many_points_were_tried_and_what_fresh_seeds_say(found: tuple[Path, str]) -> None:
    folder, said = found
    assert "12 points tried: 12 complete" in said
    assert "on the searched seeds" in said
    assert "on 3 fresh seeds" in said
    fresh = [one for one in recorded(folder / "outputs") if one.config.seed >= 2]
    assert {one.config.seed for one in fresh} == {2, 3, 4}
    assert "test scores are kept for the end" in said
    with open(folder / "found" / "report" / "trials.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["trial"] for row in rows] == [str(i) for i in range(12)]
    for row in rows:
        assert (row["optimizer.momentum"] == "") == (row["optimizer"] == "adam")
        runs = [Result(folder / "outputs" / "runs" / name) for name in row["fingerprints"].split()]
        own = [one.scores["accuracy/validation"] for one in runs]
        assert len(own) == 2
        assert float(row["accuracy/validation"]) == pytest.approx(sum(own) / 2)


def test_every_picture_is_there_interactive_and_still(found: tuple[Path, str]) -> None:
    report = found[0] / "found" / "report"
    pictures = {"history", "importances", "slice", "contour", "parallel_coordinates"}
    assert {file.stem for file in report.glob("*.png")} == pictures
    assert all(file.stat().st_size > 5000 for file in report.glob("*.png"))
    page = (report / "report.html").read_text()
    assert page.count('class="plotly-graph-div"') == len(pictures)
    assert 'src="http' not in page  # it opens without a network


def test_the_best_point_is_a_file_that_train_takes_as_it_is(found: tuple[Path, str]) -> None:
    folder, said = found
    best = folder / "found" / "best.yaml"
    assert yaml.safe_load(best.read_text())["replicates"] == 2
    line = next(line for line in said.splitlines() if line.startswith("the best point: mlpexp train"))
    done = command(*line.removeprefix("the best point: mlpexp ").split(), cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "recorded before, taken as they are: 2 of 2 runs" in done.stderr


def test_trials_and_runs_name_each_other(found: tuple[Path, str]) -> None:
    outputs = found[0] / "outputs"
    store = Store(compose([]).tracking, outputs)
    store.open()
    assert store.client is not None
    (sweep,) = (json.loads(file.read_text()) for file in (outputs / "sweeps").glob("*.json"))
    tag = f"mlpexp.trial.{sweep['sweep']}"
    runs = store.client.search_runs([store.experiment], f"tags.`{tag}` LIKE '%'")
    with open(found[0] / "found" / "report" / "trials.csv", newline="") as stream:
        expected = {(name, row["trial"]) for row in csv.DictReader(stream) for name in row["fingerprints"].split()}
    tagged = {(run.data.tags["mlpexp.fingerprint"], number) for run in runs for number in run.data.tags[tag].split()}
    assert tagged == expected
    (report,) = store.client.search_runs([store.experiment], f"tags.`mlpexp.search` = '{sweep['sweep']}'")
    files = {file.path for file in store.client.list_artifacts(report.info.run_id)}
    assert {"report.html", "history.png", "best.yaml", "trials.csv", "summary.txt"} <= files


def test_the_same_command_again_trains_nothing_and_a_larger_total_goes_on(found: tuple[Path, str]) -> None:
    folder = found[0]
    planned = command("sweep", *WORDS, "--plan", cwd=folder, timeout=300)
    assert "12 trials of 2 replicates, 12 done" in planned.stdout
    before = {one.fingerprint: one.facts["started"] for one in recorded(folder / "outputs")}
    more = [word.replace("n_trials=12", "n_trials=14") for word in WORDS]
    done = command("sweep", *more, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "14 points tried" in done.stdout
    after = {one.fingerprint: one.facts["started"] for one in recorded(folder / "outputs")}
    assert before.items() <= after.items()


def test_a_plan_writes_nothing(tmp_path: Path) -> None:
    done = command("sweep", *WORDS, "--plan", cwd=tmp_path, timeout=300)
    assert done.returncode == 0
    assert "maximize accuracy/validation" in done.stdout
    assert "model.depth: 1 to 3" in done.stdout
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sweep", "search=tpe"), "search has nothing to search"),
        (("sweep", "search=tpe", "model.depth=range(0,3)"), "model.depth must be at least 1, got 0"),
        (("sweep", "search=tpe", "model.depth=1,2", "search.maximize=accuracy/test"), "which chooses nothing"),
        (("sweep", "search=tpe", "model.depth=1,2", "tune.seed=[1,2]"), "both choose values; leave one"),
        (("sweep", "search=grid", RATES), "optimizer.learning_rate is an interval"),
        (("sweep", "search=tpe", "model.depth=1,2", "search.pruner=wilcoxon"), "give it at least 3"),
        (("sweep", "search=tpe", "model.depth=1,2", "search.pruner=median", "executor=serial"), "use executor=local"),
        (("sweep", "search=tpe", "model.depth=1,2", "search.pruner=median", "search.maximize=accuracy/train",
          "training.evaluate_train_every=null"), "tells it at the end alone; give it a number"),
        (("sweep", "search=tpe", "model.depth=1,2", "search.n_trails=3"), "did you mean search.n_trials?"),
        (("train", "search=tpe"), "search=tpe tries many points: mlpexp sweep search=… does"),
    ],
)  # fmt: skip
def test_a_search_that_makes_no_sense_is_refused_and_writes_nothing(
    words: tuple[str, ...],
    told: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlpexp.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLPEXP_OUTPUTS")
    assert main(words) == 2
    assert told in capfd.readouterr().err
    assert files_below(tmp_path) == []


def test_two_commands_share_a_search_and_one_goes_on_when_the_other_is_killed(tmp_path: Path) -> None:
    """kill -9 of a real driver in the middle; the other takes its trials over, and no run is trained twice."""
    words = ("search=random", RATES, "replicates=2", "model.width=8", "model.depth=2", "training.epochs=30",
             "search.n_trials=24", "search.in_flight=3", "search.fresh_seeds=0", "tracking=none",
             "executor=serial")  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key != "MLPEXP_OUTPUTS"}
    start = [sys.executable, "-m", "mlpexp", "sweep", *words]
    drivers = [
        subprocess.Popen(start, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "outputs" / "runs").glob("[!.]*/result.json"))) < 8:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    drivers[0].send_signal(signal.SIGKILL)
    drivers[0].wait()
    assert drivers[1].wait(timeout=120) == 0
    with open(next((tmp_path / "outputs").glob("hydra/*/*/report/trials.csv")), newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["state"] for row in rows] == ["complete"] * 24
    table = load(tmp_path / "outputs")
    assert len(table) == 48
    assert set(table["fingerprint"]) == {name for row in rows for name in row["fingerprints"].split()}


@pytest.mark.parametrize(
    ("workers", "trials", "room"), [(2, 200, 48), (2, 100, 25), (2, 10, 16), (8, 10_000, 192), (1, 40, 10)]
)
def test_a_search_keeps_a_share_of_its_trials_under_way_within_bounds_a_worker(
    workers: int, trials: int, room: int
) -> None:
    assert room_of(workers, trials) == room
