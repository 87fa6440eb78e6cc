"""What a person sees: plain and narrow in a pipe, one line a fact."""

import io
import re

import pytest
from rich.console import Console
from runs_fixtures import SILENT, composed, trained

from mlpexp.display import Display
from mlpexp.results import Result
from mlpexp.score_tables import show_places, show_profiles, show_scores

COLUMNS = 80


def console() -> Console:
    """A console whose output goes into a file, as a pipe's does."""
    return Console(file=io.StringIO(), width=COLUMNS)


def shown(*results: Result) -> str:
    where = console()
    show_scores(results, where)
    show_profiles(results, where)
    assert isinstance(where.file, io.StringIO)
    return where.file.getvalue()


def tables(text: str) -> list[str]:
    """Lines of tables; sentences may be longer, the terminal wraps them."""
    return [line for line in text.splitlines() if "receive" not in line]


DIVERGED = ("optimizer=gradient_descent", "optimizer.learning_rate=1e20")
POINTS = {
    "one": [()],
    "seeds": [("replicates=3",)],
    "several": [
        ("replicates=2",),
        ("model.depth=5", "initialisation=glorot"),
        ("model.activation=leaky_relu", *DIVERGED),
    ],
    "many": [(f"model.depth={depth}", "optimizer=momentum", f"model.width={depth}") for depth in range(2, 9)],
    "diverged": [DIVERGED],
    "regression": [("data=diabetes",)],
    "single layer": [("model.depth=1",)],
    "not measured": [("measurements=none", "seed=79")],
    "no signal": [SILENT],
    "not finite": [("initialisation=normal", "initialisation.sigma_w=1e30", "model.depth=4")],
    "no signal beside others": [SILENT, ()],
    "no validation": [("data.split.validation=0", "training.restore=final")],
}


@pytest.mark.parametrize("points", POINTS.values(), ids=POINTS)
def test_piped_output_is_plain_and_fits_eighty_columns(points: list[tuple[str, ...]]) -> None:
    text = shown(*[result for point in points for result in trained(*point)])
    assert text.strip()
    assert "\x1b" not in text
    assert [line for line in tables(text) if len(line) > COLUMNS] == []


def test_seeds_come_as_mean_and_interval_and_it_is_said_over_what() -> None:
    text = shown(*trained("replicates=3"))
    assert re.search(r"^test +0\.\d+ ± 0\.\d+ +\d\.\d+ ± \d\.\d+", text, re.MULTILINE)
    assert "mean and 95 % interval over 3 training seeds at a fixed split (Student's t)" in text
    assert "interval" not in shown(*trained())


def test_points_with_other_numbers_of_seeds_are_told_so() -> None:
    text = shown(*trained("replicates=3"), *trained("model.depth=3", "replicates=2"))
    assert "3 training seeds" not in text or "2" in re.findall(r"over (.*) training seeds", text)[0]


def test_a_profile_has_a_bar_a_layer_and_a_sentence() -> None:
    (result,) = trained("model.depth=5")
    text = shown(result)
    bars = re.findall(r"^ +(\d) (█+)", text, re.MULTILINE)
    assert [int(layer) for layer, _ in bars] == [1, 2, 3, 4, 5]
    assert "of the signal of layer 5" in text


def test_longer_bars_are_larger_signals() -> None:
    (result,) = trained("model.depth=5", "model.activation=sigmoid", "initialisation=glorot")
    lengths = [len(bar) for _, bar in re.findall(r"^ +(\d) (█+)", shown(result), re.MULTILINE)]
    deltas = result.record["delta_norm"][0]
    assert sorted(range(5), key=lambda l: (lengths[l], deltas[l])) == sorted(range(5), key=lambda l: deltas[l])


def test_places_name_the_folder_and_the_dashboard_where_there_is_one() -> None:
    (result,) = trained()
    for overrides, dashboard in ((("tracking=none",), False), (("tracking=mlflow",), True)):
        where = console()
        show_places([result], composed(*overrides), where)
        assert isinstance(where.file, io.StringIO)
        text = where.file.getvalue()
        assert str(result.folder) in text
        assert ("mlpexp ui" in text) is dashboard


def test_progress_in_a_pipe_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    now = 100.0
    monkeypatch.setattr("mlpexp.display.time.monotonic", lambda: now)
    with Display(runs=5, to_train=3) as display:
        display.console = Console(file=text, width=COLUMNS)
        display.start(run_steps=3000, cohorts=2, workers=1)
        for now in range(100, 125):
            display.progress(int(now - 100) * 100, running=2)
        display.finished(3)
    lines = text.getvalue().splitlines()
    assert lines[0] == "training 3 networks in 2 cohorts on 1 process"
    assert lines[1:-1] == [
        "0 runs done, 2 running, 1 to do; 1,000 of 3,000 run-steps, 100/s, about 20 s left",
        "0 runs done, 2 running, 1 to do; 2,000 of 3,000 run-steps, 100/s, about 10 s left",
    ]
    assert lines[-1].startswith("trained 3 networks in 24.0 s")
    assert "\x1b" not in text.getvalue()


def test_a_terminal_shows_counts_speed_time_left_and_the_best_point_live() -> None:
    """What is on the screen just before the end, as a terminal would draw it."""
    runs = trained("replicates=2")
    text = io.StringIO()
    with Display(runs=5, to_train=5) as display:
        display.console = Console(file=text, width=100, force_terminal=True, color_system=None)
        display.start(run_steps=3000, cohorts=2, workers=1)
        display.finished(2)
        display.scored(runs)
        display.failed("one failed")
        display.progress(1000, running=1)
        assert display.live is not None
        display.live.refresh()
    screen = text.getvalue()
    assert re.search(r"2 runs done, 1 running, 1 to do, 1 failed .*1000/3000 .*/s +\S+ left", screen)
    best = max(runs[0].scores["accuracy/validation"], sum(r.scores["accuracy/validation"] for r in runs) / 2)
    assert f"best accuracy on validation {best:.4g}: relu-d2-w8-he-adam" in screen


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    trained("seed=40")
    assert capsys.readouterr() == ("", "")


def test_known_runs_are_said_to_be_taken_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(runs=5, to_train=3):
        pass
    assert "recorded before, taken as they are: 2 of 5 runs" in capsys.readouterr().err
