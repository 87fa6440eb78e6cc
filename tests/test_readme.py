"""The README's commands run as they stand there, and its tree is the tree."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from forks import forked

import mlpexp
from mlpexp.activation_schema import ACTIVATION_NAMES
from mlpexp.cli import main
from mlpexp.kernel.losses import LOSSES
from mlpexp.lineage.commands import CHAPTERS
from mlpexp.own_activations import check

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def environment(folder: Path) -> dict[str, str]:
    """Our commands on the path, outputs in a folder of the test."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "MLPEXP_OUTPUTS": str(folder / "outputs"), "COLUMNS": "80"}


def quick(line: str) -> str:
    """The same line, in the process that asks and without MLflow, which other tests wait for."""
    trains = re.match(r"mlpexp (train|sweep|study my_question) ", line)
    return f"{line} tracking=none executor=serial" if trains else line


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current one, with outputs of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLPEXP_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.mark.parametrize("command", [line for block in blocks("bash") for line in block.splitlines() if line])
def test_a_command_of_the_readme_runs(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(quick(command))[1:]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert list((folder / "outputs" / "runs").glob("*/result.json"))
    assert not command.startswith("mlpexp lineage") or list((folder / "outputs" / "lineage").glob("*/figure.pdf"))


def test_the_first_hour_goes_through(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mish.py").write_text(*blocks("py"))
    (folder / "turned.py").write_text(*blocks("py3"))
    (folder / "own_loop.py").write_text(*blocks("python3"))
    said = []
    for line in (line for block in blocks("shell") for line in block.splitlines()):
        program, *words = shlex.split(quick(line))
        if program == "mlpexp":
            assert main(words) == 0, line
        elif words[0] == "-c":
            exec(words[1], {})
        else:
            runpy.run_path(words[0], run_name="__main__")
        said.append(capsys.readouterr().out)
    train, sweep, runs, search, _, own_data, own_activation, own_measurement, _, shown, _, _, study = said
    assert "vanishing: δ shrinks ×0.3" in train
    assert "Δ best" in sweep
    assert runs.count("finished") == 6
    assert "6 points tried" in search
    assert "accuracy" in own_data
    assert "mish" in own_activation
    assert "turned: Cosine between −ΔW_l and the gradient of W_l" in own_measurement
    assert "turned [cosine]: Cosine between" in shown
    assert (folder / "own_loop.png").stat().st_size > 10_000
    assert "verdict: " in study
    assert (folder / "outputs" / "studies" / "my_question" / "smoke" / "my_question.png").exists()


def test_the_looks_of_the_readme_at_what_is_recorded_work_one_after_the_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = blocks("sh")
    said = {}
    for line in block.splitlines():
        written, _, file = quick(line).partition(" > ")
        _, name, *words = shlex.split(written)
        assert main([name, *words]) == 0, line
        told = capsys.readouterr().out
        if file:
            (folder / file).write_text(told)
        else:
            said[name] = told
    assert list(said) == ["sweep", "runs", "show", "compare", "pictures", "doctor", "clean"]
    assert max(len(line) for line in said["compare"].splitlines()) <= 80
    assert "of the signal of layer 4" in said["show"]
    assert "model.depth" in said["compare"]
    assert "nothing is left over" in said["clean"]
    assert (folder / "runs.csv").read_text().startswith("name,loss/test\nrelu-d")


def test_the_readme_lists_every_chapter_of_the_lineage() -> None:
    table = README.partition("## Lineage")[2].partition("```")[0]
    assert re.findall(r"^\| `(\w+)", table, re.M)[1:] == list(CHAPTERS)


@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block_of_the_readme_runs(block: str, tmp_path: Path) -> None:
    script = tmp_path / "notebook.py"
    script.write_text(block)
    done = forked([], tmp_path, environment(tmp_path), timeout=60, script=script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("finished 0.")
    assert "(35, 8)" in done.stdout


def test_the_activation_of_ones_own_in_the_readme_is_taken() -> None:
    (block,) = blocks("py")
    assert check("mish.py", block) == []


def test_the_readme_lists_every_activation() -> None:
    table = README.partition("## Activations")[2].partition("```")[0]
    assert [name for name in ACTIVATION_NAMES if f"`{name}`" not in table] == []


def test_the_readme_lists_every_loss() -> None:
    table = README.partition("## Losses")[2].partition("## Sweep")[0]
    sums = [name for name in LOSSES if not name.endswith("_mean")]
    assert [name for name in (*sums, "mse_mean", "cross_entropy_mean") if f"`{name}`" not in table] == []


def test_the_refusal_in_the_readme_is_what_is_said(tmp_path: Path) -> None:
    (block,) = blocks("console")
    command, *expected = block.strip().splitlines()
    done = subprocess.run(
        command.removeprefix("$ "), shell=True, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == expected


def test_the_tree_in_the_readme_names_what_exists() -> None:
    places = re.findall(r"^\| (`.*?) \|", README.partition("## The tree")[2], re.M)
    folder = ""
    for name in (name for cell in places for name in re.findall(r"`([^`]+)`", cell)):
        folder = name.rpartition("/")[0] if "/" in name else folder
        place = ROOT / (name if "/" in name else f"{folder}/{name}")
        assert place.exists(), f"README names {name}, but {place.name} does not exist"


def test_the_demo_tells_vanishing_from_passing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an epoch: what it tells of signals is of the networks before training."""
    whole = mlpexp.compose
    sooner = ("training.epochs=1", "tracking=none", "executor=serial")
    monkeypatch.setattr(mlpexp, "compose", lambda words: whole([*words, *sooner]))
    runpy.run_path(str(ROOT / "experiments" / "first_look" / "demo.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "sigmoid, glorot: vanishing: δ shrinks ×0.238 a layer (theory ×0.239)" in said
    assert "relu, he: critical: δ keeps its length, ×0.99" in said
    assert (folder / "outputs" / "figures" / "first_look.png").stat().st_size > 10_000
