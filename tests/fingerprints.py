"""The name of a run whose data are not looked at, and a point at which every key has a part in it."""

from mlpexp.config import Config, fingerprint

DIGEST = "0" * 64

RICH = (
    "model.activation=leaky_relu", "model.negative_slope=0.1", "model.dropout=0.1", "data.label_noise=0.1",
    "training.patience=3", "training.tolerance=0.1", "training.l2=0.01",
)  # fmt: skip
"""A point at which every key has an effect."""


def name(config: Config, digest: str = DIGEST) -> str:
    """The fingerprint, with a digest of data made up."""
    return fingerprint(config, digest)
