"""Files are whole or as they were."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from vidbench.files import json_line, write_atomic, write_json


def test_text_bytes_and_pieces(tmp_path: Path):
    write_atomic(tmp_path / "a", "é\n")
    write_atomic(tmp_path / "b", b"\x00\xff")
    write_atomic(tmp_path / "c", (bytes([n]) for n in range(4)))
    assert [(tmp_path / n).read_bytes() for n in "abc"] == [b"\xc3\xa9\n", b"\x00\xff", b"\x00\x01\x02\x03"]


def test_what_fails_half_way_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path):
    def pieces() -> Iterator[bytes]:
        yield b"new"
        raise OSError("the disk is gone")

    write_atomic(tmp_path / "a", "old")
    with pytest.raises(OSError, match="gone"):
        write_atomic(tmp_path / "a", pieces())
    assert (tmp_path / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_new_file_has_the_rights_that_the_user_asked_for(tmp_path: Path):
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_refused(tmp_path: Path, value: float):
    with pytest.raises(ValueError, match="JSON"):
        json_line({"value": value})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a", {"value": value})
    assert not (tmp_path / "a").exists()
