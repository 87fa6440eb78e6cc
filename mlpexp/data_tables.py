"""Data sets in the terminal: all that there are, or one with facts and a picture.

Flow: data → **data_tables** → terminal.
"""

from rich.console import Console
from rich.table import Table

from mlpexp.data import DataError
from mlpexp.data.catalogue import catalogue_rows, describe
from mlpexp.data_schema import DataBase
from mlpexp.letters import folded
from mlpexp.refusals import ConfigError


def show_data_list() -> None:
    """What data there are."""
    console = Console()
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for name in ("data", "task", "rows", "features", "classes"):
        table.add_column(name, no_wrap=True)
    table.add_column("source, licence", overflow="fold")
    for entry in catalogue_rows():
        origin = f"{entry.source}, {entry.licence}"
        row = (entry.name, entry.task, entry.rows, entry.features, entry.classes, origin)
        table.add_row(*row, style=None if entry.installed else "dim")
    console.print(table)
    for entry in catalogue_rows():
        if not entry.installed:
            console.print(f"{entry.name} is not installed: {entry.install}", highlight=False, markup=False)
    console.print("* changes with the generator's keys; mlpexp data NAME shows one", style="dim", highlight=False)


def show_data(section: DataBase) -> None:
    """One data set: facts, classes by part, a picture."""
    try:
        description = describe(section)
    except DataError as error:
        raise ConfigError([str(error)]) from None
    for line in description.lines():
        print(folded(line, " " * 10))
