"""The rules of kernel/arithmetic.py: products have the same bits wherever they lie; the source keeps to the rules."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from kernel_sources import SOURCES, functions_of
from torch import Tensor

from mlpexp.kernel.arithmetic import product, require_stable_products

# --- products and where they lie in memory ---

MISALIGNED = """
import itertools, torch
torch.set_num_threads(1)
from mlpexp.kernel.arithmetic import UnstableProducts, _moved, product, require_stable_products
generator = torch.Generator().manual_seed(1)
differ = False
for rows, inner, columns in itertools.product((1, 3, 7, 33, 64), (2, 10, 33, 64), (2, 7, 10, 33, 64)):
    left, right = (torch.randn(3, *shape, generator=generator) for shape in ((rows, inner), (inner, columns)))
    expected = product(left, right)
    for offset in range(1, 16):
        out = _moved(torch.empty_like(expected), offset)
        moved = product(_moved(left, offset), _moved(right, 16 - offset))
        alone = product(left[1:2], right[1:2])[0]
        differ |= not torch.equal(product(left, right, out=out), expected)
        differ |= not torch.equal(moved, expected) or not torch.equal(alone, expected[1])
try:
    require_stable_products()
    print(differ, False)
except UnstableProducts as error:
    assert "MKL_CBWR" in str(error)
    print(differ, True)
"""


def misaligned(**environment: str) -> tuple[str, str]:
    """In a process of its own: whether misaligned products differ, and whether the self-test says so."""
    clean = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    command = [sys.executable, "-c", MISALIGNED]
    answer = subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, check=True, timeout=60
    )
    differ, raised = answer.stdout.split()
    return differ, raised


def test_the_self_test_raises_exactly_where_misaligned_products_differ() -> None:
    differ, raised = misaligned()
    assert raised == differ


def test_with_strict_products_alignment_does_not_matter() -> None:
    assert misaligned(MKL_CBWR="AUTO,STRICT") == ("False", "False")
    require_stable_products()


def test_one_result_column_is_a_product_like_any_other() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(3, *s, generator=generator, dtype=torch.float64) for s in ((5, 33), (33, 1)))
    torch.testing.assert_close(product(left, right), left @ right, rtol=1e-13, atol=1e-14)
    out = torch.full((3, 5, 1), torch.nan, dtype=torch.float64)
    assert product(left, right, out=out).data_ptr() == out.data_ptr()
    assert torch.equal(out, product(left, right))


# --- the rules, read from the source ---

ELEMENTWISE = {
    *("neg", "reciprocal", "exp", "expm1", "log", "log1p", "tanh", "erf", "sqrt", "clamp", "where", "lerp", "addcmul"),
    *(
        "addcdiv",
        "rsqrt",
        "bitwise_and",
        "add",
        "sub",
        "mul",
        "div",
        "square",
        "abs",
        "sign",
        "isfinite",
        "isinf",
        "isnan",
        "maximum",
        "nan_to_num",
        "masked_fill",
    ),
}
REDUCTIONS = {"sum", "amax", "amin", "aminmax", "argmax", "vector_norm"}
PLACES = {
    *("arange", "cat", "empty", "empty_like", "eye", "expand", "fill", "flatten", "from_numpy", "full", "full_like"),
    *(
        "as_strided",
        "stride",
        "storage_offset",
        "gather",
        "index_select",
        "new_empty",
        "new_full",
        "new_tensor",
        "new_zeros",
        "ones",
        "ones_like",
        "randn",
        "stack",
    ),
    *("tensor", "transpose", "view", "zeros", "zeros_like", "clone", "contiguous", "copy", "to", "long", "nonzero"),
    *("numpy", "numel", "equal", "manual_seed", "Generator", "Tensor", "dtype", "device", "any", "all"),
    *("sort", "scatter_add", "expand_as", "eq", "gt", "detach", "is_complex", "split"),
}
CONSTANTS = {"float32", "float64", "int32", "int64", "finfo", "bool", "inf", "nan"}
ALLOWED = ELEMENTWISE | REDUCTIONS | PLACES | CONSTANTS
ONLY_IN = {
    **{"bmm": "product", "svdvals": "singular_values", "eigvalsh": "largest_eigenvalue"},
    **{"qr": "orthonormal", "diagonal": "orthonormal"},
}


def breaches(source: str) -> list[str]:
    """Where a source leaves the rules: functions and methods of torch that are not allowed, and open reductions."""
    found = []
    for function, node in functions_of(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
            found.append(f"{line}: @")
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
            found += [f"{line}: {a.name}" for a in node.names if a.name not in ALLOWED | {"Tensor"}]
        if isinstance(node, ast.Attribute) and _is_torch(node.value) and node.attr != "linalg":
            found += [f"{line}: torch.{node.attr}"] if not _allowed(node.attr, function) else []
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
        if isinstance(called, ast.Attribute) and not _is_numpy(called) and hasattr(Tensor, name):
            found += [f"{line}: .{name}()"] if not _allowed(name, function) and name not in OURS else []
        is_ours = isinstance(called, ast.Name) and name != "vector_norm"  # the builtin sum
        if name in REDUCTIONS and not is_ours and not any(keyword.arg == "dim" for keyword in node.keywords):
            found.append(f"{line}: {name} without dim")
    return found


OURS = {"select"}  # methods of lanes, networks and rules that a tensor has too


def _is_torch(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id == "torch") or (
        isinstance(node, ast.Attribute) and node.attr == "linalg" and _is_torch(node.value)
    )


def _is_numpy(called: ast.Attribute) -> bool:
    return isinstance(called.value, ast.Name) and called.value.id in ("np", "generator", "math")


def _allowed(name: str, function: str) -> bool:
    return name.rstrip("_") in ALLOWED or (name in ONLY_IN and ONLY_IN[name] == function)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_source_keeps_to_the_rules(path: Path) -> None:
    assert breaches(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.sigmoid(z)", "z.sigmoid_()", "torch.nn.functional.silu(z)", "z.std(dim=1)", "torch.var(z, dim=1)",
        "torch.einsum('ab,bc->ac', z, z)", "z.mean(dim=1)", "torch.bmm(z, z)", "z @ z", "z.matmul(z)", "z.sum()",
        "torch.amax(z)", "vector_norm(z)", "z.pow(2)", "torch.softmax(z, dim=2)", "from torch import einsum",
        "z.norm()", "torch.linalg.norm(z)", "z.max(dim=1)", "z.cumsum(dim=0)", "z.item()", "z @= z",
    ],
)  # fmt: skip
def test_a_breach_is_found(line: str) -> None:
    assert breaches(f"import torch\ndef f(z):\n    {line}\n") != []
