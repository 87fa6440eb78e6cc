"""What a user's activation may not be: each mistake is told in a line, with its place and numbers."""

from pathlib import Path

import pytest
import torch
from activation_texts import GOOD, HEAD, MISH
from runs_fixtures import SMALL, composed

from mlpexp.own_activations import check
from mlpexp.runner import run

REFUSED = {
    "": ["cannot be run", "must define value(z) and derivative(z, x)"],
    "def value(z): return z": ["must define value(z) and derivative(z, x)"],
    "value = 3\nderivative = 4": ["must define value(z) and derivative(z, x)"],
    "def value(z) return z": ["cannot be run: SyntaxError", "line 1"],
    f"{HEAD}\nraise SystemExit(3)": ["cannot be run: SystemExit: 3 (line 3)"],
    f"{HEAD}def value(z): return torch.no_such(z)\n{GOOD}": ["it fails: AttributeError", "no_such", "(line 2)"],
    f"{HEAD}def value(z, out): return z\n{GOOD}": ["it fails: TypeError", "'out'"],
    f"{HEAD}def value(z): return 1.0\n{GOOD}": ["value(z) must give a tensor, got float"],
    f"{HEAD}def value(z): return z.sum(dim=0)\n{GOOD}": [
        "z's shape and precision, got [67, 3] of float32, for z [2, 67"
    ],
    f"{HEAD}def value(z): return z.double()\n{GOOD}": ["got [2, 67, 3] of float64, for z [2, 67, 3] of float32"],
    f"{HEAD}def value(z): return z.mul_(2)\n{GOOD}": ["it changes z or x"],
    f"{HEAD}def value(z): return z\ndef derivative(z, x): return x.fill_(1)": ["it changes z or x"],
    f"{HEAD}def value(z): return z * torch.exp(z) / torch.exp(z)\n{GOOD}": [
        "its value is not a number at |z| = ",
        "float32",
    ],
    f"{HEAD}def value(z): return z\ndef derivative(z, x): return x / z": ["its derivative is not a number at |z| = 0 "],
    f"{HEAD}def value(z): return z - z.sum() / z.numel()\n{GOOD}": [
        "its value is not elementwise",
        "beside other numbers",
    ],
    f"{HEAD}def value(z): return z + 0 * torch.rand_like(z)\ndef derivative(z, x): return torch.rand_like(z)": [
        "its derivative is not elementwise, or not the same at every call"
    ],
    f"{HEAD}def value(z): return z * z\n{GOOD}": [
        "its derivative is not that of its value: at z = ",
        "it gives 1, diff",
    ],
    f"{HEAD}def value(z): return torch.sign(z)\n{GOOD}": ["differences of value 0 (97 of 97 points disagree)"],
    f"{HEAD}def value(z): return z * z\ndef derivative(z, x): return 2 * z + 1e-4": ["is not that of its value"],
}


@pytest.mark.parametrize("source", REFUSED)
def test_a_mistake_is_told_with_its_place_and_numbers(source: str) -> None:
    (line,) = check("/somewhere/mine.py", source)
    assert [part for part in REFUSED[source] if part not in line] == [], line


@pytest.mark.parametrize("function", ["sigmoid", "nn.functional.silu", "nn.functional.softplus"])
def test_what_has_other_bits_at_another_place_is_refused(function: str) -> None:
    whole = torch.randn(1021, generator=torch.Generator().manual_seed(0)) * 3
    called = eval(f"torch.{function}")
    if all(torch.equal(called(whole[i : i + 1].clone()), called(whole)[i : i + 1]) for i in range(1021)):
        pytest.skip("on this processor it has the same bits everywhere: there is nothing to refuse but on another one")
    slope = "torch.autograd.functional.vjp(value, z, torch.ones_like(z))[1]"
    source = f"import torch\ndef value(z): return torch.{function}(z)\ndef derivative(z, x): return {slope}"
    (line,) = check("mine.py", source)
    assert "has other bits at another place in memory" in line
    assert "write it with exp, expm1" in line


@pytest.mark.parametrize(
    "source",
    [
        f"{HEAD}def value(z): return z\n{GOOD}",  # z itself
        f"{HEAD}def value(z): return z.clamp(0, 6)\ndef derivative(z, x): return ((z > 0) & (z < 6)).to(z.dtype)",
        f"{HEAD}def value(z): return torch.exp(z / 9)\ndef derivative(z, x): return x / 9\nprint('printed')",
        MISH,
    ],
)
def test_what_is_right_is_taken(source: str) -> None:
    assert check("mine.py", source) == []


def test_a_derivative_may_ask_autograd_while_networks_train(tmp_path: Path) -> None:
    """In torch's inference mode, in which other cohorts train, it would be told zeros."""
    slopes = {"asked": "torch.autograd.functional.vjp(value, z, torch.ones_like(z))[1]", "written": "1 + z * z / 3"}
    losses = {}
    for name, slope in slopes.items():
        file = tmp_path / f"{name}.py"
        file.write_text(f"import torch\ndef value(z): return z + z * z * z / 9\ndef derivative(z, x): return {slope}")
        (result,) = run(composed(*SMALL, f"model.activation={file}", f"outputs={tmp_path}"), quiet=True)
        losses[name] = result.scores["loss/train"]
    assert losses["asked"] == pytest.approx(losses["written"], rel=1e-4)
