"""Data by name: a source gives a Dataset, `prepare` gives its normalised training, validation and test part.

Flow: config → **data** → lanes → training. Arrays are NumPy's; nothing here knows torch.
"""

from mlpexp.data.dataset import DataError, Dataset, Part, Parts
from mlpexp.data.noise import noisy_labels
from mlpexp.data.prepare import data_digest, load, prepare

__all__ = ["DataError", "Dataset", "Part", "Parts", "data_digest", "load", "noisy_labels", "prepare"]
