"""Sets that come with R packages, read where they are installed: splice junctions, leukaemia."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mlpexp.data.dataset import DataError, Dataset, repeated_rows

LIBRARIES = ("/usr/lib/R/site-library", "/usr/local/lib/R/site-library", "/usr/lib/R/library")
PACKAGES = {"splice": ("mlbench", "data/DNA.rda"), "golub": ("multtest", "data/golub.RData")}
INSTALL = {
    "splice": ("apt-get install r-cran-mlbench", "pip install rdata"),
    "golub": ("apt-get install r-bioc-multtest", "pip install rdata"),
}
JUNCTIONS = {"n": "neither", "ei": "exon → intron", "ie": "intron → exon"}


def load_splice(path: str | None = None) -> Dataset:
    """3186 windows of 60 bases about a junction of exon and intron, three bits a base (Noordewier et al. 1991).

    185 rows repeat another, one of them with another label: equal rows are one group.
    """
    frame = _read("splice", path)["DNA"]
    labels = frame["Class"].astype(str).to_numpy()
    features = frame.drop(columns="Class").astype(str).astype(np.int8).to_numpy()
    codes = list(JUNCTIONS)
    return Dataset(
        name="splice",
        task="multiclass",
        features=features,
        targets=np.array([codes.index(label) for label in labels], dtype=np.int64),
        classes=tuple(JUNCTIONS.values()),
        feature_names=tuple(str(column) for column in frame.columns if column != "Class"),
        groups=repeated_rows(features),
        licence="GPL-2 (package)",
        source="R mlbench, DNA; UCI Splice-junction Gene Sequences",
    )


def load_golub(path: str | None = None) -> Dataset:
    """38 leukaemias, 3051 genes, ALL or AML (Golub et al. 1999), stored genes × samples.

    The genes were chosen and each array standardised by Dudoit et al. 2002. So few samples that one split says
    little: repeat it with other data.split.seed.
    """
    content = _read("golub", path)
    expression = np.asarray(content["golub"]).T
    names = np.asarray(content["golub.gnames"]).reshape(3, -1)[2]  # index, description, identifier
    return Dataset(
        name="golub",
        task="binary",
        features=np.ascontiguousarray(expression, dtype=np.float64),
        targets=np.asarray(content["golub.cl"]).astype(np.int64),
        classes=("ALL", "AML"),
        feature_names=tuple(str(name) for name in names),
        licence="LGPL-3+ (package)",
        source="R multtest, golub; Golub et al. 1999, Science 286:531",
    )


def find(name: str) -> Path | None:
    """The data file of an installed R package."""
    package, file = PACKAGES[name]
    places = [Path(library) / package / file for library in LIBRARIES]
    return next((place for place in places if place.is_file()), None)


def _read(name: str, path: str | None) -> dict[str, Any]:
    """The objects of an R data file by name."""
    file = find(name) if path is None else Path(path).expanduser()
    if file is None:
        raise DataError(f"{name} is not installed; `{INSTALL[name][0]}` installs it, or name its file: data.path=FILE")
    if not file.is_file():
        raise DataError(f"data.path={path} is no file; null finds the one of the R package {PACKAGES[name][0]}")
    try:
        rdata = import_module("rdata")
    except ImportError:
        raise DataError(
            f"{name} is an R file, and rdata, which reads it, is missing; `{INSTALL[name][1]}` installs it"
        ) from None
    try:
        content: dict[str, Any] = rdata.read_rda(str(file), default_encoding="utf-8")
    except Exception as error:
        raise DataError(f"{file} cannot be read as an R data file: {error}") from None
    missing = {"splice": {"DNA"}, "golub": {"golub", "golub.cl", "golub.gnames"}}[name] - content.keys()
    if missing:
        raise DataError(
            f"{file} has no {', '.join(sorted(missing))}; it holds {', '.join(sorted(content)) or 'nothing'}"
        )
    return content
