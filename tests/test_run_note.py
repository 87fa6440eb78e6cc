"""What a run's page in MLflow says first."""

import re

import pytest
from runs_fixtures import composed, trained

from mlpexp.results import Result
from mlpexp.run_note import EXPERIMENT, PICTURE, RUN, filled, note_of, search_note
from mlpexp.runner import run

VERDICT = "fading: δ shrinks ×0.5 a layer"
DIVERGED = ("optimizer=gradient_descent", "optimizer.learning_rate=1e18", "training.loss=mse", "model.depth=3")


@pytest.fixture(scope="module")
def one() -> Result:
    return trained("model.depth=3")[0]


def test_a_note_begins_with_the_ending_and_the_signal(one: Result) -> None:
    first = note_of(one, VERDICT).splitlines()[0]
    assert first.startswith(f"**finished** after {one.spent['updates']} updates (")
    assert first.endswith(f": {VERDICT}.")


def test_a_note_tells_every_score_of_the_restored_weights(one: Result) -> None:
    (row,) = (line for line in note_of(one, VERDICT).splitlines() if line.startswith("| accuracy"))
    told = [float(cell) for cell in row.split("|")[2:-1]]
    names = ("accuracy/train", "accuracy/validation", "accuracy/test", "gap/accuracy")
    assert told == pytest.approx([one.scores[name] for name in names], abs=5e-5)


def test_a_note_has_the_command_that_repeats_the_run(one: Result) -> None:
    note = note_of(one, VERDICT)
    assert f"`mlpexp reproduce {one.fingerprint}`" in note
    (command,) = re.findall(r"`mlpexp train (.+) rerun=true`", note)
    (again,) = run(composed(*(word for word in command.split() if not word.startswith("outputs"))), quiet=True)
    assert again.fingerprint == one.fingerprint


def test_links_lead_to_the_sweep_the_point_and_the_picture(one: Result) -> None:
    (one.folder / PICTURE).write_bytes(b"png")
    note = filled(note_of(one, VERDICT, ["3fa2", "another"]), "7", "abc")
    assert EXPERIMENT not in note
    assert RUN not in note
    links = dict(re.findall(r"\[(.+?)\]\((.+?)\)", note))
    assert links["their gradient flow"].startswith(f"#/experiments/7/runs/abc/artifacts/{PICTURE}")
    assert "viewStateShareKey=curves-another" in links["curves"]
    assert one.config.point() in links["all seeds of its point"]
    assert all("workflowType=machine_learning" in link for link in links.values())
    assert "study" not in note


def test_a_run_of_a_study_leads_to_its_verdicts(one: Result) -> None:
    config = composed("model.depth=3", "tracking.experiment=optimizers")
    note = note_of(Result(one.folder).asked_for(config), VERDICT, ["optimizers-quick"])
    assert "- study optimizers: [figure and verdicts](" in note


def test_a_diverged_run_says_where_and_has_no_scores() -> None:
    (run,) = trained(*DIVERGED)
    note = note_of(run, VERDICT)
    assert note.startswith(f"**diverged at step {run.facts['diverged_at_step']}**")
    assert "| accuracy" not in note


def test_a_search_leads_to_its_report_first_and_tells_what_came_out() -> None:
    files = ["best.yaml", "history.png", "parallel_coordinates.png", "report.html", "summary.txt"]
    note = filled(search_note("tpe-3fa2", files, "6 points tried: 6 complete\ntrial 5: 0.93\n"), "7", "abc")
    links = re.findall(r"\[(.+?)\]\((.+?)\)", note)
    assert [text for text, _ in links[:3]] == ["report", "history", "parallel coordinates"]
    assert links[0][1].startswith("#/experiments/7/runs/abc/artifacts/report.html?")
    assert "viewStateShareKey=compare-tpe-3fa2" in dict(links)["compare"]
    assert note.endswith("\n- 6 points tried: 6 complete\n- trial 5: 0.93\n")
