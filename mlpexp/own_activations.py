"""The check of a user's own activations before anything trains, in a process of its own.

Flow: config → **own activations** → planning. `python -m mlpexp.own_activations FILE [σ_b …] < text` prints what
is wrong with a text, as a list in JSON. Nothing here loads torch in the calling process.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlpexp.config import Config
from mlpexp.own_checks import answer, checked, told

if TYPE_CHECKING:
    from torch import Tensor

STEP, TOLERANCE = 1e-5, 1e-6
"""Of the central difference with which `derivative` is compared; relative to the larger of 1, |σ| and |σ′|."""
SAFE = "exp, expm1, log, log1p, tanh, erf, sqrt, clamp, where, abs, sign and + − × ÷"


def mistakes_of(configs: Sequence[Config]) -> list[str]:
    """A line for each mistake in an activation of the user's own that one of these configs names."""
    sources: dict[tuple[str, str], set[float]] = {}
    for config in configs:
        for source in (config.model.activation_sources or {}).items():
            scheme = config.initialisation
            sources.setdefault(source, set()).update([scheme.sigma_b] if scheme.name == "critical" else [])
    return [
        f"model.activation={file}: {line}"
        for (file, text), sigma_b in sources.items()
        for line in checked("mlpexp.own_activations", file, text, tuple(map(repr, sorted(sigma_b))))
    ]


def check(file: str, source: str, sigma_b: Sequence[float] = ()) -> list[str]:
    """What is wrong with the text of an activation: how it is written, its derivative, its bits.

    And whether it has a critical σ_w at each of these σ_b.
    """
    from mlpexp.kernel.own_activation import functions_of

    try:
        value, derivative = functions_of(source, file)
    except BaseException as error:
        return [f"it cannot be run: {told(error, file)}"]
    try:
        wrong = _wrong_kind(value, derivative) or _wrong_bits(value, derivative) or _wrong_numbers(value, derivative)
        return wrong or _not_critical(file, value, derivative, sigma_b)
    except Exception as error:
        return [f"it fails: {told(error, file)}"]


Value = Callable[["Tensor"], "Tensor"]
Derivative = Callable[["Tensor", "Tensor"], "Tensor"]


def _wrong_kind(value: Value, derivative: Derivative) -> list[str]:
    """What is no tensor of z's shape and precision, changes z or x, or is not a number."""
    import torch

    for dtype in (torch.float32, torch.float64):
        z = torch.cat([torch.linspace(-100, 100, 401, dtype=dtype), torch.zeros(1, dtype=dtype)]).view(2, 67, 3)
        kept, x = z.clone(), value(z)
        if line := _no_twin("value(z)", x, z):
            return [line]
        x_kept, slopes = x.clone(), derivative(z, x)
        if line := _no_twin("derivative(z, x)", slopes, z):
            return [line]
        if not torch.equal(z, kept) or not torch.equal(x.nan_to_num(), x_kept.nan_to_num()):
            return ["it changes z or x; compute into tensors of its own"]
        for name, found in (("value", x), ("derivative", slopes)):
            if bool(torch.isnan(found).any()):
                at = float(z[torch.isnan(found)].abs().min())
                return [
                    f"its {name} is not a number at |z| = {at:.4g} in {_name(dtype)}; what overflows must be clamped"
                ]
    return []


def _no_twin(name: str, found: Any, z: "Tensor") -> str:
    import torch

    if not isinstance(found, torch.Tensor):
        return f"{name} must give a tensor, got {type(found).__name__}"
    if found.shape != z.shape or found.dtype != z.dtype:
        shapes = f"{list(found.shape)} of {_name(found.dtype)}, for z {list(z.shape)} of {_name(z.dtype)}"
        return f"{name} must give a tensor of z's shape and precision, got {shapes}"
    return ""


def _wrong_numbers(value: Value, derivative: Derivative) -> list[str]:
    """Where the derivative is not that of the value, by central differences in float64."""
    import torch

    z = torch.linspace(-8, 8, 97, dtype=torch.float64) + 0.01234  # beside the places where kinks usually are
    x = value(z)
    expected, found = (value(z + STEP) - value(z - STEP)) / (2 * STEP), derivative(z, x)
    scale = torch.stack([torch.ones_like(z), x.abs(), expected.abs()]).amax(dim=0)
    wrong = ~((found - expected).abs() <= TOLERANCE * scale)
    if not bool(wrong.any()):
        return []
    i = int(torch.where(wrong, (found - expected).abs() / scale, -1.0).argmax())
    numbers = f"at z = {float(z[i]):.4g} it gives {float(found[i]):.7g}, differences of value {float(expected[i]):.7g}"
    return [f"its derivative is not that of its value: {numbers} ({int(wrong.sum())} of {len(z)} points disagree)"]


def _wrong_bits(value: Value, derivative: Derivative) -> list[str]:
    """Whether one number's result depends on its neighbours, on its place in memory, or on the call."""
    import torch

    for dtype in (torch.float32, torch.float64):
        z = torch.randn(1021, generator=torch.Generator().manual_seed(0), dtype=dtype) * 3
        x = value(z)
        whole = torch.stack([x, derivative(z, x)])
        for start, count in [
            *((i, n) for n in (1, 2, 3, 7, 8, 15, 33) for i in range(0, 1000, 17)),
            (0, 1021),
            (5, 960),
        ]:
            part, x_part = z[start : start + count], x[start : start + count]
            for piece, x_piece in ((part.clone(), x_part.clone()), (part, x_part)):
                shape = (count // 3, 3) if count % 3 == 0 else (count,)
                here = [
                    f.reshape(-1)
                    for f in (value(piece.view(shape)), derivative(piece.view(shape), x_piece.view(shape)))
                ]
                for name, a, b in zip(("value", "derivative"), whole[:, start : start + count], here, strict=True):
                    if not torch.equal(a, b):
                        return [_told_bits(name, part, a, b, dtype)]
    return []


def _not_critical(file: str, value: Value, derivative: Derivative, sigma_b: Sequence[float]) -> list[str]:
    """Why theory finds no critical σ_w for initialisation=critical."""
    if not sigma_b:
        return []
    from mlpexp.critical_weights import of_activation, of_torch

    found = [of_activation(of_torch(Path(file).stem, value, derivative), one) for one in sigma_b]
    return [f"initialisation=critical: {one}" for one in found if isinstance(one, str)]


def _told_bits(name: str, z: "Tensor", a: "Tensor", b: "Tensor", dtype: Any) -> str:
    i = int((a - b).abs().argmax())
    numbers = f"at z = {float(z[i]):.9g} in {_name(dtype)} it is {float(a[i]):.9g} and {float(b[i]):.9g}"
    if float((a - b).abs()[i]) > 1e-4 * float(a.abs()[i]):
        return f"its {name} is not elementwise, or not the same at every call: {numbers} beside other numbers"
    return (
        f"its {name} has other bits at another place in memory, so a run would depend on its company: {numbers}; "
        f"write it with {SAFE} alone (sigmoid is 1/(1 + exp(−z)), softplus clamp(z, min=0) + log1p(exp(−|z|)))"
    )


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    answer(lambda file, source, words: check(file, source, [float(word) for word in words]))
