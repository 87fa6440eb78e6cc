"""The commands: help at once, exit codes, plain output in pipes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from runs_fixtures import SMALL, command, files_below

from mlpexp.cli import main

HEAVY = ("torch", "mlflow", "sklearn", "matplotlib", "pandas", "pyarrow", "scipy")


@pytest.mark.parametrize(
    "words",
    [
        *([], ["--help"], ["train", "--help"], ["reproduce", "--help"], ["ui", "--help"]),
        *(["lineage"], ["lineage", "road", "--help"], ["study", "--help"]),
        *(["runs", "--help"], ["show", "--help"], ["doctor", "--help"], ["completion", "bash"]),
    ],
)
def test_help_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    program = (
        "import sys\nfrom mlpexp.cli import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules], code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED [] 0"
    assert "mlpexp" in done.stdout.splitlines()[0]
    assert files_below(tmp_path) == []


def test_help_names_every_command() -> None:
    done = subprocess.run([sys.executable, "-m", "mlpexp", "--help"], capture_output=True, text=True, check=True)
    named = set(re.findall(r"^    (\w+)", done.stdout, re.MULTILINE))
    assert {"train", "sweep", "study", "reproduce", "data", "lineage", "ui"} <= named
    assert {"runs", "show", "compare", "doctor", "clean", "completion"} <= named
    assert "complete" not in named  # which shells ask, not people


def test_trains_help_lists_groups_and_keys(tmp_path: Path) -> None:
    done = command("train", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "== optimizer=adam ==   of adam, adamw, gradient_descent, momentum" in done.stdout
    assert re.search(r"^ +activation: relu", done.stdout, re.MULTILINE)


def test_a_run_ends_with_zero_and_plain_output(tmp_path: Path) -> None:
    done = command("train", *SMALL, "replicates=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "2 training seeds" in done.stdout
    assert "of the signal of layer 2" in done.stdout
    assert "training 2 networks" in done.stderr
    assert len(list((tmp_path / "outputs" / "runs").iterdir())) == 2
    again = command("train", *SMALL, "replicates=2", cwd=tmp_path)
    assert again.returncode == 0
    assert "recorded before, taken as they are: 2 of 2 runs" in again.stderr
    assert again.stdout == done.stdout


def test_a_diverged_run_is_a_result_and_no_failure(tmp_path: Path) -> None:
    done = command("train", *SMALL, "optimizer=momentum", "optimizer.learning_rate=1e20", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "diverged" in done.stdout


def test_a_failed_run_ends_with_one_and_its_reason(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "runs").write_text("in the way of the folder")
    done = command("train", *SMALL, cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(r"^mlpexp: [0-9a-f]{16} failed: ", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["model.depth=0"], 2),
        (["--cfg", "job"], 0),
        (["--cfg", "job", "model.dept=3"], 2),
        (["--info", "searchpath"], 0),
    ],
)
def test_train_ends_with_two_for_a_refused_config(words: list[str], code: int, tmp_path: Path) -> None:
    done = command("train", *words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert ("mlpexp: " in done.stderr) is (code == 2)
    assert files_below(tmp_path) == []


def test_a_grid_trains_every_point(tmp_path: Path) -> None:
    done = command("train", "-m", *SMALL, "training.epochs=0", "model.depth=1,2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "outputs" / "runs").iterdir())) == 2


def test_an_unknown_command_ends_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["trian"])
    assert end.value.code == 2
    assert "trian" in capsys.readouterr().err


def test_the_dashboard_of_nothing_is_refused_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ui", "--outputs", str(tmp_path)]) == 2
    assert "does not exist; train something first: mlpexp train" in capsys.readouterr().err


def test_the_installed_command_is_the_module(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("mlpexp")
    done = subprocess.run([str(script), "--help"], capture_output=True, text=True, check=True)
    assert done.stdout == command("--help", cwd=tmp_path).stdout


@pytest.mark.parametrize(("words", "code"), [(["lineage"], 0), (["show", "nothing"], 2), (["nonsense"], 2)])
def test_a_process_of_its_own_has_the_exit_code_of_its_command(words: list[str], code: int, tmp_path: Path) -> None:
    program = "import gc, sys\nfrom mlpexp.cli import program\ntry:\n    code = program()\nfinally:\n"
    program += "    print('FROZEN', gc.get_freeze_count() > 0)\nsys.exit(code)"
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (code, "FROZEN True")
    assert "Traceback" not in done.stderr
