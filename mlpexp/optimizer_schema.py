"""The schema of `optimizer`: the lecture's update rules and their numbers.

Flow: section → **optimizer_schema** → config.
"""

from typing import Annotated, Literal

from pydantic import Field

from mlpexp.section import Real, Section


class GradientDescent(Section):
    """M ← βM + g; W ← W − γM. With β = 0, plain gradient descent."""

    name: Literal["gradient_descent"]
    learning_rate: Real = Field(0.1, gt=0, description="γ, per step, for the mean loss of a batch")
    momentum: Real = Field(0.0, ge=0, lt=1, description="β")


class Adam(Section):
    """Adam with the floor ε inside or outside the root."""

    name: Literal["adam"]
    learning_rate: Real = Field(1e-3, gt=0, description="γ")
    beta1: Real = Field(0.9, ge=0, lt=1)
    beta2: Real = Field(0.999, ge=0, lt=1)
    epsilon: Real = Field(1e-8, gt=0, description="floor of the denominator")
    epsilon_placement: Literal["outside", "inside"] = "outside"


Optimizer = Annotated[GradientDescent | Adam, Field(discriminator="name")]
