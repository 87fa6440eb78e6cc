"""The schema of `model` and `initialisation`: what a network is before it is trained.

Flow: section → **model_schema** → config.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mlpexp.section import Neutral, Real, Section, Whole

ActivationName = Literal["identity", "sigmoid", "tanh", "relu", "leaky_relu"]


class Model(Section):
    """A multilayer perceptron; depth counts weight matrices."""

    depth: Whole = Field(4, ge=1, le=1000, description="number of weight matrices L")
    width: Whole = Field(64, ge=1, le=65536, description="units of each hidden layer")
    activation: ActivationName = "relu"
    negative_slope: Annotated[Real | None, Neutral(None)] = Field(None, ge=0, le=1, description="slope below zero")
    bias: bool = True
    dropout: Annotated[Real, Neutral(0.0)] = Field(0.0, ge=0, lt=1, description="share of hidden units switched off")
    output: Literal["auto", "sigmoid", "softmax", "identity"] = "auto"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.negative_slope is not None and self.activation != "leaky_relu":
            raise ValueError(
                f"model.negative_slope={self.negative_slope:g} belongs to leaky_relu, but model.activation is "
                f"{self.activation}; leave it null or choose model.activation=leaky_relu"
            )
        if self.dropout > 0 and self.depth == 1:
            raise ValueError(
                f"model.dropout={self.dropout:g} acts on hidden layers, but model.depth=1 has none; choose depth ≥ 2"
            )
        return self


class Scaled(Section):
    """Normal weights whose variance follows from the layer's sizes; biases start at zero."""

    name: Literal["glorot", "he", "lecun"]
    gain: Annotated[Real, Neutral(1.0)] = Field(1.0, gt=0, description="factor on the standard deviation")


class TorchDefault(Section):
    """torch.nn.Linear's uniform weights and biases, ±1/√k_in."""

    name: Literal["torch_default"]


class Normal(Section):
    """Var(W) = sigma_w²/k_in, Var(b) = sigma_b²."""

    name: Literal["normal"]
    sigma_w: Real = Field(1.0, ge=0)
    sigma_b: Real = Field(0.0, ge=0)


Initialisation = Annotated[Scaled | TorchDefault | Normal, Field(discriminator="name")]
