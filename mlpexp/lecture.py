"""The lecture's definitions, one by one: the option that selects each, the code that does it, the test that checks it.

They stand in lecture.csv; `python -m mlpexp.lecture` writes LECTURE.md from it, and tests/test_lecture.py holds every
cell to the truth.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

SOURCE, PAGE = (Path(__file__).with_name(name) for name in ("lecture.csv", "LECTURE.md"))


@dataclass(frozen=True)
class Definition:
    """One definition. `option` is what one types after `mlpexp train`, or a whole command that begins with `mlpexp`;
    `code` is module:name below mlpexp, `test` file::function below tests, without `test_` in the file's name."""

    topic: str
    name: str
    formula: str
    option: str
    code: str
    test: str


def definitions() -> list[Definition]:
    """All of them, in the lecture's order."""
    with SOURCE.open(encoding="utf-8", newline="") as file:
        return [Definition(**row) for row in csv.DictReader(file)]


def page() -> str:
    """LECTURE.md: a table for each topic."""
    lines = [
        "# The lecture, definition by definition",
        "",
        "Each definition, what selects it (behind `mlpexp train`, or a command of its own), the function that does it,",
        "and the test that checks it. Written by `python -m mlpexp.lecture`.",
    ]
    rows = definitions()
    for topic in dict.fromkeys(one.topic for one in rows):
        lines += ["", f"## {topic}", "", "| definition | | option | code | test |", "|---|---|---|---|---|"]
        lines += [_row(one) for one in rows if one.topic == topic]
    return "\n".join(lines) + "\n"


def _row(one: Definition) -> str:
    module, _, name = one.code.partition(":")
    file, _, test = one.test.partition("::")
    path = source_of(module).relative_to(PAGE.parent)
    cells = [
        one.name,
        one.formula,
        f"`{one.option}`",
        f"[{name}]({path})",
        f"[{test.replace('_', ' ')}](../tests/test_{file}.py)",
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def source_of(module: str) -> Path:
    """The file of a module below mlpexp."""
    place = PAGE.parent.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
