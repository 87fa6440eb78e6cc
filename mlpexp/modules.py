"""A trained run as an ordinary torch module, for whoever wants to predict with it."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mlpexp.config import Config, Model
from mlpexp.kernel.activations import Activation, activation
from mlpexp.kernel.own_activation import functions_of

ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "identity": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU, "selu": nn.SELU, "gelu": nn.GELU, "silu": nn.SiLU, "softsign": nn.Softsign,
    "softplus": lambda: nn.Softplus(threshold=40),  # torch's own, linear above 20, is 2e-9 off there
}  # fmt: skip
"""torch's own modules; other activations go through `Elementwise`."""
OUTPUTS: dict[str, nn.Module] = {
    "identity": nn.Identity(), "relu": nn.ReLU(), "sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(dim=-1),
}  # fmt: skip


class Elementwise(nn.Module):
    """An activation that torch has no module for: our value, and our derivative for autograd."""

    def __init__(self, own: Activation) -> None:
        super().__init__()
        self.own = own

    def forward(self, z: Tensor) -> Tensor:
        """σ(z)."""
        x: Tensor = _Elementwise.apply(z, self.own)
        return x

    def extra_repr(self) -> str:
        """Its name."""
        return self.own.name


class _Elementwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, own: Activation) -> Tensor:
        x = own.value(z, torch.empty_like(z))
        ctx.save_for_backward(z, x)
        ctx.own = own
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        z, x = ctx.saved_tensors
        return gradient * ctx.own.derivative(z, x, torch.empty_like(z)), None


class Own(nn.Module):
    """An activation from the text of a user's own file, kept with it: it can be copied and pickled."""

    def __init__(self, source: str, name: str) -> None:
        super().__init__()
        self.source, self.name = source, name
        self.value = functions_of(source, name)[0]

    def forward(self, z: Tensor) -> Tensor:
        """σ(z), through the user's `value`."""
        return self.value(z)

    def extra_repr(self) -> str:
        """The file that it was read from."""
        return self.name

    def __reduce__(self) -> tuple[type["Own"], tuple[str, str]]:
        return type(self), (self.source, self.name)


def activation_module(model: Model, name: str) -> nn.Module:
    """One of the model's activations as a module."""
    sources, parameters = model.activation_sources or {}, model.parameters_of(name)
    if name in sources:
        return Own(sources[name], name)
    return (
        ACTIVATIONS[name](*parameters.values()) if name in ACTIVATIONS else Elementwise(activation(name, **parameters))
    )


class Perceptron(nn.Module):
    """Impute and normalise as in training, then layer after layer; the output function comes last.

    `layers` are torch.nn.Linear, `norms` torch.nn.BatchNorm1d where the model has batch norm. `forward` gives
    f (probabilities for classes), `logits` the z_L before it.
    """

    fill: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(self, widths: list[int], config: Config, output: str) -> None:
        super().__init__()
        model = config.model
        dtype = torch.float64 if config.training.dtype == "float64" else torch.float32
        self.dtype = dtype
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=model.bias, dtype=dtype) for a, b in pairwise(widths))
        self.activations = nn.ModuleList(activation_module(model, name) for name in model.activations)
        self.norm_is_first = model.batch_norm == "before"
        norms = [_norm(model, units, dtype) for units in model.widths] if model.batch_norm else []
        self.norms = nn.ModuleList(norms)
        self.skip = model.skip
        self.output = OUTPUTS[output]
        self.register_buffer("fill", torch.full((widths[0],), torch.nan, dtype=torch.float64))
        self.register_buffer("centre", torch.zeros(widths[0], dtype=torch.float64))
        self.register_buffer("scale", torch.ones(widths[0], dtype=torch.float64))

    def logits(self, inputs: Tensor) -> Tensor:
        """z_L [B, k] of raw inputs [B, q]."""
        raw = inputs.to(torch.float64)
        raw = torch.where(torch.isnan(raw), self.fill, raw)
        x = ((raw - self.centre) / self.scale).to(self.dtype)
        for l, (layer, sigma) in enumerate(zip(self.layers[:-1], self.activations, strict=True)):
            z = layer(x)
            if self.norms and self.norm_is_first:
                z = self.norms[l](z)
            f = sigma(z)
            if self.norms and not self.norm_is_first:
                f = self.norms[l](f)
            x = f + x if self.skip and l > 0 and f.shape == x.shape else f
        last: Tensor = self.layers[-1](x)
        return last

    def forward(self, inputs: Tensor) -> Tensor:
        """f [B, k] of raw inputs [B, q]."""
        f: Tensor = self.output(self.logits(inputs))
        return f


def _norm(model: Model, units: int, dtype: torch.dtype) -> nn.BatchNorm1d:
    affine, epsilon, momentum = model.batch_norm_affine, model.batch_norm_epsilon, model.batch_norm_momentum
    return nn.BatchNorm1d(units, eps=epsilon, momentum=momentum, affine=affine, dtype=dtype)


def module(folder: Path, config: Config, facts: dict[str, Any], which: str) -> Perceptron:
    """The network of a run folder, with the normalisation that its training part had."""
    network = Perceptron(facts["widths"], config, facts["output"])
    weights = load_file(folder / f"{which}.safetensors") | load_file(folder / "normalisation.safetensors")
    weights.setdefault("fill", network.fill)
    for l in range(len(network.norms)):  # torch counts batches; nothing depends on it where momentum is a number
        weights[f"norms.{l}.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    network.load_state_dict(weights)
    return network.eval()
