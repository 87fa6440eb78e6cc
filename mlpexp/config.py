"""The schema of a run: every key with its type, unit and range, the checks across keys, and the fingerprint.

Flow: conf/*.yaml → composition → **config** → cohorts. Nothing here knows Hydra, torch or MLflow.
"""

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from mlpexp.data_schema import Data
from mlpexp.measurement_schema import Measurements as Measurements
from mlpexp.model_schema import Initialisation, Model
from mlpexp.optimizer_schema import Optimizer
from mlpexp.refusals import CREDENTIALS, ConfigError, describe, redact
from mlpexp.search_schema import Search
from mlpexp.section import Real, Section, Seed, Whole
from mlpexp.training_schema import Training

SEMANTICS = 2
"""Raised whenever a repair changes the numbers of a run; tests/test_golden.py fails until it is."""


class Seeds(Section):
    """Seeds of single streams; null follows the run's seed."""

    initialisation: Seed | None = None
    batches: Seed | None = None
    dropout: Seed | None = None
    noise: Seed | None = None


class Tracking(Section):
    """Where runs are shown."""

    name: Literal["mlflow", "none"] = "mlflow"
    uri: str | None = None
    experiment: str = Field("mlpexp", min_length=1)


class Executor(Section):
    """Where cohorts train."""

    name: Literal["local", "serial"] = "local"
    workers: Whole | None = Field(None, ge=1, description="worker processes; null: one per core")
    lanes: Whole | None = Field(None, ge=1, description="most networks in one cohort; null: chosen by size")
    checkpoint_seconds: Real = Field(
        30.0, ge=0, description="between two checkpoints of a cohort, at the ends of epochs"
    )
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="where tensors live; tested on cpu")


class Config(Section):
    """One point: what `mlpexp train` composes. `runs()` are its replicates.

    >>> from mlpexp import compose
    >>> config = compose(["seed=7", "replicates=3"])
    >>> [run.seed for run in config.runs()]
    [7, 8, 9]
    """

    data: Data
    model: Model
    initialisation: Initialisation
    optimizer: Optimizer
    training: Training
    measurements: Measurements
    tracking: Tracking = Tracking()
    executor: Executor = Executor()
    search: Search | None = None
    seed: Seed = 0
    replicates: Whole = Field(1, ge=1, le=100_000)
    seeds: Seeds = Seeds()
    rerun: bool = False
    outputs: str = Field("outputs", min_length=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        training = self.training
        if self.data.split.validation == 0 and (training.patience is not None or training.restore == "best"):
            key = "training.patience" if training.patience is not None else "training.restore=best"
            raise ValueError(
                f"{key} needs a validation part, but data.split.validation=0; give it some rows, "
                "or set training.patience=null training.restore=final"
            )
        if self.seed + self.replicates > 2**63:
            raise ValueError(f"seed={self.seed} and replicates={self.replicates} pass 2^63; choose a smaller seed")
        if self.optimizer.name == "rprop" and (training.schedule != "constant" or training.warm_up):
            raise ValueError(
                "optimizer=rprop has step sizes and no learning rate to schedule; leave training.schedule=constant "
                "training.warm_up=0"
            )
        self._refuse_what_the_precision_cannot_hold()
        if self.data.name == "idx" and self.data.path is None:
            raise ValueError("data.path is missing: name the folder of the IDX files, data.path=FOLDER")
        if self.model.dropout == 0 and self.seeds.dropout is not None:
            raise ValueError(f"seeds.dropout={self.seeds.dropout} has no effect with model.dropout=0; leave it null")
        if self.data.label_noise == 0 and self.seeds.noise is not None:
            raise ValueError(f"seeds.noise={self.seeds.noise} has no effect with data.label_noise=0; leave it null")
        self._refuse_what_is_not_critical()
        return self

    def _refuse_what_is_not_critical(self) -> None:
        if self.initialisation.name == "critical":
            from mlpexp.critical_weights import refusals  # loads scipy, which other runs need not wait for

            if lines := refusals(self.model, self.initialisation.sigma_b):
                raise ValueError(f"initialisation=critical: {', and '.join(lines)}")

    def _refuse_what_the_precision_cannot_hold(self) -> None:
        """A floor of 1e-60 is 0 in float32: it would be trained with another number than it says."""
        least, most = (2**-126, 3.4e38) if self.training.dtype == "float32" else (2**-1022, 1.7e308)
        sections = {name: getattr(self, name) for name in ("optimizer", "initialisation", "training", "model")}
        for key, value in flatten({name: section.model_dump() for name, section in sections.items()}):
            if isinstance(value, float) and value and not least <= abs(value) <= most:
                wider = ", or training.dtype=float64" if self.training.dtype == "float32" else ""
                raise ValueError(
                    f"{key}={value:g} cannot be held in {self.training.dtype}; choose a number between {least:.2g} and "
                    f"{most:.2g}{wider}"
                )

    def runs(self) -> list["Config"]:
        """The replicates of this point, each a run of its own: replicate i has seed + i."""
        return [self.model_copy(update={"replicates": 1, "seed": self.seed + i}) for i in range(self.replicates)]

    def stream_seeds(self) -> dict[str, int]:
        """The seed of each stream that this run draws from."""
        used = {
            "initialisation": True,
            "batches": self.training.sampler != "full",
            "dropout": self.model.dropout > 0,
            "noise": self.data.label_noise > 0,
        }
        chosen = self.seeds.model_dump()
        return {name: self.seed if chosen[name] is None else chosen[name] for name, on in used.items() if on}

    def identity(self) -> dict[str, Any]:
        """What makes this run this run: the sections that change its numbers, and its seeds."""
        sections = {name: getattr(self, name).identity() for name in HASHED}
        if self.training.sampler == "full":
            del sections["training"]["batch_size"]
        return {**sections, "seeds": self.stream_seeds(), "semantics": SEMANTICS}

    def stem(self) -> str:
        """Sixteen hexadecimal digits that a run shares with those that differ from it only in their length."""
        content = self.identity()
        if self.training.schedule != "cosine":  # which knows from the start how long training will be
            budget = self.training.budget()
            content["training"] = {name: value for name, value in content["training"].items() if name not in budget}
        return digest(content)[:16]

    def point(self) -> str:
        """Twelve hexadecimal digits that all runs share which differ in nothing but seeds."""
        return digest({**self.identity(), "seeds": {}})[:12]

    def record(self) -> dict[str, Any]:
        """What the run folder keeps: the run itself, not where it was tracked, executed or stored."""
        kept = {name: getattr(self, name).model_dump() for name in (*HASHED, "measurements", "seeds")}
        return {**kept, "seed": self.seed}

    def command(self) -> str:
        """The command line that trains this run alone, into the same outputs and store, without passwords."""
        words = [f"{name}={getattr(self, name).name}" for name in ("data", "initialisation", "optimizer")]
        for section in HASHED:
            defaults = {name: field.default for name, field in type(getattr(self, section)).model_fields.items()}
            shown = {k: v.model_dump() if isinstance(v, Section) else v for k, v in defaults.items() if k != "name"}
            known = dict(flatten({section: shown}))
            written = {name: value for name, value in getattr(self, section).shown().items() if name != "name"}
            own = flatten({section: written})
            words += [f"{key}={_spelt(value)}" for key, value in own if known.get(key, ...) != value]
        words += [f"seeds.{name}={value}" for name, value in self.seeds.model_dump().items() if value is not None]
        words.append(f"seed={self.seed}")
        places = {"outputs": (self.outputs, os.environ.get("MLPEXP_OUTPUTS", "outputs"))}
        places["tracking"] = self.tracking.name, "mlflow"
        places["tracking.experiment"] = self.tracking.experiment, "mlpexp"
        if self.tracking.uri and not CREDENTIALS.search(self.tracking.uri):
            places["tracking.uri"] = self.tracking.uri, ""
        words += [_quoted(key, value) for key, (value, default) in places.items() if value != default]
        return " ".join(["mlpexp train", *words])

    def shown(self) -> dict[str, Any]:
        """All keys, as they may be stored and shown: without passwords, and without what is filled in."""
        content = self.model_dump() | {"model": self.model.shown(), "measurements": self.measurements.shown()}
        content["tracking"]["uri"] = redact(self.tracking.uri) if self.tracking.uri else None
        if self.search and self.search.storage:
            content["search"]["storage"] = redact(self.search.storage)
        return content

    def flat(self) -> dict[str, object]:
        """The run's keys as flat names (`model.depth`), tracking, execution and paths left out."""
        sections = {name: getattr(self, name).model_dump() for name in (*HASHED, "seeds")}
        return dict(flatten(sections | {"model": self.model.labelled()})) | {"seed": self.seed}


HASHED = ("data", "model", "initialisation", "optimizer", "training")


OUTPUTS = {"binary": "sigmoid", "multiclass": "softmax", "regression": "identity"}
LOSSES = {"binary": "cross_entropy", "multiclass": "cross_entropy", "regression": "mse"}


def output_and_loss(config: Config, task: str) -> tuple[str, str]:
    """The output function and the loss: as the config says, else as the data's task asks for."""
    output = OUTPUTS[task] if config.model.output == "auto" else config.model.output
    loss = LOSSES[task] if config.training.loss == "auto" else config.training.loss
    return output, loss


def _quoted(key: str, text: str) -> str:
    """`key=text` for Hydra within a shell."""
    if re.fullmatch(r"[\w./@+-]+", text):
        return f"{key}={text}"
    escaped = text.replace("'", "\\'")
    return shlex.quote(f"{key}='{escaped}'")


def _spelt(value: object) -> str:
    """A value as the command line takes it."""
    if isinstance(value, list):
        return f"[{','.join(map(_spelt, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else f"{value}"


def flatten(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings, as (dotted name, value)."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of a mapping, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(config: Config, data_digest: str) -> str:
    """Sixteen hexadecimal digits that name a run: its config, and the digest of its loaded and split data."""
    return digest({**config.identity(), "data_digest": data_digest})[:16]


def validate(content: Mapping[str, Any]) -> Config:
    """A typed config, or a ConfigError that lists every mistake."""
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise ConfigError(describe(error, content)) from None


def absolute_outputs(outputs: str) -> str:
    """The folder that holds runs and the tracking database, as an absolute path."""
    return os.path.abspath(os.path.expanduser(outputs))
