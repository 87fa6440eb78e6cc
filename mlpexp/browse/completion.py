"""What a shell offers while a word is typed: commands, Hydra's own keys and options for train and sweep, names of
studies, runs and data sets.

Flow: shell → `mlpexp complete WORD …` → **completion** → one offer a line. The scripts hold no list of words.
"""

import argparse
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mlpexp.browse.options import COMMANDS, SHELLS, parser_of

BASH = """\
# mlpexp in bash:  eval "$(mlpexp completion bash)"  in ~/.bashrc
_mlpexp() {
    local line=${COMP_LINE:0:COMP_POINT} word offers offer kept
    word=${line##*[[:space:]]}
    COMPREPLY=()
    mapfile -t offers < <(mlpexp complete "$line" 2>/dev/null)
    kept=${word%"${word##*[=:]}"}   # bash ends words at = and :, and wants only what follows
    [[ $COMP_WORDBREAKS == *=* ]] || kept=
    for offer in "${offers[@]}"; do COMPREPLY+=("${offer#"$kept"}"); done
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
    return 0
}
complete -o default -F _mlpexp mlpexp
"""
ZSH = """\
# mlpexp in zsh:  eval "$(mlpexp completion zsh)"  in ~/.zshrc, after compinit
_mlpexp() {
    local -a offers
    offers=("${(@f)$(mlpexp complete "${LBUFFER}" 2>/dev/null)}")
    offers=(${offers:#})
    compadd -Q -S ' ' -- ${offers:#*[=./]}
    compadd -Q -S '' -- ${(M)offers:#*[=./]}
}
compdef _mlpexp mlpexp
"""
SCRIPTS = dict(zip(SHELLS, (BASH, ZSH), strict=True))
OTHERS = ("train", "sweep", "study", "reproduce", "data", "lineage", "sync", "ui")


def command(options: argparse.Namespace) -> int:
    """Print the script of a shell."""
    print(SCRIPTS[options.shell], end="")
    return 0


def complete(words: Sequence[str]) -> int:
    """Print what may stand at the end of a line, `mlpexp` and all, an offer a line."""
    line = words[0] if words else ""
    done = line.split()[1:]
    word = "" if line[-1:].isspace() or not done else done.pop()
    print("\n".join(offers(done, word)))
    return 0


def offers(before: Sequence[str], word: str) -> list[str]:
    """What `word` may become after the words `before` it; every offer begins with `word`."""
    if not before:
        return _beginning(word, (*OTHERS, *COMMANDS))
    name = before[0]
    if name in ("train", "sweep"):
        return _of_hydra(before[1:], word, sweep=name == "sweep")
    if word.startswith("-"):
        return _beginning(word, _flags(name))
    return _beginning(word, _names(name))


def _beginning(word: str, known: Iterable[str]) -> list[str]:
    return sorted({name for name in known if name.startswith(word)})


def _of_hydra(before: Sequence[str], word: str, sweep: bool) -> list[str]:
    """Groups, options and keys, from Hydra's own completion on our folder of YAML files."""
    from mlpexp.hydra_app import OWN_FLAGS, completions

    if word.startswith("-"):
        return _beginning(word, (*(OWN_FLAGS if sweep else ()), "--help", "--cfg", "--config-dir", "--config-name"))
    key, equals, values = word.partition("=")
    if equals and (choices := choices_of(key)):
        earlier = values[: values.rfind(",") + 1]  # of a grid the last value is being typed
        return _beginning(word, (f"{key}={earlier}{choice}" for choice in choices))
    return _beginning(word, completions([one for one in before if not one.startswith("-")], word))


def choices_of(key: str) -> list[str]:
    """What a key may be, where the schema lists it: activations, words, true and false; empty where it is open."""
    from mlpexp.activation_schema import ACTIVATION_NAMES
    from mlpexp.config import Config
    from mlpexp.measurement_catalogue import CATALOGUE, PRESETS

    if key == "model.activation":
        return list(ACTIVATION_NAMES)
    if key == "measurements.quantities":
        return [*PRESETS, *CATALOGUE]
    section, _, leaf = key.rpartition(".")
    schema = Config.model_json_schema()
    groups = [schema]
    for name in section.split(".") if section else ():
        groups = [group for one in groups for group in _alternatives(one.get("properties", {}).get(name, {}), schema)]
    values = [one for group in groups for one in _alternatives(group.get("properties", {}).get(leaf, {}), schema)]
    known = [word for value in values for word in value.get("enum", [value["const"]] if "const" in value else [])]
    switches = ["true", "false"] if any(value.get("type") == "boolean" for value in values) else []
    null = ["null"] if known and any(value.get("type") == "null" for value in values) else []
    return [*map(str, known), *switches, *null] if leaf != "name" else []  # a name is chosen by its group


def _alternatives(part: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts of a JSON schema that one may be, references followed."""
    if "$ref" in part:
        yield from _alternatives(schema["$defs"][part["$ref"].rpartition("/")[2]], schema)
    for one in (*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())):
        yield from _alternatives(one, schema)
    yield part


def _flags(name: str) -> list[str]:
    """The options of a command, from the first lines of its help."""
    if name in COMMANDS:
        return [*re.findall(r"--[a-z-]+", parser_of(name).format_usage()), "--help"]
    if name == "study":
        from mlpexp.study_options import parser

        return [*re.findall(r"--[a-z-]+", parser().format_usage()), "--help"]
    return ["--help"]


def _names(name: str) -> Iterable[str]:
    """What a command takes: runs, studies, data sets, chapters, keys of conditions."""
    outputs = Path(os.environ.get("MLPEXP_OUTPUTS", "outputs"))
    if name in ("show", "compare", "pictures", "reproduce"):
        folder = outputs / "runs"
        return os.listdir(folder) if folder.is_dir() else ()
    if name == "runs":
        from mlpexp.browse.selection import MEMBERSHIPS, keys
        from mlpexp.run_index import rows

        return (f"{key}=" for key in (*keys(rows(outputs.absolute())), *MEMBERSHIPS))
    if name == "study":
        from mlpexp.places import study_folders

        return {file.parent.name for folder in study_folders() for file in folder.glob("*/study.yaml")}
    if name == "data":
        from mlpexp.places import config_folder

        return {file.stem for file in (Path(config_folder()) / "data").glob("*.yaml")}
    if name == "measurements":
        from mlpexp.measurement_catalogue import CATALOGUE

        return CATALOGUE
    if name == "lineage":
        from mlpexp.lineage.commands import CHAPTERS

        return CHAPTERS
    return SHELLS if name == "completion" else ()
