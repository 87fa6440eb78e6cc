"""A trained run as an ordinary torch module, for whoever wants to predict with it."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mlpexp.config import Config

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU,
}  # fmt: skip
OUTPUTS: dict[str, nn.Module] = {
    "identity": nn.Identity(), "sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(dim=-1),
}  # fmt: skip


class Perceptron(nn.Module):
    """Impute and normalise as in training, then layer after layer; the output function comes last.

    `layers` are torch.nn.Linear. `forward` gives f (probabilities for classes), `logits` the z_L before it.
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
        self.activation = (
            nn.LeakyReLU(0.01 if model.negative_slope is None else model.negative_slope)
            if model.activation == "leaky_relu"
            else ACTIVATIONS[model.activation]()
        )
        self.output = OUTPUTS[output]
        self.register_buffer("fill", torch.full((widths[0],), torch.nan, dtype=torch.float64))
        self.register_buffer("centre", torch.zeros(widths[0], dtype=torch.float64))
        self.register_buffer("scale", torch.ones(widths[0], dtype=torch.float64))

    def logits(self, inputs: Tensor) -> Tensor:
        """z_L [B, k] of raw inputs [B, q]."""
        raw = inputs.to(torch.float64)
        raw = torch.where(torch.isnan(raw), self.fill, raw)
        x = ((raw - self.centre) / self.scale).to(self.dtype)
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        z: Tensor = self.layers[-1](x)
        return z

    def forward(self, inputs: Tensor) -> Tensor:
        """f [B, k] of raw inputs [B, q]."""
        f: Tensor = self.output(self.logits(inputs))
        return f


def module(folder: Path, config: Config, facts: dict[str, Any], which: str) -> Perceptron:
    """The network of a run folder, with the normalisation that its training part had."""
    network = Perceptron(facts["widths"], config, facts["output"])
    weights = load_file(folder / f"{which}.safetensors") | load_file(folder / "normalisation.safetensors")
    weights.setdefault("fill", network.fill)
    network.load_state_dict(weights)
    return network.eval()
