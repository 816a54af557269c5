"""Observations on disk: whole or absent, bounded, never pickled."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.extractor import Observation
from vidbench.run.cache import ObservationCache, deserialise, serialise


@dataclass(frozen=True)
class Sample(Observation):
    values: NDArray[np.float64]
    grid: NDArray[np.uint8]
    label: str
    rate: float | None
    count: int


@dataclass(frozen=True)
class Other(Observation):
    values: NDArray[np.float64]


def sample(n: int = 5) -> Sample:
    return Sample(np.linspace(0, 1, n), np.arange(6, dtype=np.uint8).reshape(2, 3)[:, ::2], "naïve\n✓", None, 7)


def test_round_trip_is_exact():
    given = Sample(np.array([0.1, np.nan, -0.0, 1e-300]), np.zeros((0, 3), np.uint8), "", 29.97, -1)
    back = deserialise(serialise(given), Sample)
    assert np.array_equal(back.values, given.values, equal_nan=True)
    assert np.signbit(back.values[2])
    assert back.grid.shape == (0, 3)
    assert (back.label, back.rate, back.count) == ("", 29.97, -1)


def test_strided_arrays_keep_their_values_and_equal_values_give_equal_bytes():
    back = deserialise(serialise(sample()), Sample)
    assert np.array_equal(back.grid, sample().grid)
    assert serialise(sample()) == serialise(back)


def test_every_changed_byte_is_noticed():
    data = serialise(sample())
    for position in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(ValueError, match=r"checksum|holds|cannot"):
            deserialise(bytes(damaged), Sample)
    with pytest.raises(ValueError, match="checksum"):
        deserialise(data[:-1], Sample)


def test_another_kind_of_observation_is_refused():
    with pytest.raises(ValueError, match="holds a Sample, not a Other"):
        deserialise(serialise(sample()), Other)


def test_objects_are_refused():
    with pytest.raises(TypeError, match="is a list"):
        serialise(Sample([1.0], np.zeros(1, np.uint8), "", None, 0))  # type: ignore[arg-type]


def test_a_damaged_entry_is_absent_and_removed(tmp_path: Path):
    cache = ObservationCache(tmp_path, 10**9)
    assert cache.get("ab12", Sample) is None
    assert cache.put("ab12", sample()) is None
    assert cache.get("ab12", Sample).label == sample().label
    (entry,) = [p for p in tmp_path.rglob("*") if p.is_file()]
    entry.write_bytes(entry.read_bytes()[:-3])
    assert cache.get("ab12", Sample) is None
    assert not entry.exists()


def test_the_longest_unused_entries_go_first(tmp_path: Path):
    cache = ObservationCache(tmp_path, 0)
    for number, key in enumerate(["aa", "bb", "cc"]):
        cache.put(key, sample(1000))
        (entry,) = (tmp_path / "observations" / key[:2]).iterdir()
        os.utime(entry, (number + 1, number + 1))
    cache.get("aa", Sample)
    size = len(serialise(sample(1000)))
    cache.limit = 2 * size
    assert cache.prune() == 2 * size
    assert [cache.get(key, Sample) is not None for key in ("aa", "bb", "cc")] == [True, False, True]


def test_an_unwritable_cache_says_so_once_and_never_fails(tmp_path: Path):
    (tmp_path / "file").write_text("")
    cache = ObservationCache(tmp_path / "file", 10**9)
    assert "not cached" in str(cache.put("aa", sample()))
    assert cache.put("bb", sample()) is None
    assert cache.get("aa", Sample) is None
