"""A sweeper that searches: Optuna proposes the points, mlpexp trains them; chosen by itself where `search=…` is."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class SearchSweeperConf:
    """hydra/sweeper=search; `params` are overrides of every search, as in Hydra's basic sweeper."""

    _target_: str = "hydra_plugins.mlpexp_hydra.search.SearchSweeper"
    params: dict[str, str] | None = field(default=None)


class SearchSweeper(Sweeper):
    """Hands the whole search to mlpexp; no launcher takes part, a trial is no job of Hydra's."""

    def __init__(self, params: DictConfig | None) -> None:
        self.params: dict[str, Any] = {str(key): value for key, value in (params or {}).items()}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what a search needs; the task function is not called, mlpexp's own path trains."""
        self.context: HydraContext = hydra_context
        self.hydra_config: DictConfig = config

    def sweep(self, arguments: list[str]) -> Any:
        """The best trials."""
        from mlpexp.search.command import launch

        words = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        return launch(self.context.config_loader, self.hydra_config, words)


ConfigStore.instance().store(group="hydra/sweeper", name="search", node=SearchSweeperConf, provider="mlpexp")
