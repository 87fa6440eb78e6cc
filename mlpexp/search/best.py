"""The best point: as a YAML file that `mlpexp train` takes as it is, and on seeds that were not searched.

Flow: study → **best** → the sweep's folder, runner.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlpexp import yaml_text
from mlpexp.config import HASHED, Config
from mlpexp.results import Result
from mlpexp.search.goals import Goals
from mlpexp.verdicts import mean

NAME = "best"


def write_best(folder: Path, config: Config, told: Sequence[str]) -> Path:
    """`best.yaml`: everything that the point's runs depend on; the lines of `told` stand above it."""
    sections: dict[str, Any] = {name: getattr(config, name).shown() for name in (*HASHED, "measurements")}
    overrides = [{f"override {group}": sections[group]["name"]} for group in ("data", "initialisation", "optimizer")]
    content = {"defaults": ["train", *overrides, "_self_"], **sections}
    content |= {"seed": config.seed, "replicates": config.replicates, "seeds": config.seeds.model_dump()}
    file = folder / f"{NAME}.yaml"
    lines = [*told, f"mlpexp train --config-dir {folder} --config-name {NAME}"]
    file.write_text("".join(f"# {line}\n" for line in lines) + yaml_text.dump(content))
    return file


def on_fresh_seeds(config: Config, count: int) -> Config:
    """The point with seeds above those that were searched."""
    return config.model_copy(update={"seed": config.seed + config.replicates, "replicates": count})


def curse(goals: Goals, values: Sequence[float], fresh: Sequence[Result]) -> list[str]:
    """What the best point's fresh seeds score, beside the score by which it was chosen; a line an objective.

    How many parameters a network has depends on no seed, and is not told.
    """
    lines = []
    for name, sign, searched in zip(goals.names, goals.signs, values, strict=True):
        if name == "parameters":
            continue
        scores = [goals.scalars(run)[name] for run in fresh if goals.reason(run) is None]
        if not scores:
            lines.append(f"{name}: {searched:.4g} on the searched seeds; every fresh seed diverged")
            continue
        found = mean(scores)
        lost = sign * (searched - found.value)
        what = f", {lost:.2g} worse: what was luck of the searched seeds" if lost > 0 else ""
        many = (
            f"{len(fresh)} fresh seeds" if len(scores) == len(fresh) else f"{len(scores)} of {len(fresh)} fresh seeds"
        )
        lines.append(f"{name}: {searched:.4g} on the searched seeds, {found} on {many}{what}")
    return lines
