"""The schema of `optimizer`: the lecture's update rules and their numbers.

Flow: section → **optimizer_schema** → config.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mlpexp.section import Neutral, Real, Section

Decay = Annotated[Real, Neutral(0.0)]


class GradientDescent(Section):
    """M ← βM + g; W ← W − γM. With β = 0, plain gradient descent."""

    name: Literal["gradient_descent"]
    learning_rate: Real = Field(0.1, gt=0, description="γ, per step, for the mean loss of a batch")
    momentum: Real = Field(0.0, ge=0, lt=1, description="β")
    nesterov: Annotated[bool, Neutral(False)] = Field(False, description="W ← W − γ(g + βM)")
    weight_decay: Decay = Field(0.0, ge=0, description="λ, decoupled: W ← W − γλW; biases are free")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError(
                "optimizer.nesterov=true needs a momentum, but optimizer.momentum=0; choose one, 0.9 say, or leave it"
            )
        return self


class RMSProp(Section):
    """V ← βV + (1−β)g²; W ← W − γ g/(√V + ε)."""

    name: Literal["rmsprop"]
    learning_rate: Real = Field(1e-3, gt=0, description="γ; the first step has length γ/√(1−β)")
    beta: Real = Field(0.99, ge=0, lt=1, description="β")
    epsilon: Real = Field(0.0, ge=0, description="floor of the denominator; 0: the lecture's form")
    weight_decay: Decay = Field(0.0, ge=0, description="λ, decoupled: W ← W − γλW; biases are free")


class Rprop(Section):
    """Only the sign of the gradient: a step size for each parameter."""

    name: Literal["rprop"]
    variant: Literal["minus", "plus"] = Field(
        "minus", description="iRprop⁻ rests where a sign changes, Rprop⁺ steps back"
    )
    learning_rate: Real = Field(0.01, gt=0, description="the first step size")
    eta_minus: Real = Field(0.5, gt=0, lt=1, description="η⁻, where the sign changes")
    eta_plus: Real = Field(1.2, gt=1, description="η⁺, where it stays")
    step_min: Real = Field(1e-6, gt=0)
    step_max: Real = Field(50.0, gt=0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.step_min > self.step_max:
            raise ValueError(
                f"optimizer.step_min={self.step_min:g} is above optimizer.step_max={self.step_max:g}; swap them"
            )
        return self


class Adam(Section):
    """Adam with the floor ε inside or outside the root; with weight decay AdamW."""

    name: Literal["adam"]
    learning_rate: Real = Field(1e-3, gt=0, description="γ")
    beta1: Real = Field(0.9, ge=0, lt=1)
    beta2: Real = Field(0.999, ge=0, lt=1)
    epsilon: Real = Field(1e-8, gt=0, description="floor of the denominator")
    epsilon_placement: Literal["outside", "inside"] = "outside"
    weight_decay: Decay = Field(0.0, ge=0, description="λ, decoupled: W ← W − γλW; biases are free")


Optimizer = Annotated[GradientDescent | RMSProp | Rprop | Adam, Field(discriminator="name")]
