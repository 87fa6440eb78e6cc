"""What a run folder says of its place in a tracking store; nothing of MLflow, so that any command can read it.

Flow: tracking → **shown** → tracker, tracking, addresses.
"""

import json
from dataclasses import asdict, dataclass

from mlpexp.journal import write_atomically
from mlpexp.results import Result

SHOWN = ".shown"


@dataclass
class Shown:
    """Saves asking the store. `place` names the store, the experiment's id and when it was made."""

    place: str
    version: str
    run_id: str
    sweeps: list[str]
    edition: str = ""  # of its note

    @property
    def experiment(self) -> str:
        """The id of the experiment that the run is in."""
        return self.place.split()[-2]

    def is_of(self, place: str, version: str) -> bool:
        """Whether it is that place that has the run, as it was trained last."""
        return (self.place, self.version) == (place, version)

    @classmethod
    def read(cls, result: Result) -> "Shown | None":
        """None where the run was never shown."""
        try:
            return cls(**json.loads((result.folder / SHOWN).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, result: Result) -> None:
        """Keep it beside the record; after a power cut the store would be asked again."""
        write_atomically(result.folder / SHOWN, json.dumps(asdict(self)).encode(), durably=False)
