"""Folders of IDX files (LeCun's format for MNIST): two pairs of pictures and labels, gzipped or not."""

import gzip
import math
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlpexp.data.dataset import DataError, Dataset, refuse_if_too_large
from mlpexp.data.pictures import pooled
from mlpexp.data.splits import cut

FASHION_CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
FASHION_SIDE = 28  # pixels
FASHION_INSTALL = "apt-get install dataset-fashion-mnist"
FASHION_FOLDERS = ("/usr/share/datasets/fashion-mnist", "/usr/share/datasets/fashion_mnist")
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def load(path: str | None, pooling: int = 1, examples: int | None = None) -> Dataset:
    """Training rows first, of which `examples` are kept, then the test rows that the authors set aside.

    Squares of `pooling` × `pooling` pixels become one, their mean.
    """
    if path is None:
        raise DataError("data.path is missing: name the folder of the IDX files, data.path=FOLDER")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"data.path={path} is no folder; name the one that holds train-images-idx3-ubyte[.gz] and its kin"
        )
    images = [_read(_find(folder, f"{part}-images")) for part in ("train", "t10k")]
    labels = [_read(_find(folder, f"{part}-labels")) for part in ("train", "t10k")]
    _refuse_mislabelled(folder, images, labels)
    targets = np.concatenate(labels).astype(np.int64)
    numbers, targets = np.unique(targets, return_inverse=True)
    if len(numbers) < 2:
        raise DataError(f"{folder}: all {len(targets)} labels are {numbers[0]}; classification needs two classes")
    pixels = np.concatenate([part.reshape(len(part), -1) for part in images])
    dataset = Dataset(
        name="idx",
        task="binary" if len(numbers) == 2 else "multiclass",
        features=pixels,
        targets=targets.astype(np.int64),
        classes=tuple(str(number) for number in numbers),
        image_shape=tuple(images[0].shape[1:]),
        official_test=len(images[1]),
        licence="as its authors say",
        source=str(folder),
    )
    return _coarser(_fewer(dataset, examples), pooling)


def _fewer(dataset: Dataset, examples: int | None) -> Dataset:
    """So many of the training rows, class by class and the same ones always; all of the test rows."""
    training, test = np.split(np.arange(len(dataset.targets)), [len(dataset.targets) - dataset.official_test])
    if examples is None or examples == len(training):
        return dataset
    if examples > len(training):
        raise DataError(
            f"data.examples={examples}, but {dataset.source} has {len(training)} training rows; make it smaller, or "
            "null for all"
        )
    rows = np.concatenate([cut(dataset, training, examples, seed=0)[1], test])
    return replace(dataset, features=dataset.features[rows], targets=dataset.targets[rows])


def _coarser(dataset: Dataset, pooling: int) -> Dataset:
    """Pictures whose pixels are the means of squares of that side."""
    if pooling == 1:
        return dataset
    shape = dataset.image_shape or ()
    if len(shape) != 2 or any(side % pooling for side in shape):
        raise DataError(
            f"data.pooling={pooling} does not divide the {' × '.join(map(str, shape))} pixels of {dataset.source}; "
            "take a divisor of height and width"
        )
    precise = dataset.features.astype(np.result_type(dataset.features, np.float32))  # a mean of bytes is no byte
    images = pooled(precise.reshape(-1, *shape), pooling, pooling)
    return replace(dataset, features=images.reshape(len(images), -1), image_shape=images.shape[1:])


def load_fashion_mnist(path: str | None = None, pooling: int = 1, examples: int | None = None) -> Dataset:
    """60000 + 10000 pictures of clothing, 28 × 28 (Xiao, Rasul & Vollgraf 2017)."""
    folder = path or next((place for place in FASHION_FOLDERS if os.path.isdir(place)), None)
    if folder is None:
        raise DataError(
            f"Fashion-MNIST is not installed; `{FASHION_INSTALL}` installs it, "
            "or name the folder of its four IDX files: data.path=FOLDER"
        )
    dataset = load(folder, pooling, examples)
    if len(dataset.classes) != 10:
        raise DataError(
            f"{folder} has {len(dataset.classes)} classes, Fashion-MNIST has 10; use data=idx for other sets"
        )
    return replace(
        dataset,
        name="fashion_mnist",
        classes=FASHION_CLASSES,
        licence="MIT",
        source="Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747",
    )


def load_fashion_small(path: str | None, pooling: int, examples: int | None) -> Dataset:
    """Fashion-MNIST of fewer pixels and training rows, under a name of its own: what small networks learn quickly."""
    return replace(load_fashion_mnist(path, pooling, examples), name="fashion_small")


def _refuse_mislabelled(folder: Path, images: list[NDArray[np.generic]], labels: list[NDArray[np.generic]]) -> None:
    """Files that are sound by themselves, and do not belong together."""
    for pictures, names, part in zip(images, labels, ("train", "t10k"), strict=True):
        if pictures.ndim < 2:
            raise DataError(f"{folder}: the {part} images are {len(pictures)} single numbers; are they the labels?")
        if names.ndim != 1 or len(names) != len(pictures):
            raise DataError(f"{folder}: {part} has {len(pictures)} images but labels of shape {names.shape}")
        if names.dtype.kind == "f":
            raise DataError(f"{folder}: the {part} labels are of type {names.dtype}; classes are whole numbers")
    if images[0].shape[1:] != images[1].shape[1:]:
        raise DataError(f"{folder}: training images are {images[0].shape[1:]}, test images {images[1].shape[1:]}")
    if images[0].dtype != images[1].dtype:
        raise DataError(f"{folder}: training images are {images[0].dtype}, test images {images[1].dtype}")
    unseen = np.setdiff1d(labels[1], labels[0])
    if len(unseen):
        raise DataError(f"{folder}: class {unseen[0]} is among the t10k labels but not among the train labels")


def _find(folder: Path, beginning: str) -> Path:
    found = sorted(file for file in folder.iterdir() if file.name.replace(".idx", "-idx").startswith(beginning))
    if not found:
        raise DataError(
            f"{folder} has no file {beginning}-idx…-ubyte[.gz]; it needs train- and t10k- images and labels"
        )
    return found[0]


def _read(file: Path) -> NDArray[np.generic]:
    """One IDX file: two zero bytes, type, number of dimensions, sizes, then the values."""
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rb") as stream:
            head = stream.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES or not 1 <= head[3] <= 4:
                raise DataError(
                    f"{file} is no IDX file: it begins with {head.hex(' ')}, expected 00 00 08 03 or the like"
                )
            sizes = stream.read(4 * head[3])
            if len(sizes) < 4 * head[3]:
                raise DataError(f"{file} ends inside its header")
            shape = struct.unpack(f">{head[3]}I", sizes)
            dtype = np.dtype(TYPES[head[2]])
            expected = math.prod(shape) * dtype.itemsize
            refuse_if_too_large(str(file), expected)
            content = stream.read(expected + 1)
    except EOFError:
        raise DataError(f"{file} is cut short: its gzip stream ends before its end mark; copy the file again") from None
    except (OSError, zlib.error) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
    if len(content) != expected:
        more = "more" if len(content) > expected else "only"
        raise DataError(
            f"{file} promises {expected} bytes of values ({' × '.join(map(str, shape))}), holds {more} {len(content)}"
        )
    if not math.prod(shape):
        raise DataError(f"{file} has no rows")
    return np.frombuffer(content, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="))
