"""A study to begin with: three files that work as they stand.

Flow: study_command → **study_template** → experiments/<slug>/.
"""

import re
from pathlib import Path

from mlpexp.refusals import ConfigError

STUDY = """\
question: Does a wider hidden layer classify digits better?
caption: Accuracy on the test part of digits over the units of one hidden layer, after 10 epochs of Adam.
keys: {data: digits, model.depth: 2, training.epochs: 10}
parts:
  width:
    grid: {model.width: [4, 16, 64]}
    tune: {optimizer.learning_rate: [1.0e-3, 3.0e-3, 1.0e-2, 3.0e-2, 1.0e-1]}   # picked at every point, on validation
    replicates: 8            # seeds that are scored
    search_replicates: 2     # other seeds, of every candidate of `tune`
sizes:
  smoke:
    width: {keys: {training.epochs: 1}, replicates: 3, search_replicates: 1}
  paper:
    width: {grid: {model.width: [2, 4, 8, 16, 32, 64, 128, 256]}, replicates: 30, search_replicates: 5}
"""

FIGURE = '''\
"""Width and accuracy: `draw` and `claims` are functions of the table of runs, one row a run."""

import pandas as pd

from mlpexp.claims import Claim, above, judged
from mlpexp.paper import Figure, curve, means, panels, powers_of_two

MARGIN = 0.02   # two points of accuracy: less would not matter here
PILOT = 0.02    # standard deviation between seeds, from a pilot


def draw(table: pd.DataFrame) -> Figure:
    figure, (axes,) = panels()
    line = means(table, "model.width", "accuracy/test")
    curve(axes, line["model.width"], line, "test", 0)
    powers_of_two(axes, line["model.width"])
    axes.set_xlabel("hidden units")
    axes.set_ylabel("accuracy")
    return figure


def claims(table: pd.DataFrame) -> list[Claim]:
    by_seed = table.pivot(index="seed", columns="model.width", values="accuracy/test")
    gain = by_seed[by_seed.columns.max()] - by_seed[by_seed.columns.min()]
    statement = f"the widest network classifies better by more than {MARGIN:g}"
    return judged([above("wider_is_better", statement, gain, MARGIN, PILOT)])
'''

README = """\
# {title}

**Question.** Does a wider hidden layer classify digits better?

**Claim.** The widest network classifies better than the narrowest by more than two points (source: …).

**What would refute it.** An interval of the difference that lies below two points.

**Design.** One hidden layer, learning rate picked on validation at every width, paired seeds, 10 epochs.

**Result.** `mlpexp study {slug}` tells; write here in three sentences what came out.
"""


def begin(slug: str) -> list[str]:
    """Write the three files; returns what to do next. Raises ConfigError where the folder exists."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", slug):
        raise ConfigError([f"a study's name has small letters, digits and _, and begins with a letter; got {slug!r}"])
    folder = Path("experiments") / slug
    if folder.exists():
        raise ConfigError([f"{folder} exists already; choose another name"])
    folder.mkdir(parents=True)
    title = slug.replace("_", " ").capitalize()
    for name, text in (
        ("study.yaml", STUDY),
        ("figure.py", FIGURE),
        ("README.md", README.format(slug=slug, title=title)),
    ):
        (folder / name).write_text(text)
    return [f"{folder} has study.yaml, figure.py and README.md", f"try it: mlpexp study {slug} --size smoke"]
