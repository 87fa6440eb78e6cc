"""doctor, clean and completion: what is wrong is told, what is left over goes, records stay."""

import io
import json
import os
import re
import select
import shutil
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from runs_fixtures import composed, files_below

from mlpexp.browse import doctor
from mlpexp.browse.completion import offers
from mlpexp.browse.leftovers import QUIET_SECONDS, leftovers, remove
from mlpexp.cli import main
from mlpexp.journal import CHECKPOINT
from mlpexp.leases import identity
from mlpexp.runner import run

DEAD = 2**22 + 1
"""No process has such a number: Linux counts to 2²² at most."""


@pytest.fixture(scope="module")
def trained_outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    run(composed(f"outputs={folder}"), quiet=True)
    return folder


@pytest.fixture
def outputs(trained_outputs: Path, tmp_path: Path) -> Path:
    """One recorded run, and some of everything that dead processes leave."""
    folder = tmp_path / "outputs"
    shutil.copytree(trained_outputs, folder)
    (run_folder,) = (folder / "runs").iterdir()
    lease = {"host": os.uname().nodename, "pid": DEAD, "started": 0.0}
    (folder / "leases").mkdir(exist_ok=True)
    (folder / "leases" / "dead").write_text(json.dumps(lease))
    (folder / "leases" / "alive").write_text(json.dumps(identity()))
    (folder / "runs" / f".0123456789abcdef.{DEAD}").mkdir()
    for name in (f"runs/.0123456789abcdef.{DEAD}/half", f"{run_folder.relative_to(folder)}/.picture.png.{DEAD}"):
        (folder / name).write_text("half")
    (folder / "runs" / f".fresh.{DEAD}").write_text("of a writer on another machine")
    (folder / "runs" / f".alive.{os.getpid()}").write_text("being written")
    (folder / "hydra" / "day" / "empty").mkdir(parents=True)
    (folder / "hydra" / "day" / "full").mkdir()
    (folder / "hydra" / "day" / "full" / "sweep.json").write_text("{}")
    past = time.time() - 2 * QUIET_SECONDS
    for path in folder.rglob("*"):
        if path.name != f".fresh.{DEAD}":
            os.utime(path, (past, past))
    return folder


def names(outputs: Path, checkpoints: bool = False) -> set[str]:
    return {one.path.relative_to(outputs).as_posix() for one in leftovers(outputs, checkpoints)}


def test_leftovers_are_what_dead_processes_left(outputs: Path) -> None:
    (record,) = (folder for folder in (outputs / "runs").iterdir() if not folder.name.startswith("."))
    expected = {"leases/dead", f"runs/.0123456789abcdef.{DEAD}", f"runs/{record.name}/.picture.png.{DEAD}"}
    assert names(outputs) == expected | {"hydra/day/empty"}
    assert names(outputs, checkpoints=True) == expected | {"hydra/day/empty", f"runs/{record.name}/{CHECKPOINT}"}


def test_cleaning_removes_what_was_shown_and_nothing_else(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(files_below(outputs))
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert main(["clean", "--outputs", str(outputs)]) == 1
    assert set(files_below(outputs)) == before
    shown = names(outputs)
    assert main(["clean", "--yes", "--outputs", str(outputs)]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in shown)
    gone = before - set(files_below(outputs))
    assert gone == shown | {f"runs/.0123456789abcdef.{DEAD}/half"}
    assert main(["clean", "--outputs", str(outputs)]) == 0
    assert "nothing is left over" in capsys.readouterr().out


def test_a_lease_that_was_taken_since_stays(outputs: Path) -> None:
    found = list(leftovers(outputs))
    (outputs / "leases" / "dead").write_text(json.dumps(identity()))
    remove(found, outputs)
    assert (outputs / "leases" / "dead").exists()


# --- doctor ---


def told(outputs: Path, what: str) -> list[tuple[str, str]]:
    recorded = doctor.rows(outputs)
    found = {
        "tracking": lambda: doctor.tracking(outputs, recorded),
        "records": lambda: doctor.records(recorded, outputs),
        "remains": lambda: doctor.remains(outputs),
        "disk": lambda: doctor.disk(outputs),
    }[what]()
    return [(one.state, one.found) for one in found]


def test_the_doctor_finds_nothing_broken_here(
    trained_outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["doctor", "--outputs", str(trained_outputs)]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if len(line) > 80 and "/" not in line] == []  # paths are not broken
    text = " ".join(said.split())
    assert "misaligned products have the bits of aligned ones" in text
    assert "1 finished runs can be read" in text
    assert "were trained on others" not in text


def test_the_doctor_says_what_is_left_over_and_who_clears_it(outputs: Path) -> None:
    found = told(outputs, "remains")
    assert ("ok", "1 runs are being trained now") in found
    assert ("warning", "leases of dead processes: 1; mlpexp clean removes them") in found


def test_a_damaged_record_is_broken_and_ends_with_one(outputs: Path) -> None:
    (record,) = (folder for folder in (outputs / "runs").iterdir() if not folder.name.startswith("."))
    (record / "result.json").write_text("{half")
    assert told(outputs, "records")[0][0] == "broken"
    assert main(["doctor", "--outputs", str(outputs)]) == 1


def test_the_state_of_the_tracking_database_is_told(outputs: Path) -> None:
    database = outputs / "mlflow.db"
    assert [state for state, _ in told(outputs, "tracking")] == ["ok", "warning"]
    database.write_bytes(b"no database " * 1000)
    assert told(outputs, "tracking")[0][0] == "broken"
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE runs (a)")
        connection.execute("INSERT INTO runs VALUES (1)")
    connection.close()
    assert told(outputs, "tracking")[0] == ("ok", f"{database} answers, 1 runs")


def test_a_folder_that_is_a_file_is_broken(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("in the way")
    assert told(tmp_path / "outputs", "disk")[0][0] == "broken"


def test_a_library_that_is_too_old_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "requires", lambda name: ["numpy>=99", "nothing-of-this-name>=1", "rich>=1"])
    found = [(one.state, one.found) for one in doctor.libraries() if one.state != "optional"]
    assert [state for state, _ in found] == ["broken", "broken"]
    assert "is not >=99" in found[0][1]
    assert "is not installed" in found[1][1]


def test_an_installation_without_the_start_page_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    announced = [EntryPoint("mlpexp", "mlpexp.dashboard_app:app", "mlflow.app")]
    for found, warned in ((announced, False), ([], True)):
        monkeypatch.setattr("mlpexp.dashboard.entry_points", lambda group, found=found: found)
        assert [(one.state, "pip install it again" in one.found) for one in doctor.start_page()] == (
            [("warning", True)] if warned else []
        )


# --- completion ---


@pytest.mark.parametrize(
    ("before", "word", "expected"),
    [
        ([], "s", {"show", "study", "sweep", "sync"}),
        (["train"], "optimizer=ad", {"optimizer=adam", "optimizer=adamw"}),
        (["train", "optimizer=momentum"], "optimizer.nest", {"optimizer.nesterov="}),
        (["sweep", "model.depth=2,4"], "model.act", {"model.activation=", "model.activation_sources="}),
        (["sweep"], "--p", {"--plan"}),
        (["train"], "model.activation=soft", {"model.activation=softplus", "model.activation=softsign"}),
        (["sweep"], "model.activation=tanh,sel", {"model.activation=tanh,selu"}),
        (["train"], "model.batch_norm=", {f"model.batch_norm={word}" for word in ("after", "before", "null")}),
        (["train"], "rerun=", {"rerun=true", "rerun=false"}),
        (["train", "no.such=1"], "model.depth", set()),
        (["study"], "van", {"vanishing_gradients"}),
        (["study"], "--fig", {"--figure-only"}),
        (["runs"], "--so", {"--sort"}),
        (["runs"], "status", {"status="}),
        (["data"], "dig", {"digits"}),
        (["measurements"], "sharp", {"sharpness"}),
        (["train"], "measurements.quantities=sharp", {"measurements.quantities=sharpness"}),
        (["lineage"], "ro", {"road"}),
        (["completion"], "", {"bash", "zsh"}),
    ],
)
def test_a_word_may_become(
    before: list[str], word: str, expected: set[str], trained_outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLPEXP_OUTPUTS", str(trained_outputs))
    assert set(offers(before, word)) == expected


def test_bash_completes_in_place(trained_outputs: Path) -> None:
    (name,) = (folder.name for folder in (trained_outputs / "runs").iterdir() if not folder.name.startswith("."))
    script = (
        'eval "$(mlpexp completion bash)"\n'
        'try() { COMP_LINE=$1 COMP_POINT=${#1}; _mlpexp 2>/dev/null; printf "%s\\n" "${COMPREPLY[*]}"; }\n'
        f'try "mlpexp show {name[:4]}"; try "mlpexp train optimizer=nest"; try "mlpexp comp"\n'
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": path, "MLPEXP_OUTPUTS": str(trained_outputs)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == [name, "nesterov", "compare completion"], done.stderr


ZSH_SESSION = r"""
unsetopt zle_bracketed_paste prompt_cr prompt_sp; PS1=; RPS1=; LISTMAX=0
autoload -Uz compinit; compinit -u -D
eval "$(mlpexp completion zsh)"
show() { print -r -- "<$BUFFER>"; BUFFER= }
zle -N show; bindkey '^X' show
print ready
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed: apt-get install zsh")
def test_zsh_completes_in_place(trained_outputs: Path, tmp_path: Path) -> None:
    (name,) = (folder.name for folder in (trained_outputs / "runs").iterdir() if not folder.name.startswith("."))
    typed = {
        "comple": "mlpexp completion ",
        "train model.dep": "mlpexp train model.depth=",
        "sweep model.activation=tanh,lea": "mlpexp sweep model.activation=tanh,leaky_relu ",
        "train optimizer=momentum optimizer.nest": "mlpexp train optimizer=momentum optimizer.nesterov=",
        f"show {name[:4]}": f"mlpexp show {name} ",
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "MLPEXP_OUTPUTS": str(trained_outputs), "TERM": "dumb", "ZDOTDIR": str(tmp_path)}
    main, terminal = os.openpty()
    zsh = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=terminal, stdout=terminal, stderr=terminal, env={**os.environ, **own},
        start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    said = ""

    def wait_for(pattern: str) -> str:
        nonlocal said
        deadline = time.monotonic() + 30
        while not (found := re.search(pattern, said)) and time.monotonic() < deadline:
            if select.select([main], [], [], 0.2)[0]:
                said += os.read(main, 4096).decode(errors="replace")
        assert found, said
        said = said[found.end() :]
        return found[1]

    try:
        os.write(main, ZSH_SESSION.encode())
        wait_for(r"\n(ready)\r?\n")
        for words, expected in typed.items():
            os.write(main, f"mlpexp {words}\t\x18".encode())
            assert wait_for(r"<(mlpexp [^>]*)>") == expected
    finally:
        zsh.kill()  # a shell that talks to somebody does not end for less
        zsh.wait(timeout=10)
        os.close(main)
