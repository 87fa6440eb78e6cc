"""Sets that come with scikit-learn: digits, breast cancer, wine, iris, diabetes."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpexp.data.dataset import Dataset, repeated_rows


def load_digits() -> Dataset:
    """1797 handwritten digits of 8 × 8 pixels from 0 to 16, ten classes (Alpaydin & Kaynak 1998)."""
    pixels, labels = _digits()
    return Dataset(
        name="digits",
        task="multiclass",
        features=pixels.astype(np.float32),
        targets=labels.astype(np.int64),
        classes=tuple(str(digit) for digit in range(10)),
        feature_names=tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8)),
        image_shape=(8, 8),
        licence="CC BY 4.0",
        source="scikit-learn, load_digits; UCI Optical Recognition of Handwritten Digits",
    )


def _digits() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels [n, 64] and labels [n] from scikit-learn's file: every process reads it, and its package loads slowly."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if file.exists():
        table = np.loadtxt(file, delimiter=",")
        return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits as loader  # a release that keeps it elsewhere

    bunch = loader()
    return bunch.data, bunch.target


def load_breast_cancer() -> Dataset:
    """569 tumours, 30 measures of their cell nuclei, malignant or benign (Wolberg, Street & Mangasarian 1995)."""
    from sklearn.datasets import load_breast_cancer as loader

    return _classification("breast_cancer", loader, "UCI Breast Cancer Wisconsin (Diagnostic)")


def load_wine() -> Dataset:
    """178 wines of three cultivars, 13 chemical measures (Aeberhard & Forina 1991)."""
    from sklearn.datasets import load_wine as loader

    return _classification("wine", loader, "UCI Wine")


def load_iris() -> Dataset:
    """150 flowers of three species, four lengths in cm (Anderson 1935, Fisher 1936); two of them are equal."""
    from sklearn.datasets import load_iris as loader

    return _classification("iris", loader, "UCI Iris")


def load_diabetes() -> Dataset:
    """442 patients, 10 measures, the progression of their disease after a year (Efron et al. 2004).

    As measured: scikit-learn's default is standardised over all rows, the later test rows among them.
    """
    from sklearn.datasets import load_diabetes as loader

    bunch = loader(scaled=False)
    return Dataset(
        name="diabetes",
        task="regression",
        features=bunch.data.astype(np.float64),
        targets=bunch.target.astype(np.float64)[:, None],
        feature_names=tuple(bunch.feature_names),
        groups=repeated_rows(bunch.data),
        licence="none stated",
        source="scikit-learn, load_diabetes; Efron, Hastie, Johnstone & Tibshirani 2004",
    )


def _classification(name: str, loader: Callable[[], Any], origin: str) -> Dataset:
    bunch = loader()
    return Dataset(
        name=name,
        task="binary" if len(bunch.target_names) == 2 else "multiclass",
        features=bunch.data.astype(np.float64),
        targets=bunch.target.astype(np.int64),
        classes=tuple(str(label) for label in bunch.target_names),
        feature_names=tuple(bunch.feature_names),
        groups=repeated_rows(bunch.data),
        licence="CC BY 4.0",
        source=f"scikit-learn, {loader.__name__}; {origin}",
    )
