"""`mlpexp lineage …`: a command for each chapter. Heavy imports only once a chapter runs.

Flow: command line → **commands** → chapters → finding.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

CHAPTERS = {
    "hodgkin_huxley": "the neuron as four differential equations, 1952",
    "mcculloch_pitts": "threshold units designed from an expression, 1943",
    "perceptron": "a threshold unit that learns from its mistakes, 1957",
    "logistic_regression": "the smooth unit, by maximum likelihood, 1958",
    "road": "all of it in one figure, up to the multilayer perceptron",
}
LISTED = """\
mlpexp lineage: what came before the multilayer perceptron

{}

Each prints what it finds, writes a figure and its numbers below outputs/lineage
and logs a run in MLflow; `mlpexp lineage NAME --help` lists what it takes.
"""


def main(words: Sequence[str]) -> int:
    """Run one chapter, or list them. Raises ConfigError for what it cannot take."""
    if not words or words[0] in ("--help", "-h"):
        print(LISTED.format("\n".join(f"  {name:<20} {line}" for name, line in CHAPTERS.items())), end="")
        return 0
    if words[0] not in CHAPTERS:
        from mlpexp.refusals import ConfigError, nearest

        known = nearest(words[0], CHAPTERS)
        raise ConfigError([f"lineage has {', '.join(CHAPTERS)}; got {words[0]!r}{known}"])
    options = vars(parser_of(words[0]).parse_args(words[1:]))
    outputs, uri, tracking = Path(options.pop("outputs")), options.pop("uri"), not options.pop("no_tracking")
    return _run(words[0], options, Path(os.path.abspath(outputs.expanduser())), uri, tracking)


def _run(chapter: str, options: dict[str, Any], outputs: Path, uri: str | None, tracking: bool) -> int:
    """Find, print, write, show; 1 where a network could not be trained or a file not be written."""
    from mlpexp.letters import in_width
    from mlpexp.lineage import finding
    from mlpexp.runner import RunError

    began = time.time()
    module = import_module(f"mlpexp.lineage.chapters.{chapter}")
    try:
        found = module.find(**options, **({"outputs": outputs} if chapter in TRAINS else {}))
        print("\n".join(in_width(line, " " * 23) for line in found.lines), flush=True)
        files = finding.write(found, outputs)
    except (RunError, OSError) as error:
        print(f"mlpexp: {error}", file=sys.stderr)
        return 1
    print("\n".join(["", *(_short(file) for file in files)]), flush=True)
    run = finding.track(found, files, began, uri, outputs) if tracking else None
    if run:
        print(f"MLflow: experiment {finding.EXPERIMENT}, run {run}")
    return 0


def _short(file: Path) -> str:
    """Relative to here where it lies below."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)


TRAINS = ("logistic_regression", "road")
"""Chapters with networks that mlpexp trains, into the same outputs."""


class Parser(argparse.ArgumentParser):
    """Tells a mistake as the rest of mlpexp does: in a line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Raise what the command line prints."""
        from mlpexp.refusals import ConfigError

        raise ConfigError([f"{message.removeprefix('argument ')}; see {self.prog} --help"])


def parser_of(chapter: str) -> Parser:
    """The options of a chapter, and those that all have."""
    parser = Parser(prog=f"mlpexp lineage {chapter}", description=CHAPTERS[chapter], allow_abbrev=False)
    add = parser.add_argument
    if chapter == "hodgkin_huxley":
        add("--current", type=number(-100, 150), default=10.0, help="injected from 0 ms on, µA/cm² (10)")
        add("--duration", type=number(10, 1000), default=100.0, help="of the trace from there, ms (100)")
    elif chapter == "mcculloch_pitts":
        add("expression", nargs="+", help="such as 'y = not x1 or (x2 and x3)'; not, and, or, xor (^), True, False")
    elif chapter == "perceptron":
        add("--examples", type=whole(2, 1000), default=100, help="points of the plane (100)")
        add("--gap", type=number(0.001, 0.5), default=0.05, help="least distance to the line that tells them apart")
        add("--seed", type=whole(0, 2**32 - 1), default=0)
    elif chapter == "logistic_regression":
        add("keys", nargs="*", metavar="KEY=VALUE", help="data=NAME and its keys (data=moons data.noise=0.2)")
        add("--l2", type=number(0, 1e6), default=0.0, help="λ of λ/2 ‖w‖² (0)")
        add("--updates", type=whole(1, 1_000_000), default=1000, help="of the network's training (1000)")
    else:
        add("--seed", type=whole(0, 2**32 - 1), default=0)
    add("--outputs", default=os.environ.get("MLPEXP_OUTPUTS", "outputs"), help="where files and runs go")
    add("--uri", help="a tracking store; the database in outputs unless given")
    add("--no-tracking", action="store_true", help="no MLflow run")
    return parser


def number(low: float, high: float) -> Callable[[str], float]:
    """A reader of numbers from low to high."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be a number from {low:g} to {high:g}, got {text!r}")
        return value

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers from low to high."""

    def read(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else -1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, got {text!r}")
        return value

    return read
