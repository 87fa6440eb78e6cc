"""A launcher that takes a whole multirun as one order, and a grid sweeper that does not compose each job twice."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class CohortLauncherConf:
    """hydra/launcher=cohorts; `tune` holds `KEY=[a,b,…]`, one for each key that is tuned within every point."""

    _target_: str = "hydra_plugins.mlpexp_hydra.grid.CohortLauncher"
    show_test: bool = False
    bootstrap: bool = False
    tune: list[str] = field(default_factory=list)


@dataclass
class GridSweeperConf:
    """hydra/sweeper=grid; `params` are overrides of every sweep, as in Hydra's basic sweeper."""

    _target_: str = "hydra_plugins.mlpexp_hydra.grid.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] = field(default_factory=dict)


class CohortLauncher(Launcher):
    """Hands all jobs of a batch to mlpexp at once: it groups, trains and returns them in order."""

    def __init__(self, show_test: bool, bootstrap: bool, tune: Sequence[str]) -> None:
        self.show_test, self.bootstrap, self.tune = show_test, bootstrap, list(tune)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what launch needs; the task function is not called, mlpexp's own path trains."""
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """One JobReturn a job, in order; its value is the mean validation score of the point."""
        from mlpexp.sweep import Options, launch
        from mlpexp.tuning import PREFIX, split_words

        _, grid = split_words([f"{PREFIX}{word}" for word in self.tune])
        options = Options(self.show_test, self.bootstrap, grid)
        return launch(self.context.config_loader, self.config, job_overrides, initial_job_idx, options)


class GridSweeper(BasicSweeper):
    """The grid of all values; points are checked by mlpexp, all at once."""

    def validate_batch_is_legal(self, batch: Any) -> None:
        """Done before Hydra was called, in milliseconds a point."""


ConfigStore.instance().store(group="hydra/launcher", name="cohorts", node=CohortLauncherConf, provider="mlpexp")
ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="mlpexp")
