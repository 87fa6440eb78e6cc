"""The schema of `search`: how points are proposed, what is made better, when a trial is given up. Never hashed.

Flow: section → **search_schema** → config. Only `mlpexp sweep` reads it; no run's numbers depend on it.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from mlpexp.section import Section, Seed, Whole

SamplerName = Literal["tpe", "gp", "random", "qmc", "nsga2", "cmaes", "grid"]
PrunerName = Literal["none", "median", "hyperband", "wilcoxon"]


def _as_list(value: object) -> object:
    """One name needs no brackets."""
    return [value] if isinstance(value, str) else [] if value is None else value


Texts = Annotated[list[str], BeforeValidator(_as_list)]


class Search(Section):
    """A search for good points; a trial is a point with all its replicates."""

    name: SamplerName
    n_trials: Whole = Field(100, ge=1, description="in all, those of earlier commands included")
    maximize: Texts = Field(default_factory=list, description="recorded scores; none named: the validation score")
    minimize: Texts = Field(default_factory=list, description="recorded scores")
    constraints: Texts = Field(default_factory=list, description="such as 'delta_ratio >= 1e-6', for every replicate")
    score: Literal["mean", "bound"] = Field("mean", description="of the replicates, or the worse end of its interval")
    pruner: PrunerName = "none"
    seed: Seed = 0
    in_flight: Whole | None = Field(None, ge=1, description="trials under way at once; null: up to 24 a worker")
    fresh_seeds: Whole = Field(5, ge=0, description="on which the best point is scored at the end")
    study: str | None = Field(None, min_length=1, description="name in the storage; null: made from what is searched")
    storage: str | None = Field(None, description="URI of a database; null: the journal outputs/optuna.journal")
