"""MNIST-1D: ten shapes of digits as noisy signals of 40 points (Greydanus & Kobak 2020, arXiv:2011.14439)."""

from importlib import import_module

import numpy as np

from mlpexp.data.dataset import DataError, Dataset

INSTALL = "pip install mnist1d"


def load() -> Dataset:
    """4000 + 1000 signals, the examples of the published set before it is standardised.

    `make_dataset` standardises training and test rows together, by one number each. So only its recipe is
    followed here (same seed, same order of draws), and what it would hide stays to be fitted on the training part.
    Reseeds the global generators of NumPy and Python; whoever calls it puts them back.
    """
    try:
        data, transformation, utils = (import_module(f"mnist1d.{name}") for name in ("data", "transform", "utils"))
    except ImportError:
        raise DataError(f"mnist1d is not installed; `{INSTALL}` installs it") from None
    recipe, templates = data.get_dataset_args(), data.get_templates()
    utils.set_seed(recipe.seed)
    labels = np.repeat(templates["y"], recipe.num_samples // len(templates["y"]))
    signals = np.stack([transformation.transform(templates["x"][label], templates["t"], recipe)[0] for label in labels])
    order = np.random.permutation(len(labels))  # noqa: NPY002 (the package's draw)
    return Dataset(
        name="mnist1d",
        task="multiclass",
        features=signals[order].astype(np.float32),
        targets=labels[order].astype(np.int64),
        classes=tuple(str(digit) for digit in range(10)),
        feature_names=tuple(f"t{point + 1:02d}" for point in range(signals.shape[1])),
        image_shape=(signals.shape[1],),
        official_test=len(labels) - int(len(labels) * recipe.train_split),
        licence="Apache-2.0",
        source="PyPI mnist1d; Greydanus & Kobak 2020, arXiv:2011.14439",
    )
