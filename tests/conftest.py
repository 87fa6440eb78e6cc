"""Every test process computes as a training process does, and writes nowhere but into a temporary folder."""

import gc
import os

os.environ.update({"MKL_CBWR": "AUTO,STRICT", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})  # before torch is loaded

from collections.abc import Iterator

import pytest
import torch
from browse_fixtures import browsed_copy as browsed_copy
from browse_fixtures import browsed_outputs as browsed_outputs
from hypothesis import settings

torch.set_num_threads(1)
gc.set_threshold(20_000)  # as the program: cycles among what was imported were a twentieth of the suite's time

settings.register_profile("mlpexp", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("mlpexp")


def pytest_collection_finish() -> None:
    """Thousands of tests are no cycles: never look at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def denormals() -> None:
    """Kept, unless a test trains: hypothesis draws no floats where they are flushed, and training flushes them."""
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session", autouse=True)
def outputs_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where runs go that name no folder of their own."""
    folder = str(tmp_path_factory.mktemp("outputs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLPEXP_OUTPUTS", folder)
        yield folder
