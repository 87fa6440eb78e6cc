"""The schema of `model` and `initialisation`: what a network is before it is trained.

Flow: section → activation_schema → **model_schema** → config.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from mlpexp.activation_schema import ActivationName, ParameterOf, label, names_in, with_sources
from mlpexp.own_files import digest_of, is_own, unread
from mlpexp.section import Filled, Neutral, OneOrEach, OnlyWith, Real, Section, Whole

PROBABILITIES = ("sigmoid", "softmax")
"""Outputs that are probabilities of classes."""
Width = Annotated[Whole, Field(ge=1, le=65536)]


class Model(Section):
    """A multilayer perceptron; depth counts weight matrices."""

    depth: Whole = Field(4, ge=1, le=1000, description="number of weight matrices L")
    width: OneOrEach[Width] = Field(64, description="units of each hidden layer, or a list, one a layer")
    activation: OneOrEach[ActivationName] = Field("relu", description="σ of each hidden layer, or a list, one a layer")
    activation_sources: Annotated[dict[str, str] | None, Filled()] = Field(
        None, description="the text of each file that activation names; filled in by itself"
    )
    negative_slope: Annotated[Real | None, Neutral(None), ParameterOf("leaky_relu", 0.01)] = Field(
        None, ge=0, le=1, description="slope of leaky_relu below zero"
    )
    alpha: Annotated[Real | None, Neutral(None), ParameterOf("elu", 1.0)] = Field(
        None, ge=0, description="what elu goes to below zero, with its sign changed"
    )
    slope: Annotated[Real | None, Neutral(None), ParameterOf("linear", 1.0)] = Field(
        None, description="a of linear's az + b"
    )
    intercept: Annotated[Real | None, Neutral(None), ParameterOf("linear", 0.0)] = Field(
        None, description="b of linear's az + b"
    )
    bias: bool = True
    batch_norm: Annotated[Literal["before", "after"] | None, Neutral(None)] = Field(
        None,
        description="normalises hidden layers over the batch: after σ (the lecture's) or before it; null: not at all",
    )
    batch_norm_affine: Annotated[bool, Neutral(True), OnlyWith("batch_norm", "before", "after")] = Field(
        True, description="a trained gain γ and shift β behind the normalisation"
    )
    batch_norm_epsilon: Annotated[Real, Neutral(1e-5), OnlyWith("batch_norm", "before", "after")] = Field(
        1e-5, gt=0, description="added to the variance"
    )
    batch_norm_momentum: Annotated[Real, Neutral(0.1), OnlyWith("batch_norm", "before", "after")] = Field(
        0.1, gt=0, le=1, description="share of a new batch in the running statistics"
    )
    skip: Annotated[bool, Neutral(False)] = Field(
        False, description="X_{l+1} = σ(X_l W_l) + X_l around layers 2 … L−1 of equal width"
    )
    dropout: Annotated[Real, Neutral(0.0)] = Field(0.0, ge=0, lt=1, description="share of hidden units switched off")
    output: Literal["auto", "sigmoid", "softmax", "identity", "relu"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _read_own_files(cls, content: Any) -> Any:
        return with_sources(content) if isinstance(content, Mapping) and "activation" in content else content

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        used = self.activation_names()
        for key, parameter in PARAMETERS.items():
            value, owner = getattr(self, key), parameter.activation
            if value is not None and owner not in used:
                raise ValueError(
                    f"model.{key}={value:g} belongs to {owner}, but model.activation is {', '.join(used)}; leave it "
                    f"null or choose model.activation={owner}"
                )
        sources = self.activation_sources or {}
        for file in used:
            if is_own(file) and file not in sources:
                raise ValueError(
                    f"model.activation={file} cannot be read ({unread(file)}); name a file that defines value(z) and "
                    "derivative(z, x)"
                )
        if set(sources) - set(used):
            raise ValueError(
                "model.activation_sources is filled in by itself, from the files of model.activation; leave it null"
            )
        self._refuse_lists_of_another_length()
        self._refuse_what_has_no_layer_to_act_on()
        return self

    def _refuse_lists_of_another_length(self) -> None:
        hidden = self.depth - 1
        for key in ("width", "activation"):
            value = getattr(self, key)
            if isinstance(value, list) and len(value) != hidden:
                raise ValueError(
                    f"model.{key} lists {len(value)} hidden layers, but model.depth={self.depth} has {hidden}; list "
                    f"{hidden}, or set model.depth={len(value) + 1}"
                )

    def _refuse_what_has_no_layer_to_act_on(self) -> None:
        """Dropout, batch norm and skip connections act on hidden layers."""
        wanted = {"dropout": self.dropout > 0, "batch_norm": self.batch_norm is not None}
        for key in (key for key, on in wanted.items() if on and self.depth == 1):
            raise ValueError(
                f"model.{key}={getattr(self, key)} acts on hidden layers, but model.depth=1 has none; choose depth ≥ 2"
            )
        if self.skip and not any(a == b for a, b in pairwise(self.widths)):
            raise ValueError(
                "model.skip=true needs two hidden layers of equal width one after the other, but the hidden widths are "
                f"{self.widths}; choose depth ≥ 3 and equal widths"
            )
        for key in ("batch_norm_affine", "batch_norm_epsilon", "batch_norm_momentum"):
            value, default = getattr(self, key), type(self).model_fields[key].default
            if self.batch_norm is None and value != default:
                raise ValueError(f"model.{key}={value} belongs to batch norm, but model.batch_norm is null; choose one")

    @property
    def widths(self) -> list[int]:
        """Units of each hidden layer."""
        return self.width if isinstance(self.width, list) else [self.width] * (self.depth - 1)

    @property
    def activations(self) -> list[str]:
        """σ of each hidden layer."""
        return self.activation if isinstance(self.activation, list) else [self.activation] * (self.depth - 1)

    def activation_names(self) -> list[str]:
        """Each activation that occurs, once."""
        return list(dict.fromkeys(names_in(self.activation)))

    def parameters_of(self, name: str) -> dict[str, float]:
        """The parameters of an activation, by keyword; null is its default."""
        own = {key: mark.default for key, mark in PARAMETERS.items() if mark.activation == name}
        return {key: default if getattr(self, key) is None else getattr(self, key) for key, default in own.items()}

    def identity(self) -> dict[str, Any]:
        """As every section's, with the parameters of the activation, and the digest of a file of the user's own."""
        content = super().identity()
        for name in self.activation_names():
            content |= self.parameters_of(name)
        sources = self.activation_sources or {}
        return content | {
            "activation": self._renamed(lambda name: digest_of(sources[name]) if name in sources else name)
        }

    def labelled(self) -> dict[str, Any]:
        """Keys as tables show them: a file of the user's own as `mish@3f2a91bc`."""
        return self.shown() | {"activation": self._renamed(lambda name: label(name, self.activation_sources))}

    def _renamed(self, new: Callable[[str], str]) -> str | list[str]:
        activation = self.activation
        return new(activation) if isinstance(activation, str) else [new(name) for name in activation]


PARAMETERS = {
    key: mark for key, field in Model.model_fields.items() for mark in field.metadata if isinstance(mark, ParameterOf)
}
"""Keys of `model` that are parameters of an activation."""


class Scaled(Section):
    """Weights whose variance follows from the layer's sizes; biases start at zero."""

    name: Literal["glorot", "he", "lecun"]
    gain: Annotated[Real, Neutral(1.0)] = Field(1.0, gt=0, description="factor on the standard deviation")
    distribution: Annotated[Literal["normal", "uniform"], Neutral("normal")] = "normal"


class Orthogonal(Section):
    """Weights with all singular values equal to the gain; biases start at zero."""

    name: Literal["orthogonal"]
    gain: Annotated[Real, Neutral(1.0)] = Field(1.0, gt=0, description="every singular value")


class Critical(Section):
    """Normal weights of the variance at which σ passes signals on unchanged (χ = 1, stable), Var(b) = sigma_b²."""

    name: Literal["critical"]
    sigma_b: Real = Field(0.0, ge=0)


class Lsuv(Section):
    """Orthogonal weights, scaled layer by layer to unit variance of z on a batch of the training part."""

    name: Literal["lsuv"]
    examples: Whole = Field(256, ge=2, description="size of that batch; all of the training part if it has fewer")


class TorchDefault(Section):
    """torch.nn.Linear's uniform weights and biases, ±1/√k_in."""

    name: Literal["torch_default"]


class Normal(Section):
    """Var(W) = sigma_w²/k_in, Var(b) = sigma_b²."""

    name: Literal["normal"]
    sigma_w: Real = Field(1.0, ge=0)
    sigma_b: Real = Field(0.0, ge=0)


Initialisation = Annotated[Scaled | TorchDefault | Normal | Orthogonal | Critical | Lsuv, Field(discriminator="name")]
