"""The files whose source keeps to the kernel's rules, and their syntax, function by function."""

import ast
from collections.abc import Iterator
from pathlib import Path

import mlpexp.kernel
from mlpexp import recording, training

KERNEL = sorted(Path(str(mlpexp.kernel.__file__)).parent.rglob("*.py"))
SOURCES = [*KERNEL, Path(str(training.__file__)), Path(str(recording.__file__))]


def functions_of(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every node, with the name of the function that it stands in."""
    for node in ast.iter_child_nodes(tree):
        name = node.name if isinstance(node, ast.FunctionDef) else inside
        yield name, node
        yield from functions_of(node, name)
