"""The schema of `training`: how long, on what, for which loss.

Flow: section → **training_schema** → config.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mlpexp.section import Neutral, OnlyWith, Real, Section, Whole


class Training(Section):
    """How long, on what, for which loss."""

    epochs: Whole | None = Field(20, ge=0, description="passes of ⌈n/m⌉ updates")
    updates: Annotated[Whole | None, Neutral(None), OnlyWith("epochs", None)] = Field(
        None, ge=0, description="the budget in updates"
    )
    examples: Annotated[Whole | None, Neutral(None), OnlyWith("epochs", None)] = Field(
        None, ge=1, description="the budget in examples of batches, never exceeded"
    )
    flops: Annotated[Whole | None, Neutral(None), OnlyWith("epochs", None)] = Field(
        None, ge=1, description="the budget in FLOPs of matrix products, never exceeded"
    )
    batch_size: Whole = Field(64, ge=1, description="examples in a batch, m")
    sampler: Literal["epoch", "fresh", "full"] = "epoch"
    loss: Literal[
        "auto", "cross_entropy", "cross_entropy_mean", "mse", "mse_mean", "mae", "mae_mean", "huber", "huber_mean"
    ] = "auto"
    huber_delta: Annotated[Real, Neutral(1.0), OnlyWith("loss", "huber", "huber_mean")] = Field(
        1.0, gt=0, description="error from which Huber's loss is a straight line"
    )
    label_smoothing: Annotated[Real, Neutral(0.0)] = Field(
        0.0, ge=0, lt=1, description="ε of targets (1 − ε)y + ε/K of a cross-entropy, in training alone"
    )
    l2: Annotated[Real, Neutral(0.0)] = Field(0.0, ge=0, description="λ of λ/2 Σ‖W_l‖²")
    l1: Annotated[Real, Neutral(0.0)] = Field(0.0, ge=0, description="λ of λ Σ|W_l|")
    clip_norm: Annotated[Real | None, Neutral(None)] = Field(
        None, gt=0, description="longest gradient of a network; null: as long as it is"
    )
    schedule: Annotated[Literal["constant", "step", "cosine"], Neutral("constant")] = Field(
        "constant", description="of the learning rate"
    )
    warm_up: Annotated[Whole, Neutral(0)] = Field(0, ge=0, description="updates over which the learning rate rises")
    decay_every: Annotated[Whole | None, Neutral(None), OnlyWith("schedule", "step")] = Field(
        None, ge=1, description="updates between two steps of schedule=step"
    )
    decay_factor: Annotated[Real, Neutral(0.1), OnlyWith("schedule", "step")] = Field(
        0.1, gt=0, le=1, description="on the learning rate, at each step of schedule=step"
    )
    dtype: Literal["float32", "float64"] = "float32"
    evaluate_every: Whole = Field(1, ge=1, description="epochs")
    evaluate_train_every: Annotated[Whole | None, Neutral(1)] = Field(
        1, ge=1, description="evaluations of which one is of the training part, too; null: the last alone"
    )
    patience: Annotated[Whole | None, Neutral(None)] = Field(None, ge=1, description="evaluations without improvement")
    tolerance: Annotated[Real, Neutral(0.0)] = Field(0.0, ge=0, description="least improvement of the validation loss")
    until_loss: Annotated[Real | None, Neutral(None)] = Field(
        None, ge=0, description="evaluated training loss at which a run ends"
    )
    restore: Literal["best", "final"] = "best"

    def budget(self) -> dict[str, int | None]:
        """The four keys of which one names how long training is."""
        return {"epochs": self.epochs, "updates": self.updates, "examples": self.examples, "flops": self.flops}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._has_one_budget()
        if self.huber_delta != 1.0 and not self.loss.startswith("huber"):
            raise ValueError(
                f"training.huber_delta={self.huber_delta:g} belongs to training.loss=huber, but it is {self.loss}; "
                "leave it, or choose huber or huber_mean"
            )
        if self.tolerance > 0 and self.patience is None:
            raise ValueError(
                f"training.tolerance={self.tolerance:g} matters to early stopping alone, but training.patience "
                "is null; set it"
            )
        if self.until_loss is not None and self.evaluate_train_every is None:
            raise ValueError(
                f"training.until_loss={self.until_loss:g} is the loss of the training part, which "
                "training.evaluate_train_every=null leaves out until the end; give it a number"
            )
        if self.schedule == "step" and self.decay_every is None:
            raise ValueError("training.schedule=step needs training.decay_every, the updates between two steps; set it")
        if self.schedule != "step" and (self.decay_every is not None or self.decay_factor != 0.1):
            key = "decay_every" if self.decay_every is not None else "decay_factor"
            raise ValueError(
                f"training.{key} belongs to training.schedule=step, but it is {self.schedule}; leave it, or choose step"
            )
        return self

    def _has_one_budget(self) -> None:
        named = [f"training.{key}={value}" for key, value in self.budget().items() if value is not None]
        if not named:
            raise ValueError(
                "training has no budget: training.epochs, updates, examples and flops are all null; give one of them"
            )
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} are {len(named)} budgets; leave one, and set the others to null")
