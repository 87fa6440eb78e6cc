"""`mlpexp study --all`: one study after another, how far it is on the whole, and a table of verdicts at the end.

Flow: study_command → **study_all** → study; what is recorded is taken as it is, so that the same call goes on.
"""

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console

from mlpexp.claims import Claim
from mlpexp.display import counted, spelt
from mlpexp.refusals import ConfigError
from mlpexp.study import composed, figure_folder, progress
from mlpexp.study_definition import Study, open_study
from mlpexp.study_files import CLAIMS

COLOURS = {"supported": "green", "refuted": "red", "undecided": "yellow", "failed": "red"}
BESIDE = 6.0
"""Seconds of a study beside its training: composing, starting processes, drawing; the pace so far corrects it."""
ENOUGH = 5.0
"""Planned seconds after which the pace so far corrects the estimate of what is left."""

One = Callable[[str, str], int]
"""Runs the study of a folder, told of what whole it is a part; 0 where everything went well."""


@dataclass(frozen=True)
class Planned:
    """A study, the folder of its figure, and about how many seconds it will take."""

    study: Study
    folder: Path
    seconds: float


def run_all(folders: Sequence[Path], size: str, words: Sequence[str], one: One, console: Console) -> int:
    """Every study in turn; one that fails, or refuses the words, is told, and the others go on. 1 where any did.

    Raises ConfigError where all of them refuse.
    """
    plan, refused = _plan(folders, size, words)
    began, worst = time.monotonic(), int(bool(refused))
    rows = [(slug, "", "failed", "see above") for slug in refused]
    for number, planned in enumerate(plan):
        left = time_left([one.seconds for one in plan], number, time.monotonic() - began)
        place = f"study {number + 1} of {len(plan)}, {spelt(left)} left in all"
        console.print(f"{planned.study.slug}: {place}", style="bold cyan", markup=False)
        try:
            code = one(str(planned.study.folder), f"{planned.study.slug}, {place}")
        except ConfigError as error:
            print(f"mlpexp: {planned.study.slug}: {error}", file=sys.stderr)
            code = 1
        worst = max(worst, code)
        rows += verdicts(planned) if code == 0 else [(planned.study.slug, "", "failed", "see above")]
    _tell(rows, console)
    return worst


def _plan(folders: Sequence[Path], size: str, words: Sequence[str]) -> tuple[list[Planned], list[str]]:
    """What will be run, and names of the studies that refuse these words, each told before anything trains."""
    plan: list[Planned] = []
    refused: dict[str, ConfigError] = {}
    for folder in folders:
        try:
            plan.append(_planned(folder, size, words))
        except ConfigError as error:
            refused[folder.name] = error
    if not plan:
        raise ConfigError(list(dict.fromkeys(line for one in refused.values() for line in one.mistakes)))
    for slug, reason in refused.items():
        print(f"mlpexp: {slug} is left out: {reason}", file=sys.stderr)
    return plan, list(refused)


def _planned(folder: Path, size: str, words: Sequence[str]) -> Planned:
    study = open_study(str(folder), size, words)
    with composed(study) as needed:
        return Planned(study, figure_folder(needed), BESIDE + progress(needed)[2])


def time_left(planned: Sequence[float], done: int, elapsed: float) -> float:
    """Seconds for what is not done, at the pace of what is: the first `done` of `planned` took `elapsed`.

    >>> time_left([10.0, 20.0, 30.0], 0, 0.0), time_left([10.0, 20.0, 30.0], 1, 15.0)
    (60.0, 75.0)
    """
    known = sum(planned[:done])
    pace = elapsed / known if known >= ENOUGH else 1.0
    return pace * sum(planned[done:])


def verdicts(planned: Planned) -> list[tuple[str, str, str, str]]:
    """(study, claim, verdict, number) of every claim, from what was written beside the figure."""
    claims = read_claims(planned.folder / CLAIMS)
    return [(planned.study.slug, one.name, one.verdict, one.number()) for one in claims]


def read_claims(file: Path) -> list[Claim]:
    """The inverse of `study_files.plain`: what is null there is NaN."""
    names = [field.name for field in fields(Claim)]
    content: list[dict[str, Any]] = json.loads(file.read_text())["claims"]
    found: list[dict[str, Any]] = [{n: math.nan if one[n] is None else one[n] for n in names} for one in content]
    return [Claim(**one) for one in found]


def _tell(rows: Sequence[tuple[str, str, str, str]], console: Console) -> None:
    """The table, a line a claim, and how many there are of each verdict."""
    table = [("study", "claim", "verdict", "number [interval]"), *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        console.print(line, style=COLOURS.get(row[2], "bold"), markup=False)
    counts = Counter(row[2] for row in rows)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in COLOURS if counts[verdict])
    console.print(f"{counted(len(rows), 'claim')}: {told or 'none'}")
