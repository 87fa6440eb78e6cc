"""Chapter 2: a Boolean expression as a net of threshold units, and its truth table.

Flow: boolean_expression, mcculloch_pitts → **chapter** → net_figure, finding.
"""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mlpexp.lineage.boolean_expression import Bits, parse, truth
from mlpexp.lineage.chapters.net_figure import draw
from mlpexp.lineage.finding import Finding
from mlpexp.lineage.mcculloch_pitts import Net, Unit, all_rows, compile_net

ROWS_PRINTED, UNITS_PRINTED = 16, 16


def find(expression: Sequence[str]) -> Finding:
    """The net of an expression (given as words), checked on every input."""
    text = " ".join(" ".join(expression).split())
    read = parse(text)
    net = compile_net(read)
    rows = all_rows(len(net.inputs))
    fired = net.fire(rows)
    meant = truth(read.tree, dict(zip(read.inputs, rows.T, strict=True)))
    assert (fired[:, -1] == meant).all(), f"the net of {text} says something else; this is a bug of mlpexp"
    return Finding(
        "mcculloch_pitts",
        lines_of(text, net, rows, fired),
        {"expression": text, "inputs": len(net.inputs), "inhibition": "signed weights"},
        {"units": len(net.units), "depth": net.depth, "connections": net.connections, "share_true": meant.mean()},
        draw(text, net, names_of(net), rows, fired[:, -1]),
        tables_of(net, rows, fired),
    )


def names_of(net: Net) -> list[str]:
    """Inputs as they are called, units as u1, u2, …, the last as the output."""
    taken = {*net.inputs, net.output}
    letter = next(
        letter for letter in ("u", "h", "unit", "unit_") if not any(name.startswith(letter) for name in taken)
    )
    return [*net.inputs, *(f"{letter}{i}" for i in range(1, len(net.units))), net.output]


def equation(unit: Unit, names: Sequence[str]) -> str:
    """`x2 + x3 − 2 x4 ≥ 2`."""
    words: list[str] = []
    for source, weight in unit.weights:
        size = "" if abs(weight) == 1 else f"{abs(weight)} "
        sign = ("−" if weight < 0 else "") if not words else (" − " if weight < 0 else " + ")
        words.append(f"{sign}{size}{names[source]}")
    return f"{''.join(words) or '0'} ≥ {str(unit.threshold).replace('-', '−')}"


def lines_of(text: str, net: Net, rows: Bits, fired: Bits) -> list[str]:
    """What the terminal shows."""
    names = names_of(net)
    sizes = (
        f"{counted(len(net.units), 'unit')} in {counted(net.depth, 'level')}, {counted(net.connections, 'connection')}"
    )
    lines = [*textwrap.wrap(text, 80), f"{sizes}; designed, not trained", ""]
    own = names[len(net.inputs) :]
    width = max(map(len, own[-UNITS_PRINTED:]))
    shown = list(zip(own, net.units, strict=True))
    if len(shown) > UNITS_PRINTED:
        lines.append(f"the last {UNITS_PRINTED} of them, all in units.csv:")
    for name, unit in shown[-UNITS_PRINTED:]:
        words = f"{name:<{width}}  fires where {equation(unit, names)}  ({unit.says})"
        lines += textwrap.wrap(words, 80, subsequent_indent=" " * (width + 2))
    checked = f"all {len(rows)} rows of its truth table are as the expression says"
    lines += ["", checked if len(rows) > 1 else f"its value is {'TRUE' if fired[0, -1] else 'FALSE'} without any input"]
    if 1 < len(rows) <= ROWS_PRINTED:
        lines.append("  ".join([*net.inputs, "|", net.output]))
        for row, value in zip(rows, fired[:, -1], strict=True):
            cells = [f"{int(bit):>{len(name)}}" for bit, name in zip(row, net.inputs, strict=True)]
            lines.append("  ".join([*cells, "|", f"{int(value):>{len(net.output)}}"]))
    elif len(rows) > 1:
        lines.append(f"{fired[:, -1].sum()} rows are true; all in truth_table.csv")
    return lines


def counted(number: int, thing: str) -> str:
    """`1 unit`, `2 units`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def tables_of(net: Net, rows: Bits, fired: Bits) -> dict[str, pd.DataFrame]:
    """The truth table with every unit, and the units."""
    names = names_of(net)
    everything = np.concatenate([rows, fired], axis=1).astype(int)
    units = [
        {"unit": name, "level": level, "says": unit.says, "fires_where": equation(unit, names)}
        for name, level, unit in zip(names[len(net.inputs) :], net.levels, net.units, strict=True)
    ]
    return {"truth_table": pd.DataFrame(everything, columns=names), "units": pd.DataFrame(units)}
