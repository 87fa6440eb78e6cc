"""`mlpexp train` as a Hydra application, checked by us first, so that a refused config leaves no file behind.

Flow: command line → composition (refuses) → Hydra → run → score_tables.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, redirect_stdout
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from mlpexp.cohorts import worker_count
from mlpexp.composition import (
    CONFIG_NAME,
    Composer,
    Point,
    compose_grid,
    compose_point,
    frozen,
    frozen_config,
)
from mlpexp.config import Config, validate
from mlpexp.config_files import loader
from mlpexp.overrides import opened, parse, parse_all, plain, refusing
from mlpexp.places import config_folder
from mlpexp.refusals import CREDENTIALS, ConfigError, redact

OWN_FLAGS = {"--plan": "", "--test": "hydra.launcher.show_test=true", "--bootstrap": "hydra.launcher.bootstrap=true"}
"""Flags of sweep, and the key of the launcher that says the same."""

GRIDS = ("hydra_plugins.mlpexp_hydra.grid.GridSweeper", "hydra._internal.core_plugins.basic_sweeper.BasicSweeper")
"""Sweepers that ask for the grid of all values."""

SHOWS_ONLY = ("help", "hydra_help", "cfg", "info", "shell_completion")


def application(words: Sequence[str], sweep: bool = False) -> int:
    """Run Hydra on these words; the exit code is 0, 1 (some runs failed) or 2 (a config was refused)."""
    words, own, grid = _split(words)
    options = _options_of(words)
    multirun = sweep or options.multirun or "hydra.mode=MULTIRUN" in words
    if not multirun and (own or grid):
        named = ", ".join([*sorted(own), *(f"tune.{key}" for key in grid)])
        raise ConfigError([f"{named} belongs to mlpexp sweep (train -m): it is said of a grid of points"])
    shows_only = any(getattr(options, flag) for flag in SHOWS_ONLY)
    words = _arranged(options, multirun and not shows_only)
    options = _options_of(words)
    if shows_only:
        if options.cfg is not None:
            with loader(options.config_dir, options.config_path) as files:
                for point in _grid(options, files, []) if multirun else [_point(options, files)]:
                    if point.mistakes:
                        raise ConfigError(point.mistakes)
        return _show_only(words)
    searches, params = False, list[str]()
    said = [OWN_FLAGS[flag] for flag in sorted(own) if OWN_FLAGS[flag]] + [as_launcher_key(grid)] * bool(grid)
    with loader(options.config_dir, options.config_path) as files:
        if not multirun:
            points = [_point(options, files)]
        else:
            hydra_config, searches = _multirun(options, files)
            _require_cohorts(hydra_config, [*sorted(own - {"--plan"}), *(f"tune.{key}" for key in grid)])
            varied = [f"{key}={','.join(values)}" for key, values in grid.items()]
            params = [f"{key}={value}" for key, value in (hydra_config.sweeper.get("params") or {}).items()]
            if searches and grid:
                raise ConfigError(["tune.… and search=… both choose values; leave one"])
            asks_all = hydra_config.sweeper._target_ in GRIDS  # another sweeper decides as it goes what it asks
            points = _grid(options, files, [*params, *varied]) if asks_all and not searches else []
    if searches:
        return _search([*words, *said], options, params, "--plan" in own)
    return _plan(points) if "--plan" in own else _launch([*words, *said], points)


def completions(overrides: Sequence[str], word: str) -> list[str]:
    """What Hydra's own completion offers for the word that follows these overrides."""
    from hydra._internal.core_plugins.bash_completion import BashCompletion

    with loader() as files:
        try:
            one_valued = [one for one in overrides if not parse(one).is_sweep_override()]
            return [str(one) for one in BashCompletion(files)._query(CONFIG_NAME, " ".join([*one_valued, word]))]
        except (ConfigError, HydraException):
            return []  # something before it cannot be composed


def _split(words: Sequence[str]) -> tuple[list[str], set[str], dict[str, list[str]]]:
    """Hydra's words, flags of our own, and the grid of `tune.KEY=[…]`."""
    grid: dict[str, list[str]] = {}
    if any(word.startswith("tune.") for word in words):
        from mlpexp.tuning import split_words

        words, grid = split_words(words)
    own = {flag for flag in words if flag in OWN_FLAGS}
    return [opened(hide_credentials(word)) for word in words if word not in own], own, grid


def _options_of(words: Sequence[str]) -> argparse.Namespace:
    """As Hydra reads them, but flags may stand anywhere between the overrides."""
    return get_args_parser().parse_intermixed_args(list(words))


def _arranged(options: argparse.Namespace, multirun: bool) -> list[str]:
    """The words as Hydra's own parser takes them: flags first; and our folder is found beside a user's primary one."""
    if options.config_path is not None:
        if options.config_dir is not None:
            raise ConfigError(["--config-path and --config-dir both name your folder; give one of them"])
        if not options.config_path.startswith("pkg://"):
            options.config_path = str(Path(options.config_path).absolute())
        options.config_dir = config_folder()
    options.multirun = multirun
    words: list[str] = []
    for name, value in vars(options).items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value and name != "overrides":
            words += [flag, value]
    return [*words, *options.overrides]


def as_launcher_key(grid: dict[str, list[str]]) -> str:
    """A grid as Hydra's launcher takes it, so that it stands in the sweep's own hydra.yaml."""
    quoted = (f"'{key}=[{','.join(values)}]'" for key, values in grid.items())
    return f"hydra.launcher.tune=[{','.join(quoted)}]"


def _point(options: argparse.Namespace, files: ConfigLoader) -> Point:
    """The one point that a run names."""
    return compose_point(options.overrides, files, options.config_name or CONFIG_NAME)


def _plan(points: Sequence[Point]) -> int:
    """What a multirun would do, told."""
    from mlpexp.planning import plan
    from mlpexp.sweep import plan_lines

    runs = [run for config in _accepted(points) for run in config.runs()]
    if not runs:
        raise ConfigError(["--plan needs all points beforehand, and this sweeper finds them as it goes"])
    print("\n".join(plan_lines(plan(runs, any(run.rerun for run in runs)))))
    return 0


def _launch(words: Sequence[str], points: Sequence[Point]) -> int:
    """Train these points, or those that a sweeper finds as it goes, through Hydra."""
    codes: list[int] = []
    with _workers_ahead(points):
        _accepted(points)
        with frozen(points):
            _hydra(words, lambda config: _job(config, codes))
    return max(codes, default=0)


def _accepted(points: Sequence[Point]) -> list[Config]:
    """The configs of points to train."""
    from mlpexp.planning import accept  # loads what reads and writes records: not for help

    configs = accept(points)
    if configs and configs[0].search is not None:
        raise ConfigError([f"search={configs[0].search.name} tries many points: mlpexp sweep search=… does"])
    return configs


def _workers_ahead(points: Sequence[Point]) -> AbstractContextManager[None]:
    """Processes that load torch while data are looked at; none where it is not certain yet that they will train."""
    from mlpexp.execution import ahead
    from mlpexp.planning import least_to_train

    configs = [point.config for point in points if point.config is not None]
    if len(configs) < len(points) or not least_to_train(configs):
        return nullcontext()
    runs = sum(config.replicates for config in configs)
    return ahead(configs[0].executor.name, worker_count(configs[0], runs))


def _search(words: Sequence[str], options: argparse.Namespace, params: Sequence[str], plan: bool) -> int:
    """A search, checked first; with `plan` it is only told what it would do."""
    from mlpexp.execution import ahead
    from mlpexp.search import request as requests

    def begin(sample: Config) -> None:
        begun.enter_context(ahead(sample.executor.name, worker_count(sample, 1 << 30)))

    overrides, name = [*params, *options.overrides], options.config_name or CONFIG_NAME
    with ExitStack() as begun:
        with loader(options.config_dir, options.config_path) as files:
            if plan:
                print("\n".join(requests.Request.read(files, name, overrides).plan_lines()))
                return 0
            request = requests.Request.read(files, name, overrides, begin)
        with requests.frozen(request, overrides):
            _hydra([*words, "hydra/sweeper=search"], lambda config: None)
    return 0


def _grid(options: argparse.Namespace, files: ConfigLoader, more: Sequence[str]) -> list[Point]:
    """Every point of a multirun."""
    return compose_grid([*options.overrides, *more], files, options.config_name or CONFIG_NAME)


def _multirun(options: argparse.Namespace, files: ConfigLoader) -> tuple[DictConfig, bool]:
    """Hydra's own part of a multirun's config (which sweeper and launcher, what is added), and whether it searches."""
    name = options.config_name or CONFIG_NAME
    parsed = parse_all(options.overrides)  # of groups alone does it depend; unknown keys are refused later
    paths = [str(one.input_line) for one in parsed if one.key_or_group == "hydra.searchpath"]
    composer = Composer(files, name, paths)
    groups = [one for one in parsed if one.is_hydra_override() or composer.is_group(one.key_or_group)]
    with refusing():
        whole = files.load_configuration(name, [str(one.input_line) for one in groups], RunMode.MULTIRUN)
    found: DictConfig = whole.hydra
    return found, whole.get("search") is not None


def _require_cohorts(hydra_config: DictConfig, named: Sequence[str]) -> None:
    """What only our launcher knows to do is not asked of another one."""
    if named and "CohortLauncher" not in hydra_config.launcher._target_:
        raise ConfigError([f"{', '.join(named)} needs hydra/launcher=cohorts; leave hydra/launcher=… out"])


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


def _hydra(words: Sequence[str], job: Callable[[DictConfig], object]) -> None:
    """Hydra's own main reads the process's arguments; it gets ours for the time of the call."""
    before = sys.argv
    sys.argv = ["mlpexp train", *words]
    try:
        hydra.main(version_base="1.3", config_path=config_folder(), config_name=CONFIG_NAME)(job)()
    finally:
        sys.argv = before


def _job(composed: DictConfig, codes: list[int]) -> float | None:
    """Train one point and show it; its validation score is what a sweeper is told."""
    from mlpexp.runner import RunError

    redact_folder(Path(HydraConfig.get().runtime.output_dir))
    try:
        config = frozen_config(list(HydraConfig.get().overrides.task))
        return _train(config or validate(plain(composed, resolve=True)))
    except RunError as error:
        print(f"mlpexp: {error}", file=sys.stderr)
        codes.append(1)
    except ConfigError as error:
        print("\n".join(error.report()), file=sys.stderr)
        codes.append(2)
    return None


def _train(config: Config) -> float | None:
    from rich.console import Console

    from mlpexp.runner import run
    from mlpexp.score_tables import show_places, show_profiles, show_scores
    from mlpexp.verdicts import validation_score

    results = run(config)
    console = Console()
    show_scores(results, console)
    show_profiles(results, console)
    show_places(results, config, console)
    return validation_score(results)


def redact_folder(folder: Path) -> None:
    """Hydra keeps configs as they were written in a user's YAML files: take the passwords out."""
    for file in (folder / ".hydra").glob("*.yaml"):
        text = file.read_text()
        if redact(text) != text:
            file.write_text(redact(text))
