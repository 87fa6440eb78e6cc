"""`make docs`: pages from docstrings that need no network, and pages whose links and commands are true."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlpexp.pages.__main__ import LEFT_OUT, all_modules

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("mlpexp", "mlpexp.records", "mlpexp.pages", "mlpexp.theory.criticality")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the pages: all of them take half a minute."""
    folder = tmp_path_factory.mktemp("docs")
    script = f"from mlpexp.pages.__main__ import build; from pathlib import Path; build(Path('{folder}'), {MODULES})"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_public_names_have_their_docstrings_on_the_first_page(built: Path) -> None:
    text = (built / "mlpexp.html").read_text()
    assert 'id="Result.plot"' in text
    assert "Train what is not recorded yet" in text


def test_the_flow_is_drawn_and_the_promise_is_told(built: Path) -> None:
    assert "outputs/runs/&lt;fingerprint&gt;: the record" in (built / "mlpexp" / "pages" / "inside.html").read_text()
    text = (built / "mlpexp" / "pages" / "reproducibility.html").read_text()
    assert "A run is a pure function of its config" in text


def test_a_page_fetches_nothing(built: Path) -> None:
    for file in built.rglob("*.html"):
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', file.read_text()), file


def test_every_module_has_a_page() -> None:
    listed = set(all_modules())
    files = {file.relative_to(ROOT) for file in (ROOT / "mlpexp").glob("*.py")}
    top = {f"mlpexp.{file.stem}" for file in files if file.stem not in ("__init__", *LEFT_OUT)}
    assert top <= listed
    assert "mlpexp.theory.integrals" in listed


@pytest.mark.parametrize("file", ["CONTRIBUTING.md", "mlpexp/pages/inside.md", "mlpexp/pages/reproducibility.md"])
def test_what_a_page_names_exists(file: str) -> None:
    text = (ROOT / file).read_text()
    for place in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / file).parent / place).exists(), place
    for name in re.findall(r"`mlpexp\.([a-z_.]+)`", text):
        assert (ROOT / "mlpexp" / name.replace(".", "/")).with_suffix(".py").exists() or (
            ROOT / "mlpexp" / name.replace(".", "/")
        ).is_dir(), name
    for command in re.findall(r"^make (\w+)|`make (\w+)`", text, re.M):
        assert f"\n{''.join(command)}:" in (ROOT / "Makefile").read_text()
