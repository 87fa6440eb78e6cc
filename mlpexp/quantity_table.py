"""What can be measured, in the terminal: the catalogue as a table, or one quantity in full.

Flow: measurement_catalogue → **quantity_table** → terminal.
"""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mlpexp.letters import folded, shown
from mlpexp.measurement_catalogue import CATALOGUE, DEFAULT_SCHEDULES, ON_PROBE, PRESETS, of_kind
from mlpexp.own_checks import checked
from mlpexp.own_files import is_own, unread
from mlpexp.own_measurement_text import label, mistake_in, name_of, told_in
from mlpexp.own_measurements import MODULE
from mlpexp.refusals import ConfigError, nearest

SHAPES = {
    "[R, L]": "one number a layer",
    "[R, L, 2 + 32]": "least and largest value and 32 counts a layer",
    "[R, K]": "one number a place in the spectrum, K = min(q, k_L)",
    "[R]": "one number",
    "[R, parts]": "one number each for the training, validation and test part",
}
WORDS: dict[object, str] = {
    None: "at every step (measurements.every)",
    "log": "at log-spaced steps: 0, 1, 2, 3, 4, 6, 7, 10, 13, 18 …, eight a decade",
    "epoch": "at the first step of every epoch",
    "ends": "before the first update",
}


def show_quantities() -> None:
    """Every quantity with what it is, its unit, and whether the default preset has it."""
    console = Console()
    for kind, default in DEFAULT_SCHEDULES.items():
        console.print(f"{kind}: {WORDS[default]}, and after the last update", style="bold", highlight=False)
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        table.add_column(style="dim", no_wrap=True)
        for name in of_kind(kind):
            one = CATALOGUE[name]
            table.add_row(f"{'*' if name in PRESETS['basic'] else ' '} {name}", shown(one.description), shown(one.unit))
        console.print(table)
    notes = [
        "* in the preset basic, which is the default; full has all of them, none has none",
        "measurements=full · measurements.quantities=[basic,sharpness] · measurements.schedule.histograms=epoch",
        "mlpexp measurements NAME shows one: its source, its shape, how often it is measured",
        "a file of your own is a quantity, too: measurements.quantities=[basic,FILE.py], mlpexp measurements FILE.py",
    ]
    for note in notes:
        console.print(note, style="dim", highlight=False, markup=False)


def show_quantity(name: str) -> None:
    """One quantity in full; raises ConfigError for an unknown name, or a file of the user's own that is refused."""
    if is_own(name):
        for line in own_lines(name):
            print(folded(line, " " * 10))
        return
    if name not in CATALOGUE:
        raise ConfigError([f"{name} is no quantity{nearest(name, CATALOGUE)}; `mlpexp measurements` lists them"])
    for line in quantity_lines(name):
        print(folded(line, " " * 10))


def own_lines(file: str) -> Iterator[str]:
    """What there is to say of a quantity of the user's own, a line each, once its check is passed."""
    if why := unread(file):
        raise ConfigError([f"{file} cannot be read ({why}); name a file that defines measure(step)"])
    text = Path(file).read_text(encoding="utf-8")
    if mistakes := [one for one in [mistake_in(file, text)] if one] or checked(MODULE, file, text):
        raise ConfigError([f"{file}: {line}" for line in mistakes])
    name, told = name_of(file), told_in(text)
    yield f"{name}: {told.description}"
    yield f"unit      {told.unit}"
    yield "shape     [R, L] or [R]: what measure(step) gives, one number a layer or one of the run"
    yield f"text      {label(file, text)}: another text is measured anew"
    yield f"measured  {WORDS[None]}, and after the last update"
    yield f"schedule  measurements.schedule.{name}"
    yield f"asked for measurements.quantities=[basic,{file}]"


def quantity_lines(name: str) -> Iterator[str]:
    """What there is to say of a quantity, a line each."""
    one = CATALOGUE[name]
    yield f"{name}: {one.description}"
    yield f"unit      {one.unit}"
    yield f"shape     {one.shape}: {SHAPES[one.shape]}"
    yield f"source    {one.source}"
    yield f"measured  {WORDS[DEFAULT_SCHEDULES[one.kind]]}, and after the last update"
    if name in ON_PROBE:
        yield "probe     the first measurements.probe_examples training examples, as the network is in evaluation"
    yield f"schedule  measurements.schedule.{name}, or of all its kind measurements.schedule.{one.kind}"
    yield f"presets   {', '.join(preset for preset, names in PRESETS.items() if name in names)}"
    yield f"defined   {one.file}"
