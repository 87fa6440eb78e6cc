"""What leaves a command: ASCII where the terminal has no Unicode, and no traceback where the reader of a pipe leaves.

Flow: cli → **letters** → standard output and error. Everything above writes Unicode and need not know.
"""

import codecs
import os
import shutil
import signal
import sys
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from typing import IO

BLOCKS = "▁▂▃▄▅▆▇█"
SUPERSCRIPTS = {"⁻": "-"} | {"⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]: str(digit) for digit in range(10)}
SPELLINGS = dict(zip(BLOCKS, "_.:-=+*#", strict=True)) | {
    "±": "+/-", "δ": "d", "Δ": "D", "σ": "s", "θ": "theta", "‖": "|", "×": "x", "·": "*", "…": "..", "–": "-",
    "−": "-", "→": ">", "≤": "<=", "≥": ">=", "√": "sqrt", "’": "'", "“": '"', "”": '"', "─": "-", "│": "|", "█": "#",
    "░": ".", "▒": ":", "▓": "#", "•": "*", "━": "-", "╸": "-", "╺": "-", "½": "1/2",
    "α": "alpha", "β": "beta", "γ": "gamma", "ε": "eps", "η": "eta", "κ": "kappa", "λ": "lambda", "µ": "mu",
    "μ": "mu", "ξ": "xi", "π": "pi", "φ": "phi", "χ": "chi", "ψ": "psi", "Φ": "Phi", "Θ": "Theta", "Σ": "S", "Π": "P",
    "∂": "d", "∞": "inf", "′": "'", "″": "''", "←": "<", "⇄": "<>", "↦": ">", "≪": "<<", "≫": ">>", "÷": "/", "⊙": "*",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^", "°": "degrees ", "¬": "not ", "»": '"', "⌈": "[", "⌉": "]",
    "┌": "+", "┐": "+", "└": "+", "┘": "+",
}  # fmt: skip
"""How a letter is spelt in ASCII; signs of tables and pictures keep their width."""


def _spelt(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of codecs: the letters that cannot be encoded, in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    spelt, in_power = "", False
    for letter in text:
        if letter in SUPERSCRIPTS:
            spelt += SUPERSCRIPTS[letter] if in_power else f"^{SUPERSCRIPTS[letter]}"
        elif letter in SPELLINGS:
            spelt += SPELLINGS[letter]
        else:  # é is e; what is made of nothing in ASCII is a question mark
            spelt += "".join(c for c in unicodedata.normalize("NFKD", letter) if c.isascii()) or "?"
        in_power = letter in SUPERSCRIPTS
    return spelt, error.end


codecs.register_error("mlpexp.spelt", _spelt)


def has_unicode(environment: Mapping[str, str]) -> bool:
    """Whether the terminal shows Unicode, as POSIX says: LC_ALL before LC_CTYPE before LANG; it does where none is set.

    Python itself sets LC_CTYPE=C.UTF-8 where the locale is C (PEP 538), so that a C beside it is what the user said.
    """
    said = [environment.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    if said[1] == "C.UTF-8" and said[2] in ("C", "POSIX"):
        said[1] = ""
    locale = next(filter(None, said), "C.UTF-8")
    charset = locale.partition("@")[0].partition(".")[2].lower().replace("-", "")
    return charset == "utf8"


def shown(text: str) -> str:
    """The text as this terminal shows it: for what must know how wide it becomes."""
    return text if has_unicode(os.environ) else text.encode("ascii", "mlpexp.spelt").decode("ascii")


def folded(line: str, below: str) -> str:
    """A line over as many as the terminal needs (80 columns in a pipe); what goes on begins with `below`."""
    width = max(shutil.get_terminal_size((80, 24)).columns, len(below) + 20)
    line = shown(line)
    if len(line) <= width:
        return line
    start = " " * (len(line) - len(line.lstrip()))
    wrapper = textwrap.TextWrapper(width, start, below, break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(line.lstrip())


def in_width(line: str, below: str = "  ", stream: IO[str] | None = None) -> str:
    """A sentence as a terminal takes it, broken between words; whole in a pipe, where programs read lines.

    `stream` is where it goes, standard output unless given. Paths and commands are never broken within a word.
    """
    return folded(line, below) if (stream or sys.stdout).isatty() else line


@contextmanager
def written_out() -> Iterator[list[int]]:
    """All output within is spelt as the terminal can show it, and flushed; the list is given a code where it is cut.

    `mlpexp runs | head` ends as other programs do whose reader has left: at once, silently, with 128 + SIGPIPE.
    """
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, TextIOWrapper)]
    before = [(stream.encoding, stream.errors) for stream in streams]
    for stream in streams:
        if not has_unicode(os.environ):
            stream.reconfigure(encoding="ascii", errors="mlpexp.spelt")
        elif not stream.encoding.lower().startswith("utf"):  # PYTHONIOENCODING=ascii
            stream.reconfigure(errors="mlpexp.spelt")
    codes: list[int] = []
    try:
        try:
            yield codes
        finally:  # help leaves through SystemExit
            for stream in streams:
                stream.flush()
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:  # what is still buffered would raise again when Python ends
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        codes.append(128 + signal.SIGPIPE)
    finally:
        for stream, (encoding, errors) in zip(streams, before, strict=True):
            if (stream.encoding, stream.errors) != (encoding, errors):
                stream.reconfigure(encoding=encoding, errors=errors)
