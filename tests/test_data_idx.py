"""IDX folders: read as written, refused where files are cut short, mixed up or of another kind."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mlpexp.data import DataError, Dataset, load, prepare
from mlpexp.data.catalogue import default_config, title
from mlpexp.data.prepare import _load

CODES = {"uint8": 0x08, "int32": 0x0C, "float32": 0x0D}


def idx_bytes(array: NDArray[Any]) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.name], array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    for part, n in (("train", 40), ("t10k", 20)):
        images = generator.integers(0, 256, (n, 5, 4)).astype(np.uint8)
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        labels = gzip.compress(idx_bytes((np.arange(n) % 2 + 3).astype(np.uint8)))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(labels)
    return tmp_path


def load_folder(folder: Path) -> Dataset:
    return load(default_config("idx", path=str(folder)))


def test_a_folder_is_read_as_written(folder: Path) -> None:
    dataset = load_folder(folder)
    assert dataset.features.shape == (60, 20)
    assert dataset.classes == ("3", "4")
    assert dataset.image_shape == (5, 4)
    first = np.random.default_rng(0).integers(0, 256, (40, 5, 4))[0]
    assert np.array_equal(dataset.features[0], first.ravel())
    parts = prepare(default_config("idx", path=str(folder)))
    assert (len(parts.training), len(parts.validation), len(parts.test)) == (36, 4, 20)


def test_pooled_pixels_are_the_means_of_squares_as_torch_has_them(folder: Path) -> None:
    generator = np.random.default_rng(1)
    for kind in (np.uint8, np.int32, np.float32):
        for part, n in (("train", 40), ("t10k", 20)):
            images = generator.integers(0, 256, (n, 6, 4)).astype(kind)
            (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        dataset = load(default_config("idx", path=str(folder), pooling=2))
        assert dataset.image_shape == (3, 2)
        twin = torch.nn.functional.avg_pool2d(torch.tensor(images.astype(np.float64))[:, None], 2)
        np.testing.assert_allclose(dataset.features[40:].astype(np.float64), twin.reshape(20, 6).numpy(), rtol=1e-6)
        assert dataset.digest != load_folder(folder).digest


def test_the_examples_that_are_kept_are_training_rows_in_the_classes_shares(folder: Path) -> None:
    (folder / LABELS).write_bytes(gzip.compress(idx_bytes((np.arange(40) // 20 + 3).astype(np.uint8))))
    whole = load_folder(folder)
    dataset, again = (load(default_config("idx", path=str(folder), examples=10)) for _ in range(2))
    assert dataset.official_test == 20
    assert np.array_equal(dataset.features[10:], whole.features[40:])
    assert np.bincount(dataset.targets[:10].astype(int)).tolist() == [5, 5]
    rows = {row.tobytes() for row in whole.features[:40]}
    assert len({row.tobytes() for row in dataset.features[:10]} & rows) == 10
    _load.cache_clear()
    assert load(default_config("idx", path=str(folder), examples=10)).digest == again.digest
    assert load(default_config("idx", path=str(folder), examples=40)).digest == whole.digest


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"pooling": 2}, "data.pooling=2 does not divide the 5 × 4 pixels"),
        ({"examples": 41}, "data.examples=41, but .* has 40 training rows"),
    ],
)
def test_what_cannot_be_made_smaller_is_refused(folder: Path, keys: dict[str, int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(default_config("idx", path=str(folder), **keys))


def test_a_changed_file_is_another_data_set(folder: Path) -> None:
    before = load_folder(folder).digest
    file = folder / "train-images-idx3-ubyte"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    assert load_folder(folder).digest != before


IMAGES = "train-images-idx3-ubyte"
LABELS = "train-labels-idx1-ubyte.gz"
GOOD = idx_bytes((np.arange(40) % 2).astype(np.uint8))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (IMAGES, b"", "is no IDX file"),
        (IMAGES, b"\x89PNG and more", "is no IDX file: it begins with 89 50 4e 47"),
        (IMAGES, b"\0\0\x08\x03\0\0", "ends inside its header"),
        (IMAGES, idx_bytes(np.zeros((40, 5, 4), np.uint8))[:-3], "promises 800 bytes .* holds only 797"),
        (IMAGES, idx_bytes(np.zeros((40, 5, 4), np.uint8)) + b"x", "holds more"),
        (IMAGES, idx_bytes(np.zeros((0, 5, 4), np.uint8)), "has no rows"),
        (IMAGES, idx_bytes(np.zeros((39, 5, 4), np.uint8)), "train has 39 images but labels of shape"),
        (IMAGES, idx_bytes(np.zeros((40, 4, 4), np.uint8)), "test images"),
        (IMAGES, idx_bytes(np.zeros((40, 5, 4), np.float32)), "training images are float32, test images uint8"),
        (IMAGES, GOOD, "are they the labels"),
        (IMAGES, b"\0\0\x08\x03" + b"\xff" * 12, "GB of memory, more than half"),
        (LABELS, GOOD, "cannot be read"),  # not compressed, against its name
        (LABELS, gzip.compress(GOOD)[:-12], "cut short"),
        (LABELS, gzip.compress(idx_bytes(np.zeros((40, 5, 4), np.uint8))), "labels of shape"),
        (LABELS, gzip.compress(idx_bytes(np.zeros(40, np.float32))), "type float32"),
        (LABELS, gzip.compress(idx_bytes(np.full(40, 3, np.uint8))), "class 4 is among the t10k labels but not"),
        (LABELS, gzip.compress(GOOD), "class 3 is among"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_files_are_refused_with_a_reason(folder: Path, file: str, content: bytes, words: str) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=words) as refusal:
        load_folder(folder)
    assert folder.name in str(refusal.value)
    assert str(refusal.value).count("\n") <= 1


def test_a_caption_says_how_many_pixels_there_are() -> None:
    told = {name: title(default_config(name)) for name in ("fashion_mnist", "fashion_small")}
    assert told == {"fashion_mnist": "Fashion-MNIST, 28 × 28", "fashion_small": "Fashion-MNIST, 14 × 14"}
    assert title(default_config("fashion_small", pooling=4)) == "Fashion-MNIST, 7 × 7"
    assert title(default_config("digits")) == "digits"


def test_pixels_that_are_no_numbers_are_refused(folder: Path) -> None:
    for part, n in (("train", 40), ("t10k", 20)):
        images = np.zeros((n, 5, 4), np.float32)
        images[3, 0, 2] = np.nan
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(images))
    with pytest.raises(DataError, match="row 4, feature x3 is nan"):
        load_folder(folder)


def test_one_class_a_missing_file_and_a_missing_folder_are_refused(folder: Path) -> None:
    for part, n in (("train", 40), ("t10k", 20)):
        labels = gzip.compress(idx_bytes(np.full(n, 7, np.uint8)))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(labels)
    with pytest.raises(DataError, match="all 60 labels are 7"):
        load_folder(folder)
    (folder / LABELS).unlink()
    with pytest.raises(DataError, match="has no file train-labels"):
        load_folder(folder)
    with pytest.raises(DataError, match="is no folder"):
        load_folder(folder / "nowhere")


def test_fashion_mnist_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("mlpexp.data.idx.FASHION_FOLDERS", (str(folder / "nowhere"),))
    from mlpexp.data.idx import load_fashion_mnist

    with pytest.raises(DataError, match="apt-get install dataset-fashion-mnist"):
        load_fashion_mnist()
    with pytest.raises(DataError, match="has 2 classes, Fashion-MNIST has 10"):
        load_fashion_mnist(str(folder))
