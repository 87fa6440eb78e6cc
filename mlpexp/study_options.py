"""The words of `mlpexp study`; nothing heavy is loaded, so that help answers at once.

Flow: cli → **study_options** → study_command.
"""

import argparse
from collections.abc import Sequence

SIZES = ("smoke", "quick", "paper")
FORMATS = ("column", "page", "beamer", "poster")
DEFAULT_SIZE, DEFAULT_FORMAT = "quick", "column"

DESCRIPTION = "From a question to a paper figure: trains the runs that are missing, draws, and judges the claims."


def read(words: Sequence[str]) -> argparse.Namespace:
    """The options of `mlpexp study`, wherever they stand among its words."""
    return parser().parse_intermixed_args(words)


def parser() -> argparse.ArgumentParser:
    """What the words are read with."""
    found = argparse.ArgumentParser(prog="mlpexp study", description=DESCRIPTION)
    found.add_argument("name", nargs="?", help="a name from --list, or a folder with study.yaml and figure.py")
    found.add_argument("words", nargs="*", metavar="KEY=VALUE", help="overrides of all runs; PART.KEY=VALUE for some")
    found.add_argument(
        "--size", default=DEFAULT_SIZE, choices=SIZES, help="smoke: seconds; quick: minutes; paper: in full"
    )
    found.add_argument("--format", default=DEFAULT_FORMAT, choices=FORMATS, help="of the figure")
    found.add_argument("--figure-only", action="store_true", help="draw from recorded runs, train nothing")
    found.add_argument("--check", action="store_true", help="draw again and compare every byte")
    found.add_argument("--freeze", action="store_true", help="write down claims, margins and analysis before the runs")
    found.add_argument("--pack", metavar="FILE", help="runs, data hashes, environment and claims in one file")
    found.add_argument("--unpack", metavar="FILE", help="bring a packed study here and draw its figure")
    found.add_argument("--list", action="store_true", help="studies, their questions, runs finished, time needed")
    found.add_argument("--all", action="store_true", help="every study that --list names")
    found.add_argument("--new", metavar="SLUG", help="begin a study: a folder that works, to be changed")
    found.add_argument("--gallery", action="store_true", help="write experiments/README.md from what was run")
    return found
