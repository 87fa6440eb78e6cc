"""The YAML files of our folder and of a user's own, each read once.

Flow: conf/*.yaml → **config_files** → composition. Hydra reads every file anew for each choice of groups; here all
points of a command are composed of the files as they were when they were first read, in two thirds of the time.
"""

import copy
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.config_source import ConfigResult
from hydra.version import setbase

from mlpexp.places import config_folder
from mlpexp.refusals import ConfigError


class Files(ConfigRepository):
    """What is found along a search path; what was read is kept pickled, so that nobody can change it."""

    kept: dict[str, bytes]

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Search elsewhere, and forget."""
        super().initialize_sources(config_search_path)
        self.kept = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """A file's content; None where there is none."""
        if config_path not in self.kept:
            self.kept[config_path] = pickle.dumps(super().load_config(config_path))
        result: ConfigResult | None = pickle.loads(self.kept[config_path])
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> "Files":
        """Hydra's own copy, which may search elsewhere later: until then it shares what was read."""
        return copy.copy(self)


@contextmanager
def loader(config_dir: str | None = None, config_path: str | None = None) -> Iterator[ConfigLoader]:
    """Hydra's reader of our folder (or of another primary one, `config_path`) and of a user's own beside it.

    Hydra keeps one global state: what was there before (a notebook's, or a Hydra application's around us) comes back.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError([f"--config-dir {config_dir} is no folder"])
    setbase("1.3")
    search = create_config_search_path(config_path or config_folder())
    if config_dir is not None:
        search.prepend("command-line", f"file://{Path(config_dir).resolve()}", anchor="schema")
    state = GlobalHydra.instance()
    before = state.hydra
    state.clear()
    try:
        found = Hydra.create_main_hydra2(task_name="train", config_search_path=search).config_loader
        assert isinstance(found, ConfigLoaderImpl)
        found.repository = Files(search)
        yield found
    finally:
        state.clear()
        if before is not None:
            state.initialize(before)
