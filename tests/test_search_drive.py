"""Ask, run, tell: each sampler finds a known optimum, nobody waits for a batch, what died goes on, processes share."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState
from search_fixtures import BASE, MOMENTUM, RATE, Computed, Formula, asked, driven, loss, space, study_of
from servers import postgres

from mlpexp.config import Config
from mlpexp.refusals import ConfigError
from mlpexp.search.drive import ranking
from mlpexp.search.goals import Goals
from mlpexp.search.studies import AGAIN, REASON, Direction, counted_trials

PROGRAM = Path(__file__).with_name("search_fixtures.py")
COARSE = (*BASE, f"{RATE}=0.1,0.01,0.001", f"{MOMENTUM}=range(0.7,0.95,0.1)", "model.depth=range(3,6)")


def goals(search: Any) -> Goals:
    return Goals.of(search, "multiclass")


@pytest.mark.parametrize(
    ("name", "trials", "within"),
    [
        ("tpe", 60, 0.25),
        ("gp", 20, 0.25),
        ("cmaes", 80, 0.25),
        ("random", 80, 0.7),
        ("qmc", 64, 0.7),
        ("nsga2", 150, 0.5),
    ],
)
def test_a_sampler_finds_the_bottom_of_a_valley(name: str, trials: int, within: float, tmp_path: Path) -> None:
    study = driven(asked(name, trials), tmp_path, storage=InMemoryStorage())
    assert len(study.trials) == trials
    assert name == "nsga2" or len({str(one.params) for one in study.trials}) == trials  # there, parents may stay
    assert study.best_value < within
    assert study.best_value == loss(space().composer.config(space().overrides(lambda d: study.best_params[d.key])[0]))


def test_a_grid_tries_every_point_once_and_has_the_best_of_them(tmp_path: Path) -> None:
    found = space(COARSE)
    study = driven(asked("grid", found.count(1000)), tmp_path, words=COARSE, storage=InMemoryStorage())
    assert sorted(map(str, (one.params for one in study.trials))) == sorted(
        str({**point, MOMENTUM: min((0.7, 0.8, 0.9), key=lambda m: abs(m - float(point[MOMENTUM] or 0)))})
        for point in found.points()
    )
    assert len(study.trials) == 27
    assert study.best_params == {RATE: 0.01, MOMENTUM: pytest.approx(0.8), "model.depth": 4}


def test_several_objectives_end_in_their_pareto_front(tmp_path: Path) -> None:
    """Depth costs parameters, and is good for the loss: every depth from 1 to 4 is on the front, none beyond."""

    def of(config: Config) -> Computed:
        depth = config.model.depth
        return Computed(config, {"loss/validation": (depth - 4.0) ** 2}, facts={"parameters": depth})

    search = asked("nsga2", 40, minimize=["loss/validation", "parameters"])
    study = driven(search, tmp_path, Formula(of), words=(*BASE, "model.depth=range(1,9)"), storage=InMemoryStorage())
    assert {one.params["model.depth"] for one in ranking(study, goals(search))} == {1, 2, 3, 4}


def test_a_constraint_keeps_the_best_out(tmp_path: Path) -> None:
    def of(config: Config) -> Computed:
        return Computed(config, {"loss/validation": loss(config)}, facts={"parameters": config.model.depth})

    search = asked("tpe", 40, constraints=["parameters >= 6"])
    study = driven(search, tmp_path, Formula(of), storage=InMemoryStorage())
    best = ranking(study, goals(search))[0]
    assert best.params["model.depth"] >= 6
    assert best.number == study.best_trial.number
    late = [one.params["model.depth"] for one in study.trials[20:]]
    assert sum(depth >= 6 for depth in late) > len(late) / 2  # the sampler knows


def test_another_trial_is_asked_as_soon_as_one_has_ended(tmp_path: Path) -> None:
    place = Formula()
    study = driven(asked("random", 9), tmp_path, place, room=3)
    assert place.most_waiting == 3
    begun = [one.datetime_start for one in study.trials]
    first, second = (one.datetime_complete for one in study.trials[:2])
    assert begun[3] is not None
    assert first is not None
    assert second is not None
    assert first <= begun[3] <= second


def test_a_diverged_trial_failed_with_its_reason_and_has_no_value(tmp_path: Path) -> None:
    def of(config: Config) -> Computed | float:
        value = loss(config)
        return Computed(config, {}, status="diverged") if value > 1 else float("inf") if value > 0.8 else value

    study = driven(asked("random", 40), tmp_path, Formula(of), storage=InMemoryStorage())
    failed = [one for one in study.trials if one.state is TrialState.FAIL]
    assert {one.user_attrs[REASON] for one in failed} == {
        "seed 0 diverged at step 7", "loss/validation of seed 0 is inf",
    }  # fmt: skip
    assert all(one.values is None for one in failed)
    assert len(counted_trials(study)) == 40  # a diverged point was tried


def test_a_point_that_is_refused_is_a_failed_trial_and_not_the_end(tmp_path: Path) -> None:
    words = (*BASE, "model.depth=range(1,4)", "model.dropout=interval(0.1,0.5)")
    study = driven(asked("random", 12), tmp_path, words=words)
    reasons = {one.params["model.depth"]: one.user_attrs.get(REASON, "") for one in study.trials}
    assert "refused: model.dropout=" in reasons[1]
    assert reasons[2] == reasons[3] == ""


def test_trials_are_a_total_and_proposals_do_not_depend_on_stops(tmp_path: Path) -> None:
    first = driven(asked("tpe", 15), tmp_path / "a", room=1)
    again = driven(asked("tpe", 25), tmp_path / "a", room=1)
    at_once = driven(asked("tpe", 25), tmp_path / "b", room=1)
    assert len(first.trials) == 25  # the same study
    assert [one.params for one in again.trials] == [one.params for one in at_once.trials]
    assert len({str(one.params) for one in again.trials}) == 25


def test_a_study_of_another_space_keeps_its_name(tmp_path: Path) -> None:
    search = asked("random", 2)
    study_of(search, tmp_path).set_user_attr("mlpexp.space", "another")
    with pytest.raises(ConfigError, match=r"the study study searches something else; .* search\.study=NAME"):
        study_of(search, tmp_path)


@pytest.mark.parametrize("directions", [["minimize", "minimize"], ["maximize"]])
def test_a_study_that_someone_else_made_for_other_objectives_is_refused_and_left_as_it_was(
    directions: list[Direction], tmp_path: Path
) -> None:
    storage = InMemoryStorage()
    foreign = optuna.create_study(storage=storage, study_name="study", directions=directions)
    with pytest.raises(ConfigError, match=r"the study study searches something else; .* search\.study=NAME"):
        study_of(asked("random", 2), tmp_path, storage=storage)
    assert (foreign.user_attrs, foreign.metric_names) == ({}, None)


def started(storage: str, outputs: Path, trials: int, seconds: float) -> subprocess.Popen[bytes]:
    words = [sys.executable, str(PROGRAM), storage, str(outputs), str(trials), str(seconds)]
    return subprocess.Popen(words)


def trials_of(storage: str, outputs: Path) -> list[FrozenTrial]:
    study = study_of(asked("random", 1, storage=None if storage == "journal" else storage), outputs)
    return study.get_trials(deepcopy=False)


def check_a_killed_search_goes_on(storage: str, outputs: Path) -> None:
    """kill -9 in the middle: what ran is failed and queued again with its values, the total is kept to."""
    process = started(storage, outputs, 12, 0.3)
    deadline = time.monotonic() + 60
    while sum(one.state is TrialState.COMPLETE for one in trials_of(storage, outputs)) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = trials_of(storage, outputs)
    running = {one.number: one.params for one in left if one.state is TrialState.RUNNING}
    assert running
    study = driven(asked("random", 12, storage=None if storage == "journal" else storage), outputs)
    known = {one.number: one for one in study.trials}
    again = {one.user_attrs[AGAIN]: one for one in study.trials if AGAIN in one.user_attrs}
    for number, params in running.items():
        assert known[number].state is TrialState.FAIL
        if not params:  # killed before it had a value: there is nothing to queue
            assert number not in again
            continue
        assert again[number].state is TrialState.COMPLETE
        assert params.items() <= again[number].params.items()  # it may have been killed while it asked
    check_all_told_once(study, 12)


def check_all_told_once(study: Study, trials: int) -> None:
    complete = [one for one in study.trials if one.state is TrialState.COMPLETE]
    assert len(complete) == len(counted_trials(study)) == trials
    assert len({str(one.params) for one in complete}) == trials


def check_two_processes_share_a_study(storage: str, outputs: Path) -> None:
    processes = [started(storage, outputs, 30, 0.05) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    study = study_of(asked("random", 1, storage=None if storage == "journal" else storage), outputs)
    check_all_told_once(study, 30)
    assert len({one.user_attrs["mlpexp.owner"]["pid"] for one in study.trials}) == 2


def test_a_killed_search_goes_on_from_its_journal(tmp_path: Path) -> None:
    check_a_killed_search_goes_on("journal", tmp_path)


def test_two_processes_share_a_journal(tmp_path: Path) -> None:
    check_two_processes_share_a_study("journal", tmp_path)


def test_postgresql_keeps_studies_for_killed_and_for_several_processes(tmp_path: Path) -> None:
    with postgres() as uri:
        check_two_processes_share_a_study(uri, tmp_path)
        optuna.delete_study(study_name="study", storage=uri)
        check_a_killed_search_goes_on(uri, tmp_path)


def test_a_storage_that_is_away_is_refused_without_its_password(tmp_path: Path) -> None:
    uri = "postgresql+psycopg2://me:secret@127.0.0.1:1/none"
    with pytest.raises(ConfigError, match=r"search\.storage=postgresql\+psycopg2://me:\*\*\*@") as refused:
        study_of(asked("random", 1, storage=uri), tmp_path)
    assert "secret" not in str(refused.value)
