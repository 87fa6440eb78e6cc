"""Which recorded run a person means: by fingerprint or its first characters, by name, or by folder.

Flow: run_index → **choosing** → page, comparison, pictures.
"""

from collections.abc import Sequence
from pathlib import Path

from mlpexp.refusals import ConfigError, nearest
from mlpexp.results import Result
from mlpexp.run_index import Row

FEWEST_CHARACTERS, TOLD = 1, 4


def chosen(word: str, rows: Sequence[Row], outputs: Path) -> Result:
    """The one run; raises ConfigError where there is none, with the nearest, or more than one, with the first few."""
    if (Path(word) / "result.json").is_file():
        return Result(Path(word).absolute())
    found = [row for row in rows if row["fingerprint"] == word or row.get("name") == word]
    found = found or [row for row in rows if row["fingerprint"].startswith(word)]
    places = {row["fingerprint"]: row for row in reversed(found)}
    if len(places) == 1:
        (row,) = places.values()
        if row["status"] == "damaged":
            raise ConfigError([f"{row['folder']} is damaged ({row['problem']}); remove it, and the run trains again"])
        return Result(Path(row["folder"]))
    if not places:
        names = [*(str(row.get("name")) for row in rows), *(row["fingerprint"] for row in rows)]
        hint = nearest(word, dict.fromkeys(names)) or "; mlpexp runs lists them"
        raise ConfigError([f"no run in {outputs} is called {word!r}{hint}"])
    few = [f"{row['fingerprint']} {row.get('name', '')}".strip() for row in places.values()][:TOLD]
    more = ", …" if len(places) > TOLD else ""
    raise ConfigError([f"{len(places)} runs are called {word!r}: {', '.join(few)}{more}; give a fingerprint"])
