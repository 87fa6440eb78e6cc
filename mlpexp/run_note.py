"""What a run's page in MLflow says first, as Markdown: how it ended, scores, picture, where it belongs.

Flow: results → **run note** → projection, tracking. Links are relative to the page, so they hold on whatever port.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from mlpexp.own_measurement_text import label, told_in
from mlpexp.records import PARTS, metric
from mlpexp.results import Result
from mlpexp.verdicts import power_of_ten
from mlpexp.views import LINKED, NAMES, page

NOTE = "mlflow.note.content"
PICTURE, FLOW_PAGE = "gradient_flow.png", "gradient_flow.html"
EXPERIMENT, RUN = "@experiment@", "@run@"
"""Stand for ids that are known only when the run is written; `filled` puts them in."""

SPACE = "\u2003"


@lru_cache(maxsize=1)
def edition() -> str:
    """What notes look like by this version of mlpexp: another text of this module may write another note."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]


def is_ours(text: str) -> bool:
    """Whether a run's note is as we wrote it: what somebody has put before or behind it makes it his own."""
    return not text or (text.startswith("**") and text.endswith(f"rerun=true`{SPACE} |\n"))


def filled(note: str, experiment: str, run_id: str) -> str:
    """The note of a run that has this id."""
    return note.replace(EXPERIMENT, experiment).replace(RUN, run_id)


def note_of(result: Result, verdict: str, sweeps: Sequence[str] = ()) -> str:
    """The note, with EXPERIMENT and RUN where ids belong; `sweeps` are those that the run is known to be part of.

    `verdict` is the sentence on its gradient. MLflow folds what is longer than some lines: it and the links come first.
    """
    links = "\n".join(f"- {line}" for line in _links(result, sweeps))
    warnings = "\n".join(f"- {line}" for line in result.warnings)
    parts = [_ending(result, verdict), warnings, links, _scores(result), _facts(result)]
    return "\n\n".join(part for part in parts if part) + "\n"


def pictures_note(sweep: str) -> str:
    """The note of the run that holds the pictures of a sweep, with EXPERIMENT and RUN where ids belong."""
    flow = file_link("Gradient flow of every point, to be moved about in", FLOW_PAGE)
    return f"{flow}\n\nsweep {sweep}: {_views(sweep)}\n"


def search_note(sweep: str, files: Sequence[str], told: str) -> str:
    """The note of the run that holds a search's report: its pages and pictures, its views, and what came out."""
    shown = [name for end in (".html", ".png") for name in files if name.endswith(end)]
    pages = " · ".join(file_link(name.rpartition(".")[0].replace("_", " "), name) for name in shown)
    lines = "\n".join(f"- {line}" for line in told.splitlines() if line)
    return f"{pages}\n\nsweep {sweep}: {_views(sweep)}\n\n{lines}\n"


def file_link(text: str, file: str) -> str:
    """A link to a file among the artifacts of the run whose note this is."""
    return f"[{text}](#/experiments/{EXPERIMENT}/runs/{RUN}/artifacts/{file}?{LINKED})"


def _views(sweep: str) -> str:
    return " · ".join(f"[{name}](#/{page(EXPERIMENT, name, sweep)})" for name in NAMES)


def _ending(result: Result, verdict: str) -> str:
    """`**finished** after 340 updates (20,000 examples, 3·10⁹ FLOPs): layer 1 receives …`"""
    ended = result.status.replace("_", " ")
    if result.status == "diverged":
        ended += f" at step {result.facts['diverged_at_step']}"
    spent = result.spent
    took = [f"{spent['examples']:,} examples"] if "examples" in spent else []
    took += [f"{power_of_ten(spent['flops'])} FLOPs"] if "flops" in spent else []
    after = f" after {spent['updates']:,} updates ({', '.join(took)})" if "updates" in spent else ""
    return f"**{ended}**{after}: {verdict}."


def _links(result: Result, sweeps: Sequence[str]) -> Iterator[str]:
    """Where else to look: a line for the point, for each sweep, and for the study."""
    seeds = _runs("all seeds of its point", f"tags.`mlpexp.point` = '{result.config.point()}'")
    yield seeds + (f" · {file_link('their gradient flow', PICTURE)}" if (result.folder / PICTURE).exists() else "")
    for sweep in sweeps:
        yield f"sweep {sweep}: {_views(sweep)} · {_runs('gradient flow', f'tags.`mlpexp.pictures` = {sweep!r}')}"
    study = result.config.tracking.experiment
    if any(sweep.startswith(study) for sweep in sweeps):  # a study's runs are in its experiment, its sweep has its name
        yield f"study {study}: " + _runs("figure and verdicts", f"tags.`mlpexp.study` LIKE '{study}%'")


def _scores(result: Result) -> str:
    """A row a score, a column a part; the gap is train − test. Empty for a diverged run."""
    rows = []
    for kind in ("accuracy", "loss"):
        found = [result.scores.get(name) for name in (*(metric(kind, part) for part in PARTS), metric("gap", kind))]
        if any(value is not None for value in found):
            rows.append([kind, *("–" if value is None else f"{value:.4g}" for value in found)])
    return _table(["restored weights", *PARTS, "gap"], rows) if rows else ""


def _facts(result: Result) -> str:
    rows = [
        ["point", f"`{result.condition}`, `{result.config.point()}`"],
        ["seed", str(result.config.seed)],
        *_own_measurements(result),
        ["fingerprint", f"`{result.fingerprint}`"],
        ["record", f"`{result.folder}`"],
        ["compare every bit", f"`mlpexp reproduce {result.fingerprint}`"],
        ["train it anew", f"`{result.command()} rerun=true`"],
    ]
    return _table(["", ""], rows)


def _own_measurements(result: Result) -> Iterator[list[str]]:
    """A row for each quantity of the user's own: what it is, its unit, which text measured it."""
    for name, file in result.measurements.own.items():
        text = result.measurements.sources[file]
        told = told_in(text)
        yield [name.replace("_", " "), f"{told.description} [{told.unit}], `{label(file, text)}`".replace("|", "\\|")]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """MLflow leaves no room between the columns of a table: an em space does."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("".join(f"| {cell}{SPACE if cell != '---' else ''} " for cell in line) + "|" for line in lines)


def _runs(text: str, search: str) -> str:
    """A link to the runs that a search finds."""
    return f"[{text}](#/experiments/{EXPERIMENT}/runs?searchFilter={quote(search)}&{LINKED})"
