"""The words of the commands that look at what is recorded; nothing heavy is loaded, so that help answers at once.

Flow: cli → **options** → listing, page, comparison, doctor, leftovers, completion.
"""

import argparse
import os
from collections.abc import Sequence

RUNS = """\
Lists what is recorded, newest first.

  mlpexp runs                the newest: what varies, status, scores, when
  mlpexp runs status=finished model.depth=2,8 --sort -accuracy/validation
  mlpexp runs 'accuracy/validation>0.9' 'name=tanh-*' --columns name,loss/test
  mlpexp runs sweep=NAME --csv > runs.csv
                             study=NAME as well; --json for other programs

Conditions: KEY=VALUE, KEY=A,B (one of them), KEY!=VALUE, and < <= > >= in
quotation marks. A key is a config key (model.depth), a score (loss/test),
spent.updates, status, name, seed, seconds, fingerprint, sweep or study.
"""
COMMANDS = {
    "runs": "list, filter and sort what is recorded: mlpexp runs status=finished model.depth=8",
    "show": "one run whole: config, curves, profile, scores, files",
    "compare": "runs side by side: what differs in config, then scores",
    "pictures": "what a run has learned: weights, regions, units; the line to another run",
    "doctor": "check versions, stores, disk, leases, data sets, numerics; says what to do",
    "clean": "remove leftovers by rule, after showing them; never a record",
    "completion": 'print the completion script of a shell: eval "$(mlpexp completion bash)"',
}
SHELLS = ("bash", "zsh")


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of one of the commands."""
    description = RUNS if command == "runs" else f"{COMMANDS[command][0].upper()}{COMMANDS[command][1:]}."
    parser = argparse.ArgumentParser(
        prog=f"mlpexp {command}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    run = "a fingerprint or its first characters, a run's name, or its folder"
    if command == "runs":
        parser.add_argument("where", nargs="*", metavar="CONDITION", help="all of them must hold")
        parser.add_argument("--sort", metavar="KEYS", help="by these, with commas; -KEY descending: --sort=-loss/test")
        parser.add_argument(
            "--limit", type=_count, metavar="N", help="at most so many; 0: all. 30 in a table, else all"
        )
        parser.add_argument("--columns", metavar="KEYS", help="with commas; `all` for everything that is known")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--csv", action="store_true", help="all columns, every digit")
        form.add_argument("--json", action="store_true", help="a list of objects")
    elif command == "show":
        parser.add_argument("run", metavar="RUN", help=run)
        parser.add_argument("--html", metavar="FILE", help="write its gradient flow, to be moved about in a browser")
    elif command == "compare":
        parser.add_argument("runs", nargs="+", metavar="RUN", help=run)
    elif command == "pictures":
        parser.add_argument("run", metavar="RUN", help=run)
        parser.add_argument("other", nargs="*", metavar="OTHER", help="the loss on the straight line to it, too")
        parser.add_argument("--no-tracking", action="store_true", help="leave MLflow alone")
    elif command == "clean":
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "--checkpoints", action="store_true", help="those of finished runs, too: longer runs then begin anew"
        )
    elif command == "completion":
        parser.add_argument("shell", choices=SHELLS)
    if command != "completion":
        parser.add_argument("--outputs", default=os.environ.get("MLPEXP_OUTPUTS", "outputs"))
    return parser


def read(words: Sequence[str]) -> argparse.Namespace:
    """The options of a command, wherever they stand among its words; `--sort -loss/test` is a value, no option."""
    command, *rest = words
    joined: list[str] = []
    for word in rest:
        if joined and joined[-1] in ("--sort", "--columns"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return parser_of(command).parse_intermixed_args(joined)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more; got {text!r}")
    return int(text)
