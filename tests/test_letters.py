"""What leaves a command: ASCII without Unicode, silence where a pipe is closed."""

import io
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from runs_fixtures import command

from mlpexp.browse.options import COMMANDS as BROWSING
from mlpexp.cli import main
from mlpexp.letters import BLOCKS, folded, has_unicode

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, True),
        ({"LANG": "de_DE.UTF-8"}, True),
        ({"LANG": "C"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),  # what Python makes of LANG=C
        ({"LC_CTYPE": "C.UTF-8"}, True),
        ({"LANG": "en_US.utf8", "LC_ALL": "POSIX"}, False),
        ({"LANG": "de_DE.ISO-8859-1"}, False),
        ({"LANG": "C", "LC_ALL": "C.utf8"}, True),
    ],
)
def test_a_terminal_has_unicode_as_its_locale_says(environment: dict[str, str], expected: bool) -> None:
    assert has_unicode(environment) is expected


def test_letters_are_spelt_in_ascii_and_pictures_keep_their_width() -> None:
    assert "3·10⁻⁹ ± ‖δ‖ é".encode("ascii", "mlpexp.spelt") == b"3*10^-9 +/- |d| e"
    spelt = BLOCKS.encode("ascii", "mlpexp.spelt")
    assert len(set(spelt)) == len(BLOCKS)


def test_commands_write_ascii_where_there_is_no_unicode(tmp_path: Path) -> None:
    done = command("study", "--help", cwd=tmp_path, LANG="C", LC_ALL="C")
    assert done.returncode == 0
    plain = command("--help", cwd=tmp_path, LC_ALL="C").stdout
    assert plain.isascii()
    assert plain != command("--help", cwd=tmp_path, LC_ALL="C.UTF-8").stdout


def test_every_letter_that_we_write_has_a_spelling() -> None:
    sources = [file for folder in ("mlpexp", "conf", "experiments") for file in (ROOT / folder).rglob("*.*")]
    texts = {file.name: file.read_text() for file in sources if file.suffix in (".py", ".yaml")}
    assert len(texts) > 100
    unknown = {name: spelt for name, text in texts.items() if "?" in (spelt := "".join(spellings(text)))}
    assert unknown == {}


def spellings(text: str) -> list[str]:
    return [letter.encode("ascii", "mlpexp.spelt").decode() for letter in sorted(set(text)) if not letter.isascii()]


COMMANDS = (
    *((name, "--help") for name in ("train", "sweep", "study", "reproduce", "data", "measurements", "lineage", "sync")),
    *((name, "--help") for name in ("ui", *BROWSING)),
    *(("--help",), ("train", "optimizer=adamw", "search=tpe", "--help"), ("lineage",)),
    *(("data",), ("data", "digits"), ("data", "moons"), ("measurements",)),
    *(("measurements", name) for name in ("signal_norm", "jacobian_singular_values", "calibration_error")),
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_what_a_command_says_fits_eighty_columns_with_and_without_unicode(
    words: tuple[str, ...], locale: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LC_ALL", locale)
    monkeypatch.setenv("MLPEXP_OUTPUTS", str(tmp_path))
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr("sys.stdout", said)
    with suppress(SystemExit):
        assert main(list(words)) == 0
    said.flush()
    assert isinstance(said.buffer, io.BytesIO)
    text = said.buffer.getvalue().decode("ascii" if locale == "C" else "utf-8")
    assert text.strip()
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_folded_line_keeps_its_words_and_the_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    line = "  key: 1   # " + "some words that say something " * 5
    folds = folded(line, " " * 11 + "# ").splitlines()
    assert max(map(len, folds)) <= width
    assert " ".join(folds).replace("# ", "").split() == line.replace("# ", "").split()
    assert all(fold.startswith(" " * 11 + "# ") for fold in folds[1:])


def test_an_encoding_that_python_was_told_of_is_spelt_for(tmp_path: Path) -> None:
    """PYTHONIOENCODING names no locale."""
    done = command("train", "--help", cwd=tmp_path, PYTHONIOENCODING="ascii", LC_ALL="C.UTF-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()


@pytest.mark.parametrize(
    ("words", "codes"),
    [(["train", "--help"], {128 + 13}), (["runs", "--help"], {0, 128 + 13})],  # argparse may swallow the error itself
)
def test_a_closed_pipe_ends_a_command_without_a_traceback(words: list[str], codes: set[int], tmp_path: Path) -> None:
    program = [sys.executable, "-m", "mlpexp", *words]
    done = subprocess.Popen(program, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.stdout is not None
    assert done.stderr is not None
    done.stdout.close()  # the reader leaves before anything is written
    told = done.stderr.read()
    done.stderr.close()
    assert done.wait(timeout=30) in codes
    assert told == ""
