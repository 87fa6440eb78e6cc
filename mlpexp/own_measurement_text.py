"""What the text of a measurement of the user's own says of itself, read without running it. No torch.

Flow: **own_measurement_text** → measurement_schema, quantity_table, run_note, illustration. The text is

    \"\"\"What is measured, in a sentence.\"\"\"
    UNIT = "ratio"
    def measure(step): …  # [R, L] of each layer, or [R] of the run

and the file's name is the quantity's.
"""

import ast
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from mlpexp.measurement_catalogue import CATALOGUE, DEFAULT_SCHEDULES, PRESETS
from mlpexp.own_files import digest_of

TAKEN = {
    *CATALOGUE, *DEFAULT_SCHEDULES, *PRESETS,
    "step", "loss", "accuracy", "gap", "signal", "profile", "restored", "images", "gradient_flow",
}  # fmt: skip
"""Names that mean something else in a record, in MLflow or in a schedule."""


class Told(NamedTuple):
    """What a text says: the first paragraph of its docstring, in one line, and its unit."""

    description: str
    unit: str


def name_of(file: str) -> str:
    """The quantity that a file defines: its name in records and charts."""
    return Path(file).stem


@lru_cache(maxsize=256)
def told_in(text: str) -> Told:
    """Description and unit, empty where the text says nothing; raises SyntaxError where it is no Python."""
    tree = ast.parse(text)
    paragraph = (ast.get_docstring(tree) or "").partition("\n\n")[0]
    unit: object = ""
    for line in tree.body:
        if isinstance(line, ast.Assign) and [getattr(t, "id", "") for t in line.targets] == ["UNIT"]:
            unit = line.value.value if isinstance(line.value, ast.Constant) else ""
    return Told(" ".join(paragraph.split()), unit if isinstance(unit, str) else "")


@lru_cache(maxsize=256)  # every run of a sweep asks
def mistake_in(file: str, text: str) -> str:
    """What is wrong with a file, as far as one sees without running it; empty if nothing is."""
    name = name_of(file)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return f"its name is the quantity's, so it must be small letters, digits and _; got {name!r}"
    if name in TAKEN:
        return f"{name} is a name of mlpexp's own; rename the file"
    try:
        told = told_in(text)
    except (SyntaxError, ValueError) as error:
        return f"it is no Python: {error.msg if isinstance(error, SyntaxError) else error}{_line(error)}"
    if not told.description:
        return "it must begin with a docstring that says what is measured"
    return "" if told.unit else 'it must say its unit, as UNIT = "ratio"'


def _line(error: Exception) -> str:
    return f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""


def label(file: str, text: str) -> str:
    """`spread@3f2a91bc`: the quantity and the beginning of its text's digest."""
    return f"{name_of(file)}@{digest_of(text).partition(':')[2][:8]}"
