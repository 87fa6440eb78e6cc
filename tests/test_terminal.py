"""Every command on a terminal of 80 columns, as it is and as a poor one: nothing runs over, no colour, no Unicode.

The terminal is a real one (a pty); what is longer than it is a path or a command, which must be copied whole.
"""

import fcntl
import os
import re
import struct
import termios
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from forks import source
from runs_fixtures import SMALL, command

from mlpexp import composition
from mlpexp.run_index import rows
from mlpexp.runner import run

COLUMNS = 80
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
POOR = {"TERM": "dumb", "NO_COLOR": "1", "LC_ALL": "C"}
QUICK = (*SMALL[:2], "model.width=4", "training.epochs=2")
SEARCH = ("model.depth=range(1,4)", "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))", "search.n_trials=4")
GRID = ("model.depth=2,3", "model.activation=sigmoid,leaky_relu", "initialisation=glorot,orthogonal", "replicates=2")

LOOKS = {
    "runs": ("runs",),
    "runs with columns": ("runs", "--columns", "all"),
    "show": ("show", "@0"),
    "compare": ("compare", "@0", "@1", "@9"),
    "doctor": ("doctor",),
    "clean": ("clean", "--yes"),
    "measurements": ("measurements",),
    "data": ("data",),
    "reproduce": ("reproduce", "@0"),
    "studies": ("study", "--list"),
    "lineage": ("lineage", "logistic_regression", "--no-tracking", "--updates", "50"),
}
WORKS = {
    "train": ("train", *QUICK, "model.depth=9", "model.activation=sigmoid"),
    "plan": ("sweep", *QUICK, "model.depth=2,4", "--plan"),
    "sweep": ("sweep", *QUICK, *GRID),
    "search": ("sweep", "search=tpe", *QUICK, *SEARCH, "replicates=2"),
    "study": ("study", "boolean_functions", "--size", "smoke", "tracking=none", "executor=serial"),
    "refused": ("train", "model.depht=3", "model.activation=tahn", "measurements.quantities=[basic,delta_nrom]"),
    "refused points": ("sweep", "model.depth=2,0,3", "optimizer.learning_rate=-1,0.1"),
    "unknown": ("show", "nonesuch"),
}
DRAWN = ("runs", "show", "compare")
"""Looks that are drawn with colours and lines where the terminal has them; the others are words alone."""
MAY_FAIL = {"refused": 2, "refused points": 2, "unknown": 2}


class Said(NamedTuple):
    """What a command wrote to its terminal, and how it ended."""

    text: str
    code: int

    @property
    def lines(self) -> list[str]:
        """What stood in each line, frame by frame, without escapes."""
        return [ESCAPE.sub("", part).rstrip() for part in re.split(r"[\r\n]+|\x1b\[\d*A", self.text)]


def on_terminal(*words: str, cwd: Path, outputs: Path, **environment: str) -> Said:
    """A command whose output and errors go to a terminal of 80 columns and 24 lines."""
    main, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    pieces: list[bytes] = []

    def drain() -> None:
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:  # the last one who held the terminal has gone
                return
            if not piece:
                return
            pieces.append(piece)

    reader = threading.Thread(target=drain)
    reader.start()
    inherited = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    inherited |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "MLPEXP_OUTPUTS": str(outputs)}
    place = os.ttyname(terminal)
    request = {"words": list(words), "cwd": str(cwd), "environment": inherited | environment, "script": None}
    try:
        code = source().ask(request | {"stdout": place, "stderr": place}, timeout=100)
    finally:
        os.close(terminal)
        reader.join(timeout=10)
        os.close(main)
    return Said(b"".join(pieces).decode("utf-8"), code)


def too_wide(said: Said) -> list[str]:
    """Lines that run over the edge, but for those in which a path or a command goes over it as a whole."""
    return [line for line in said.lines if len(line) > COLUMNS and not re.search(r"/\S{20,}|mlpexp train ", line)]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve runs that differ in more than a table of 80 columns holds, some with names as long as they get."""
    folder = tmp_path_factory.mktemp("terminal")
    words = [*QUICK, f"outputs={folder}"]
    others = ["optimizer=gradient_descent", "optimizer.learning_rate=0.012345678901", "initialisation=torch_default"]
    points = [("model.depth=2",), ("model.depth=3", "model.activation=[leaky_relu,softsign]"), tuple(others)]
    run([composition.compose([*words, *point, "replicates=4"]) for point in points], quiet=True)
    return folder


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        *(pytest.param(name, POOR, id=f"{name}-poor") for name in (*LOOKS, *WORKS)),
        *(pytest.param(name, {}, id=f"{name}-usual") for name in (*DRAWN, *WORKS)),
    ],
)
def test_a_command_fits_its_terminal(name: str, environment: dict[str, str], outputs: Path, tmp_path: Path) -> None:
    prints = [row["fingerprint"] for row in rows(outputs)]
    asked = (LOOKS | WORKS)[name]
    words = [prints[int(word[1:])] if re.fullmatch(r"@\d", word) else word for word in asked]
    said = on_terminal(*words, cwd=tmp_path, outputs=outputs if name in LOOKS else tmp_path / "new", **environment)
    assert said.code == MAY_FAIL.get(name, 0), said.text
    assert len(said.text) > 20
    assert too_wide(said) == []
    assert "Traceback" not in said.text
    if environment:
        assert said.text.isascii()
        assert ESCAPE.search(said.text) is None
        assert "?" not in re.sub(r"(mean [\w.]+|wide enough, and does.*|\w)\?", "", said.text)


def test_no_colour_is_said_without_colour(outputs: Path, tmp_path: Path) -> None:
    """Bold and dim stay: they are none."""
    words = ("sweep", *QUICK, "model.depth=2,3")
    colours = re.compile(r"\x1b\[[\d;]*\b(3[1-8]|9[0-7])\b[\d;]*m")
    assert colours.search(on_terminal(*words, cwd=tmp_path, outputs=tmp_path / "a").text)
    assert not colours.search(on_terminal(*words, cwd=tmp_path, outputs=tmp_path / "b", NO_COLOR="1").text)


def test_what_varies_stays_in_the_table_of_runs(outputs: Path, tmp_path: Path) -> None:
    said = on_terminal("runs", "data=digits", cwd=tmp_path, outputs=outputs)
    heads = said.lines[1].split()
    assert heads[:2] == ["run", "depth"]
    assert "validation" in heads
    assert "not shown for want of room: " in " ".join(said.lines)


def test_a_pipe_gets_whole_lines(outputs: Path, tmp_path: Path) -> None:
    done = command("runs", "data=digits", cwd=tmp_path, MLPEXP_OUTPUTS=str(outputs))
    assert "accuracy/validation" in done.stdout.splitlines()[0]
    (told,) = done.stderr.splitlines()
    assert re.fullmatch(r"12 (of \d+ )?runs", told)
