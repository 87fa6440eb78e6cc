"""YAML by sections: the same text as in one go, whatever was written before."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlpexp.yaml_text import dump, dump_sections, load

NUMBERS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
VALUES = st.recursive(
    NUMBERS | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
CONTENTS = st.lists(st.dictionaries(st.sampled_from("abc"), VALUES | st.sampled_from([0, False, 0.0, "0"]), min_size=1))


@given(CONTENTS)
def test_sections_are_the_text_that_is_written_in_one_go(contents: list[dict[str, Any]]) -> None:
    known: dict[str, str] = {}
    for content in contents:
        text = dump_sections(content, known)
        assert text == dump(content)
        assert load(text) == content


def test_what_is_known_is_not_written_anew() -> None:
    known = {"a: 1": "a: from before\n"}
    assert dump_sections({"a": 1, "b": 2}, known) == "a: from before\nb: 2\n"
    assert dump_sections({"a": True}, known) == "a: true\n"
