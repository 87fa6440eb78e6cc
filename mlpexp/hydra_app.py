"""`mlpexp train` as a Hydra application, checked by us first, so that a refused config leaves no file behind.

Flow: command line → composition (refuses) → Hydra → run → display.
"""

import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from mlpexp.composition import CONFIG_NAME, compose, compose_grid, config_folder
from mlpexp.config import validate
from mlpexp.planning import check_all
from mlpexp.refusals import CREDENTIALS, ConfigError, redact

SHOWS_ONLY = ("help", "hydra_help", "cfg", "info", "shell_completion")


def application(words: Sequence[str]) -> int:
    """Run Hydra on these words; the exit code is 0, 1 (some runs failed) or 2 (a config was refused)."""
    options = get_args_parser().parse_args(list(words))
    name = options.config_name or CONFIG_NAME
    shows_only = any(getattr(options, flag) for flag in SHOWS_ONLY)
    if options.cfg is not None or not shows_only:
        points = (
            compose_grid(options.overrides, options.config_dir, name)
            if options.multirun
            else [compose(options.overrides, options.config_dir, name)]
        )
        if not shows_only:
            check_all([run for point in points for run in point.runs()[:1]])
    words = [hide_credentials(word) for word in words]
    if shows_only:
        shown = io.StringIO()
        try:
            with redirect_stdout(shown):
                _hydra(words, lambda config: None)
        finally:
            print(redact(shown.getvalue()), end="")
        return 0
    codes: list[int] = []
    _hydra(words, lambda config: codes.append(_job(config)))
    return max(codes, default=0)


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
