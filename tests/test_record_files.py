"""The parquet files of a record: stretches of pieces, and columns without pandas, equal to those of pyarrow."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import piece

from mlpexp import record_files
from mlpexp.record_files import arrow, stretches


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_column_is_what_pyarrow_makes_of_it(dtype: str, share: float) -> None:
    draw = np.random.default_rng(0)
    for count in (0, 1, 7, 8, 9, 100):
        values = draw.normal(size=(count, 2)).astype(dtype)[:, 1]  # not contiguous
        blank = draw.random(count) < share
        assert arrow(values, blank).equals(pa.array(values, mask=blank))
        assert arrow(values).equals(pa.array(values))


@given(
    lanes=st.lists(st.integers(1, 3), min_size=1, max_size=12).map(lambda counts: sorted(counts, reverse=True)),
    rows=st.integers(1, 9),
    group=st.integers(1, 20),
    room=st.integers(1, 2000),
)
def test_stretches_have_every_row_of_every_lane_in_its_order(
    lanes: list[int], rows: int, group: int, room: int
) -> None:
    pieces = [piece(range(i * rows, (i + 1) * rows), range(count), every=2) for i, count in enumerate(lanes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_files, "GROUP_ROWS", group)
        patch.setattr(record_files, "STRETCH_BYTES", room)
        found = list(stretches(pieces))
    assert np.concatenate([one.steps for one in found]).tolist() == list(range(rows * len(lanes)))
    for lane in range(max(lanes)):
        own, cut = ([one for one in of if lane in one.lanes] for of in (pieces, found))
        for of_one in (
            lambda one, lane=lane: one.losses[:, lane],
            lambda one, lane=lane: one.measured["delta_norm"][:, lane],
            lambda one, lane=lane: one.measured_at["delta_norm"],
        ):
            expected, got = (np.concatenate([of_one(one) for one in of]) for of in (own, cut))
            assert np.array_equal(got, expected)


def test_a_stretch_ends_with_its_group_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_files, "GROUP_ROWS", 10)
    lanes = [[0, 1], [0, 1], [1], [1], [1]]  # the group goes on where a lane leaves
    found = list(stretches(piece(range(4 * i, 4 * i + 4), of) for i, of in enumerate(lanes)))
    assert [(one.lanes, int(one.steps[0]), len(one.steps)) for one in found] == [
        ([0, 1], 0, 8),
        ([1], 8, 4),
        ([1], 12, 8),
    ]
