"""Boolean expressions as text → a small tree: `y = not x1 or (x2 and x3)`.

Flow: command line → **boolean_expression** → mcculloch_pitts.

Python's own parser reads them, so they bind as in Python: `^` (or the word `xor`) most tightly, then `not`, `and`,
`or`. What is not Boolean is refused with its place.
"""

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlpexp.refusals import ConfigError

Bits = NDArray[np.bool_]

ALLOWED = "allowed are names, not, and, or, xor (or ^), True, False and parentheses"
DEEPEST = 200  # levels of nesting; far below where Python itself gives up


@dataclass(frozen=True)
class Node:
    """`kind` is input (with a `name`), constant (with a `value`), not, and, or, xor; the last four have `parts`."""

    kind: str
    name: str = ""
    value: bool = False
    parts: tuple["Node", ...] = ()

    def names(self) -> list[str]:
        """Inputs in the order in which they first stand in the text; natural order where they are numbered."""
        own = [self.name] if self.kind == "input" else []
        return list(dict.fromkeys([*own, *(name for part in self.parts for name in part.names())]))


@dataclass(frozen=True)
class Expression:
    """What was read: `output = tree`, with `inputs` as x1, x2, …, x10."""

    output: str
    tree: Node
    inputs: list[str]


def parse(text: str) -> Expression:
    """Read `tree` or `output = tree`; the output is called y unless named. Raises ConfigError with the place."""
    text = " ".join(text.split())
    source = re.sub(r"\bxor\b", "^  ", text)  # as long as the word, so that places stay
    if not text:
        raise ConfigError(["the expression is empty; give one, as in: y = not x1 or (x2 and x3)"])
    if "#" in text:  # Python would take the rest for a comment
        raise refusal(text, text.index("#"), "# cannot stand here", ALLOWED)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's remarks on what is refused below
            statements = ast.parse(source).body
    except SyntaxError as error:
        place = (error.offset or 1) - 1
        raise refusal(text, place, "the expression breaks off or goes astray here", _hint(text)) from None
    except (RecursionError, MemoryError, ValueError) as error:
        raise ConfigError([f"the expression cannot be read ({error}); {ALLOWED}"]) from None
    reader = Reader(text, source)
    output, body = reader.sides(statements)
    tree = reader.node(body)
    inputs = sorted(tree.names(), key=_natural)
    if output in inputs:
        raise ConfigError(
            [f"{output} stands on both sides of =; these nets have no circles: name the output otherwise"]
        )
    return Expression(output or ("y" if "y" not in inputs else "output"), tree, inputs)


def truth(node: Node, values: Mapping[str, Bits]) -> Bits:
    """What a part of the tree is by the laws of logic, for columns of input values."""
    parts = [truth(part, values) for part in node.parts]
    match node.kind:
        case "input":
            return values[node.name]
        case "constant":
            return np.full_like(next(iter(values.values()), np.zeros(1, dtype=bool)), node.value)
        case "not":
            return ~parts[0]
        case kind:
            found: Bits = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}[kind].reduce(parts)
            return found


class Reader:
    """Turns Python's syntax tree into ours, and refuses the rest of Python."""

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source = text, source

    def sides(self, statements: list[ast.stmt]) -> tuple[str, ast.expr]:
        """The output's name (empty if there is none) and the right side."""
        if len(statements) > 1:
            raise self.refusal(statements[1], "a second statement begins here")
        match statements[0]:
            case ast.Expr(value=body):
                return "", body
            case ast.Assign(targets=[ast.Name(id=name)], value=body):
                return name, body
            case ast.Assign(targets=targets):
                raise self.refusal(targets[-1], "left of = stands one name")
        raise self.refusal(statements[0], f"{self.excerpt(statements[0])} cannot stand here")

    def node(self, here: ast.expr, depth: int = 0) -> Node:
        """One part of the tree, so many levels down."""
        if depth > DEEPEST:
            raise self.refusal(here, f"the expression is nested more than {DEEPEST} deep")
        match here:
            case ast.Name(id=name):
                return Node("input", name=name)
            case ast.Constant(value=bool(value)):
                return Node("constant", value=value)
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return Node("not", parts=(self.node(part, depth + 1),))
            case ast.BoolOp(op=op, values=parts):
                kind = "and" if isinstance(op, ast.And) else "or"
                return Node(kind, parts=tuple(self.node(part, depth + 1) for part in parts))
            case ast.BinOp(left=left, op=ast.BitXor(), right=right):
                return Node("xor", parts=(self.node(left, depth + 1), self.node(right, depth + 1)))
        raise self.refusal(here, f"{self.excerpt(here)} cannot stand here")

    def excerpt(self, here: ast.stmt | ast.expr) -> str:
        """The words of a part, shortened."""
        words = self.text[self.place(here) : self.place(here, end=True)]
        return words if len(words) <= 30 else f"{words[:29]}…"

    def place(self, here: ast.stmt | ast.expr, end: bool = False) -> int:
        """Characters before a part, or before its end: Python counts bytes."""
        column = here.end_col_offset if end else here.col_offset
        return len(self.source.encode()[:column].decode())

    def refusal(self, here: ast.stmt | ast.expr, why: str) -> ConfigError:
        """Says where it stands."""
        return refusal(self.text, self.place(here), why, ALLOWED)


def refusal(text: str, place: int, why: str, way_out: str) -> ConfigError:
    """Two lines: what is wrong at which character, and what stands there."""
    begin = max(0, place - 30)
    around = ("…" if begin else "") + text[begin:place] + "»" + text[place : place + 30]
    return ConfigError(
        [f"character {place + 1}: {why}; {way_out}", f"  {around}{'…' if place + 30 < len(text) else ''}"]
    )


def _hint(text: str) -> str:
    if re.search(r"(\bxor|\^)\s*not\b", text):
        return "after xor, not needs parentheses: x1 xor (not x2)"
    if re.search(r"\bxor\s*\(.*,", text):
        return "xor stands between its parts: x1 xor x2"
    return ALLOWED


def _natural(name: str) -> list[tuple[int, str]]:
    """x2 before x10."""
    return [(int(word), "") if word.isdecimal() else (0, word) for word in re.findall(r"\d+|\D+", name)]
