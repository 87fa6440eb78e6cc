"""The commands, thin: each imports what it needs when it is called, so that help answers at once."""

import argparse
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

from mlpexp.browse.options import COMMANDS as BROWSING
from mlpexp.browse.options import read

DESCRIPTION = """\
mlpexp: an instrument to study the training of multilayer perceptrons.

  mlpexp train model.depth=8 model.activation=tanh optimizer=adam replicates=5
  mlpexp train --help           every key, with its meaning, unit and values
  mlpexp sweep model.depth=2,4,8 model.activation=sigmoid,relu replicates=5
  mlpexp study --list           questions, each with a figure and a verdict
"""


HELP = {"--help", "-h"}
CYCLES_AFTER = 20_000
"""New objects after which Python looks for cycles of them: after 700, as it comes, a sweep spent two seconds so."""
COMPLETE = "complete"
"""What a shell asks while a word is typed; people have no use for it, and help does not name it."""
HOMES = {
    "runs": "listing",
    "show": "page",
    "compare": "comparison",
    "pictures": "pictures",
    "doctor": "doctor",
    "clean": "leftovers",
    "completion": "completion",
}


class Terminated(KeyboardInterrupt):
    """SIGTERM ends a command as Ctrl-C does: workers are let go of, and what is checkpointed stays."""


def program() -> int:
    """`main` as a process of its own."""
    gc.set_threshold(CYCLES_AFTER)
    try:
        return main()
    finally:
        gc.freeze()  # the process ends: cycles among half a million objects, looked for once more, took a second


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 where all runs finished, 1 where some failed, 2 for a refused config."""
    from mlpexp.letters import written_out

    with written_out() as cut:
        code = _command(list(sys.argv[1:] if arguments is None else arguments))
    return cut[0] if cut else code


def _command(words: Sequence[str]) -> int:
    """What the first word names."""
    if words[:1] in (["train"], ["sweep"]):
        return _guarded(_help if HELP & set(words) else _hydra, words)
    if words[:1] == ["study"]:
        return _guarded(_study, words[1:])
    if words[:1] == ["lineage"]:
        return _guarded(_lineage, words[1:])
    if words and words[0] in (*BROWSING, COMPLETE):
        return _guarded(_browse, words)
    parser = argparse.ArgumentParser(
        prog="mlpexp", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("train", help="train one point: mlpexp train KEY=VALUE …", add_help=False)
    sweep = (
        "train a grid of points: mlpexp sweep KEY=A,B …; --plan tells what it would do, --test shows test scores, "
        "--bootstrap takes intervals from resampled seeds"
    )
    commands.add_parser("sweep", help=sweep, add_help=False)
    commands.add_parser("study", help="from a question to a figure and a verdict: mlpexp study NAME", add_help=False)
    reproduce = commands.add_parser("reproduce", help="train a recorded run again and compare every bit")
    reproduce.add_argument("run", help="fingerprint of the run, or its first characters")
    reproduce.add_argument("--outputs", default=os.environ.get("MLPEXP_OUTPUTS", "outputs"))
    data = commands.add_parser("data", help="what data there are; or one set, looked at")
    data.add_argument("name", nargs="?", help="a name from the list")
    data.add_argument("keys", nargs="*", metavar="KEY=VALUE", help="its keys: data.path=FILE data.target=COLUMN …")
    measurements = commands.add_parser("measurements", help="what can be measured; or one quantity, in full")
    measurements.add_argument("name", nargs="?", help="a name from the list")
    commands.add_parser("lineage", help="what came before: Hodgkin-Huxley to logistic regression", add_help=False)
    sync = commands.add_parser("sync", help="show recorded runs in MLflow that are not there yet, renew old notes")
    sync.add_argument("--outputs", default=os.environ.get("MLPEXP_OUTPUTS", "outputs"))
    sync.add_argument("--uri", help="a tracking store; the database in outputs unless given")
    sync.add_argument("--experiment", default="mlpexp")
    for name, text in BROWSING.items():
        commands.add_parser(name, help=text, add_help=False)
    ui = commands.add_parser("ui", help="open the dashboard of recorded runs")
    ui.add_argument("--outputs", default=os.environ.get("MLPEXP_OUTPUTS", "outputs"))
    ui.add_argument("--optuna", action="store_true", help="the studies of searches, too, in optuna-dashboard")
    ui.add_argument("--storage", help="with --optuna: the database that search.storage names; the journal unless given")
    ui.add_argument("--sweep", help="open the comparison of the runs of this sweep")
    ui.add_argument("--port", type=int, default=0, help="MLflow's, else optuna-dashboard's; 0: a free one")
    options = parser.parse_args(words)
    if options.command is None:
        parser.print_help()
        return 0
    commands_by_name = {
        "reproduce": _reproduce, "data": _data, "measurements": _measurements, "sync": _sync, "ui": _ui,
    }  # fmt: skip
    return _guarded(commands_by_name[options.command], options)


def _guarded(command: Callable[[Any], int], argument: object) -> int:
    """A user's mistake is told in a line or two, without a traceback."""
    from mlpexp.letters import in_width
    from mlpexp.refusals import ConfigError

    def terminate(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)
    try:
        return command(argument)
    except ConfigError as error:
        print("\n".join(in_width(line, stream=sys.stderr) for line in error.report()), file=sys.stderr)
        return 2
    except KeyboardInterrupt as interruption:
        print("mlpexp: interrupted; finished runs are recorded, the same command goes on", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT)


def _help(words: Sequence[str]) -> int:
    """Straight from the YAML files: nothing is composed, so it answers at once."""
    from pathlib import Path

    from mlpexp.help_text import help_text
    from mlpexp.places import config_folder

    folder = dict(pairwise(words)).get("--config-dir")
    print(help_text(Path(config_folder()), words[1:], folder))
    return 0


def _hydra(words: Sequence[str]) -> int:
    """`train` and `sweep`: a Hydra application whose config is checked before Hydra writes anything."""
    from mlpexp.hydra_app import application

    return application(words[1:], sweep=words[0] == "sweep")


def _study(words: Sequence[str]) -> int:
    """A study by its name, or what its options say."""
    from mlpexp.study_options import read

    options = read(words)
    from mlpexp.study_command import command

    return command(options)


def _lineage(words: Sequence[str]) -> int:
    """A chapter of what came before the multilayer perceptron."""
    from mlpexp.lineage.commands import main as lineage

    return lineage(words)


def _browse(words: Sequence[str]) -> int:
    """Looking at what is recorded; `complete` answers the completion of a shell."""
    if words[0] == COMPLETE:
        from mlpexp.browse.completion import complete

        return complete(words[1:])
    options = read(words)
    command: Callable[[argparse.Namespace], int] = import_module(f"mlpexp.browse.{HOMES[words[0]]}").command
    return command(options)


def _reproduce(options: argparse.Namespace) -> int:
    """0 where every bit is the same, 1 where something differs."""
    from mlpexp.letters import in_width
    from mlpexp.reproduction import reproduce

    comparison = reproduce(options.run, options.outputs)
    print("\n".join(in_width(line, "    ") for line in comparison.lines))
    return 0 if comparison.equal else 1


def _data(options: argparse.Namespace) -> int:
    """The list of data sources, or one of them."""
    from mlpexp.data_tables import show_data, show_data_list

    if options.name is None:
        show_data_list()
    else:
        from mlpexp.composition import compose

        show_data(compose([f"data={options.name}", *options.keys]).data)
    return 0


def _measurements(options: argparse.Namespace) -> int:
    """The catalogue of quantities, or one of them."""
    from mlpexp.quantity_table import show_quantities, show_quantity

    if options.name is None:
        show_quantities()
    else:
        show_quantity(options.name)
    return 0


def _sync(options: argparse.Namespace) -> int:
    """Every recorded run that says of no store that it is there."""
    from pathlib import Path

    from mlpexp.config import Tracking, absolute_outputs
    from mlpexp.illustration import illustrate
    from mlpexp.results import recorded
    from mlpexp.shown import SHOWN
    from mlpexp.tracking import renew_notes, show_runs

    outputs = Path(absolute_outputs(options.outputs))
    everything, tracking = list(recorded(outputs)), Tracking(uri=options.uri, experiment=options.experiment)
    open_runs = [run for run in everything if options.uri or not (run.folder / SHOWN).exists()]
    illustrate(open_runs)
    try:
        show_runs(open_runs, tracking, outputs)
        renewed = renew_notes(everything, tracking, outputs)
    except RuntimeError as error:
        print(f"mlpexp: MLflow was not reached ({error})", file=sys.stderr)
        return 1
    told = f"; {renewed} notes of an earlier mlpexp written anew" if renewed else ""
    print(f"{len(open_runs)} runs brought into experiment {options.experiment}{told}")
    return 0


def _ui(options: argparse.Namespace) -> int:
    """MLflow's server, and optuna-dashboard if asked for, on loopback, until Ctrl-C."""
    from mlpexp.dashboard import serve, serve_studies

    if options.optuna:
        return serve_studies(options.outputs, options.storage, options.port, options.sweep)
    return serve(options.outputs, options.port, options.sweep)
