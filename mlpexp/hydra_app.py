"""`mlpexp train` as a Hydra application, checked by us first, so that a refused config leaves no file behind.

Flow: command line → composition (refuses) → Hydra → run → display.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mlpexp.composition import CONFIG_NAME, compose, compose_grid, frozen, loader, opened
from mlpexp.config import Config, validate
from mlpexp.places import config_folder
from mlpexp.refusals import CREDENTIALS, ConfigError, redact

OWN_FLAGS = {"--plan": "", "--test": "hydra.launcher.show_test=true", "--bootstrap": "hydra.launcher.bootstrap=true"}
"""Flags of sweep, and the key of the launcher that says the same."""

SHOWS_ONLY = ("help", "hydra_help", "cfg", "info", "shell_completion")


def application(words: Sequence[str], sweep: bool = False) -> int:
    """Run Hydra on these words; the exit code is 0, 1 (some runs failed) or 2 (a config was refused)."""
    grid: dict[str, list[str]] = {}
    if any(word.startswith("tune.") for word in words):
        from mlpexp.tuning import split_words

        words, grid = split_words(words)
        if not sweep:
            raise ConfigError(["tune.… belongs to mlpexp sweep: it trains a grid within every point"])
    own = {flag for flag in words if sweep and flag in OWN_FLAGS}
    said = [OWN_FLAGS[flag] for flag in sorted(own) if OWN_FLAGS[flag]] + [as_launcher_key(grid)] * bool(grid)
    words = [opened(hide_credentials(word)) for word in words if word not in own]
    words = [*(["--multirun"] if sweep else []), *words, *said]
    options = get_args_parser().parse_args(words)
    if any(getattr(options, flag) for flag in SHOWS_ONLY):
        if options.cfg is not None:
            compose_all(options, [], [])
        return _show_only(words)
    from mlpexp.planning import check_all, plan  # loads what reads and writes records: not for help

    params = _sweeper_params(words) if options.multirun else []
    composed = compose_all(options, params, [f"{key}={','.join(values)}" for key, values in grid.items()])
    points = [config for _, config in composed]
    runs = [run for point in points for run in point.runs()]
    check_all(runs)
    if "--plan" in own:
        from mlpexp.sweep import plan_lines

        print("\n".join(plan_lines(plan(runs, any(point.rerun for point in points)))))
        return 0
    codes: list[int] = []
    with frozen(composed):
        _hydra(words, lambda config: codes.append(_job(config)))
    return max(codes, default=0)


def as_launcher_key(grid: dict[str, list[str]]) -> str:
    """A grid as Hydra's launcher takes it, so that it stands in the sweep's own hydra.yaml."""
    quoted = (f"'{key}=[{','.join(values)}]'" for key, values in grid.items())
    return f"hydra.launcher.tune=[{','.join(quoted)}]"


def compose_all(
    options: argparse.Namespace, params: Sequence[str], grid: Sequence[str]
) -> list[tuple[Sequence[str], Config]]:
    """Every point that these options name, with its overrides; raises ConfigError with all that is refused."""
    name = options.config_name or CONFIG_NAME
    if options.multirun:
        return [*compose_grid([*params, *options.overrides, *grid], options.config_dir, name)]
    return [(options.overrides, compose(options.overrides, options.config_dir, name))]


def _sweeper_params(words: Sequence[str]) -> list[str]:
    """What `hydra.sweeper.params` adds to a grid, from a user's YAML file or the command line."""
    options = get_args_parser().parse_args(list(words))
    with loader(options.config_dir) as files:
        config = files.load_configuration(options.config_name or CONFIG_NAME, options.overrides, RunMode.MULTIRUN)
    params = OmegaConf.select(config, "hydra.sweeper.params")
    return [f"{key}={value}" for key, value in (params or {}).items()]


def _show_only(words: Sequence[str]) -> int:
    """Help and the like: nothing trains, and no password is shown."""
    shown = io.StringIO()
    try:
        with redirect_stdout(shown):
            _hydra(words, lambda config: None)
    finally:
        print(redact(shown.getvalue()), end="")
    return 0


def hide_credentials(word: str) -> str:
    """A word with a password becomes an interpolation of the environment, so that Hydra stores and logs none."""
    key, equals, value = word.partition("=")
    if not equals or not CREDENTIALS.search(value):
        return word
    variable = f"MLPEXP_HIDDEN_{key.upper().replace('.', '_').lstrip('+')}"
    os.environ[variable] = value.strip("'\"")
    return f"{key}=${{oc.env:{variable}}}"


def _hydra(words: Sequence[str], job: object) -> None:
    """Hydra's own main reads the process's arguments; it gets ours for the time of the call."""
    before = sys.argv
    sys.argv = ["mlpexp train", *words]
    try:
        hydra.main(version_base="1.3", config_path=config_folder(), config_name=CONFIG_NAME)(job)()  # type: ignore[arg-type]
    finally:
        sys.argv = before


def _job(composed: DictConfig) -> int:
    """Train one point and show it."""
    from rich.console import Console

    from mlpexp.display import show_places, show_profiles, show_scores
    from mlpexp.runner import RunError, run

    redact_folder(Path(HydraConfig.get().runtime.output_dir))
    config = validate(OmegaConf.to_container(composed, resolve=True))  # type: ignore[arg-type]
    try:
        results = run(config)
    except RunError as error:
        print(f"mlpexp: {error}", file=sys.stderr)
        return 1
    except ConfigError as error:
        for line in error.mistakes:
            print(f"mlpexp: {line}", file=sys.stderr)
        return 2
    console = Console()
    show_scores(results, console)
    show_profiles(results, console)
    show_places(results, config, console)
    return 0


def redact_folder(folder: Path) -> None:
    """Hydra keeps configs as they were written in a user's YAML files: take the passwords out."""
    for file in (folder / ".hydra").glob("*.yaml"):
        text = file.read_text()
        if redact(text) != text:
            file.write_text(redact(text))
