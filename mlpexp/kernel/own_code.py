"""The text of a user's own file, executed as Python code with all rights of the process: whoever names it trusts it."""

from collections.abc import Callable
from types import ModuleType
from typing import Any


def functions_in(source: str, file: str, *names: str) -> list[Callable[..., Any]]:
    """These functions as the text defines them; raises NameError where one is missing, or what executing it raises."""
    module: Any = ModuleType("own_code")
    module.__file__ = file
    exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)
    found = [getattr(module, name.partition("(")[0], None) for name in names]
    if not all(map(callable, found)):
        raise NameError(f"the file must define {' and '.join(names)}")
    return found  # type: ignore[return-value]  # any callable, as asked
