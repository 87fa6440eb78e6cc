"""The house: arrows one way, one door for each heavy dependency, conf/ and schema in step."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

import mlpexp
from mlpexp import config as schema
from mlpexp.places import config_folder
from mlpexp.section import Section

PACKAGE = Path(mlpexp.__file__).parent
ROOT = PACKAGE.parent
MODULES = {
    ".".join(file.relative_to(PACKAGE).with_suffix("").parts): ast.parse(file.read_text())
    for file in sorted(PACKAGE.rglob("*.py"))
}


def imports(tree: ast.AST) -> set[str]:
    """Top-level names of all packages that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def users(package: str) -> list[str]:
    return [
        name
        for name, tree in MODULES.items()
        if any(found == package or found.startswith(f"{package}.") for found in imports(tree))
    ]


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("package", "doors"),
    [
        ("mlflow", ["dashboard_app", "tracking", "watching.tracking"]),
        ("matplotlib", ["figures", "flow_figures", "layer_figures", "learned_figures", "paper"]),
        ("optuna", [f"search.{n}" for n in ("dimensions", "studies", "drive", "report", "request", "command")]),
        ("plotly", ["gradient_flow"]),
        (
            "hydra",
            [
                *("config_files", "composition", "overrides", "hydra_app", "sweep"),
                *(f"search.{n}" for n in ("command", "dimensions", "request")),
            ],
        ),
        ("loky", ["execution"]),
        ("sklearn", ["data.packaged", "data.splits"]),
    ],
)
def test_a_heavy_dependency_has_one_door(package: str, doors: list[str]) -> None:
    assert set(users(package)) <= set(doors)


def test_the_kernel_knows_torch_and_plain_arguments() -> None:
    own = {"mlpexp.kernel", "torch", "numpy"}
    for name, tree in MODULES.items():
        if name.startswith("kernel."):
            for found in imports(tree):
                top = found.partition(".")[0]
                allowed = top in own | set(sys.stdlib_module_names) or found.startswith("mlpexp.kernel")
                assert allowed, f"{name} imports {found}"


@pytest.mark.parametrize("shown", ["display", "score_tables", "data_tables", "cohort_training"])
def test_who_says_to_flow_into_a_module_has_to_do_with_it(shown: str) -> None:
    for name, tree in MODULES.items():
        flow = re.search(r"^Flow: (.*?)\.$", ast.get_docstring(tree) or "", re.DOTALL | re.MULTILINE)
        if flow and f"→ {shown}" in flow[1].replace(",", " →"):
            package = name.removesuffix("__init__")
            own = set().union(*(imports(one) for other, one in MODULES.items() if other.startswith(package)))
            assert f"mlpexp.{shown}" in own or f"mlpexp.{name}" in imports(MODULES[shown]), f"{name}: {flow[0]}"


def test_importing_only_defines_names(tmp_path: Path) -> None:
    program = (
        "import sys, mlpexp; print([n for n in ('torch', 'hydra', 'mlflow', 'pandas', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", mlpexp.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(mlpexp, name).__doc__


def test_an_unknown_public_name_is_told_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"mlpexp has no trian; it has .*run"):
        _ = mlpexp.trian


# --- conf/ and the schema ---


def options() -> Iterator[tuple[str, str]]:
    for folder in sorted(Path(config_folder()).iterdir()):
        if folder.is_dir():
            yield from ((folder.name, file.stem) for file in sorted(folder.glob("*.yaml")))


def sections(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a group may be."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, Section):
            yield part
        elif part is not annotation:
            yield from sections(part)


def section_of(group: str, content: dict[str, Any]) -> type[Section]:
    """The section that reads an option: the one whose `name` it has."""
    candidates = list(sections(schema.Config.model_fields[group].annotation))
    for section in candidates:
        field = section.model_fields.get("name")
        if field is None or content["name"] in get_args(field.annotation):
            return section
    raise AssertionError(f"no section of {group} is called {content['name']}")


@pytest.mark.parametrize(("group", "option"), list(options()))
def test_an_option_has_every_key_of_its_section_and_no_other(group: str, option: str) -> None:
    content = yaml.safe_load((Path(config_folder()) / group / f"{option}.yaml").read_text())
    section = section_of(group, content)
    assert set(content) == set(section.model_fields)
    filled = {key: "given" if value == "???" else value for key, value in content.items()}
    section.model_validate(filled)


def test_the_main_file_has_a_key_or_a_group_for_every_field() -> None:
    content = yaml.safe_load((Path(config_folder()) / "train.yaml").read_text())
    groups = {
        name
        for default in content.pop("defaults")
        if isinstance(default, dict)
        for name in default
        if not name.startswith("override ")
    }
    content.pop("hydra")
    assert groups | set(content) == set(schema.Config.model_fields)
    assert set(content["seeds"]) == set(schema.Seeds.model_fields)


def test_every_section_with_a_name_has_an_option() -> None:
    for group in ("data", "initialisation", "optimizer", "tracking", "executor"):
        names = {yaml.safe_load(file.read_text())["name"] for file in (Path(config_folder()) / group).glob("*.yaml")}
        for section in sections(schema.Config.model_fields[group].annotation):
            assert set(get_args(section.model_fields["name"].annotation)) <= names


def test_defaults_of_conf_and_schema_agree() -> None:
    for group, option in options():
        content = yaml.safe_load((Path(config_folder()) / group / f"{option}.yaml").read_text())
        if group in ("model", "training"):
            defaults = section_of(group, content)().model_dump()
            assert content == defaults, group
