"""The journal of a cohort: what goes in comes out, long records stay small in memory, damage is told; atomic writes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import piece, same
from runs_fixtures import files_below

from mlpexp import journal
from mlpexp.journal import Journal, JournalError, read_segment, write_atomically


@given(cuts=st.lists(st.integers(1, 5), min_size=1, max_size=6), flushes=st.sets(st.integers(0, 5)))
def test_what_goes_in_comes_out_however_it_is_cut_into_segments(
    cuts: list[int], flushes: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    book = Journal(tmp_path_factory.mktemp("journal"))
    pieces, start = [], 0
    for i, length in enumerate(cuts):
        pieces.append(piece(range(start, start + length), lanes=range(1 + i % 3)))
        start += length
        book.append(pieces[-1])
        if i in flushes:
            book.flush()
    back = list(book.pieces())
    assert len(back) == len(pieces)
    assert all(map(same, back, pieces))


def test_long_records_go_to_disk_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", 4000)
    book, most = Journal(tmp_path / "book"), 0
    for start in range(0, 200, 10):
        book.append(piece(range(start, start + 10), lanes=[0, 1]))
        most = max(most, sum(pending.size for pending in book.pending))
    assert most < 4000
    assert len(list((tmp_path / "book").glob("segment-*"))) >= 3
    assert [int(p.steps[0]) for p in book.pieces()] == list(range(0, 200, 10))


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_segment_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    book = Journal(tmp_path / "book")
    book.append(piece(range(5), lanes=[0]))
    book.flush()
    (file,) = (tmp_path / "book").glob("segment-*")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes({"flip": bytes(content), "cut": bytes(content[:-8]), "empty": b""}[damage])
    with pytest.raises(JournalError, match=r"segment-000000-.* is damaged") as refused:
        list(book.pieces())
    assert str(file) in str(refused.value)
    with pytest.raises(JournalError):
        read_segment(file)


def test_a_discarded_journal_leaves_nothing(tmp_path: Path) -> None:
    book = Journal(tmp_path / "book")
    book.append(piece(range(5), lanes=[0]))
    book.flush()
    book.discard()
    assert files_below(tmp_path) == []


# --- atomic writes ---

HALF_WAY = """
import os, signal, sys
from pathlib import Path
import mlpexp.journal as journal
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
journal.write_atomically(Path(sys.argv[1]), b"x" * 100_000)
"""


@pytest.mark.parametrize("existed", [True, False])
def test_a_writer_that_is_killed_leaves_the_old_file_or_none(tmp_path: Path, existed: bool) -> None:
    file = tmp_path / "result.json"
    if existed:
        file.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", HALF_WAY, str(file)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (file.read_bytes() == b"old") if existed else not file.exists()


def test_a_file_is_replaced_whole_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        write_atomically(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert files_below(tmp_path) == ["file"]


def test_a_file_that_was_replaced_durably_has_its_folder_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    write_atomically(tmp_path / "a", b"1")
    assert synced == [str(tmp_path / f".a.{os.getpid()}"), str(tmp_path)]
    write_atomically(tmp_path / "b", b"2", durably=False)
    assert len(synced) == 2
    assert (tmp_path / "b").read_bytes() == b"2"
