"""`mlpexp train --help`: every group, and every key of the chosen options with what its YAML file says beside it."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from mlpexp.letters import folded
from mlpexp.places import kernel_files

USAGE = """\
mlpexp train KEY=VALUE …   one point: compose, check, train, record and show it
mlpexp sweep KEY=A,B …     a grid of points; --plan tells what it would do,
                           --test shows test scores

  mlpexp train model.depth=8 model.activation=tanh optimizer=momentum
  mlpexp train data=fashion_mnist model.width=128 training.epochs=10
  mlpexp sweep model.depth=2,8 'tune.optimizer.learning_rate=[1e-3,1e-2]'
  mlpexp sweep search=tpe 'optimizer.learning_rate=tag(log,interval(1e-4,1e-1))'

Choose one option of a group with GROUP=OPTION, change a key with
GROUP.KEY=VALUE. `--cfg job` shows what would be trained, `--config-dir FOLDER`
adds YAML files of your own, `--hydra-help` tells Hydra's options.
"""


def help_text(folder: Path, overrides: Sequence[str], config_dir: str | None = None) -> str:
    """Usage, then each group with its options and the text of the chosen one."""
    text = (folder / "train.yaml").read_text()
    chosen: dict[str, str] = {}
    for entry in yaml.safe_load(text)["defaults"]:
        if isinstance(entry, dict):
            chosen |= {group: name for group, name in entry.items() if (folder / group).is_dir()}
    words = dict(word.partition("=")[::2] for word in overrides)
    places = [folder, *([Path(config_dir)] if config_dir else [])]
    lines = [USAGE]
    for group, default in chosen.items():
        options = sorted({file.stem for place in places for file in (place / group).glob("*.yaml")})
        name = words.get(group, default)
        if name is None:
            told = f"== {group} ==   none, or one of {', '.join(options)}: {group}={options[-1]} shows its keys"
            lines.append(folded(told, "   ") + "\n")
            continue
        lines.append(folded(f"== {group}={name} ==   of {', '.join(options)}", "   "))
        files = [file for place in places if (file := place / group / f"{name}.yaml").exists()]
        lines.append(indented(files[-1].read_text() if files else f"no such option: {name}"))
        if group == "model":
            lines.append(folded(f"  activations: {', '.join(kernel_files('activations'))}", "    ") + "\n")
    own = text[text.index("\nseed:") : text.index("\nhydra:")]
    return "\n".join([*lines, "== of the run itself ==", indented(own)])


def indented(text: str) -> str:
    """Two spaces before each line; what is too long for the terminal goes on below, a comment below its beginning."""
    return "".join(f"{_fitted(f'  {line}')}\n" for line in text.strip().splitlines())


def _fitted(line: str) -> str:
    key, mark, _ = line.partition("# ")
    return folded(line, " " * len(key) + mark if mark else "    ")
