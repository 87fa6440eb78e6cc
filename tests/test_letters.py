"""What leaves a command: ASCII without Unicode, silence where a pipe is closed."""

import subprocess
import sys
from pathlib import Path

import pytest
from runs_fixtures import command

from mlpexp.letters import BLOCKS, has_unicode


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
