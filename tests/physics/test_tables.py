"""Looking at clips, remembering what was seen, and the truth beside them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from vidbench.errors import ClipError, InputError
from vidbench.video import encode_h264
from vidbench_metrics.physics.event import Event
from vidbench_suites.physics.baselines import BASELINES, all_baselines, baselines, spike
from vidbench_suites.physics.tables import Observer, Truth, gather, read_seen, read_truth, source_hash, write_seen

LINE = {
    "clip": "lit/0001-vanish-impossible.npy",
    "pair": "lit/0001",
    "look": "lit",
    "possible": False,
    "kind": "vanish",
    "variant": "moving",
    "control": None,
    "nuisance": "shake",
    "frames": 6,
    "fps": 24.0,
    "start": 3,
    "end": 4,
    "boxes": [{"frame": 3, "box": [1, 2, 3, 4]}],
}


def _observe(clip):
    """Sees one event, that depends on the clip."""
    pixels = np.load(clip.path)
    if pixels.mean() > 250:
        raise ClipError("all white", clip.path)
    features = {"brightness": float(pixels.mean()), "unknown": math.nan, "huge": math.inf}
    return [Event("track_end", 3, 4, ((3, 1.0, 2.0, 3.0, 4.0),), features, "vanish")], {"noise": 1.0, "gone": math.nan}


def _counting():
    calls: list[str] = []

    def observe(clip):
        calls.append(clip.id)
        return _observe(clip)

    return calls, observe


def _write(folder: Path, name: str, level: int) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    np.save(folder / name, np.full((6, 16, 16, 3), level, np.uint8))


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "suite"
    _write(folder, "lit/0001-vanish-impossible.npy", 10)
    _write(folder, "lit/0001-vanish-possible.npy", 20)
    other = {**LINE, "clip": "lit/0001-vanish-possible.npy", "possible": True, "kind": None, "start": None, "end": None}
    (folder / "truth.jsonl").write_text(f"{json.dumps(LINE)}\n\n{json.dumps({**other, 'boxes': []})}\n")
    return folder


def test_truth_and_events_come_together(suite, tmp_path):
    found = gather([suite], Observer(_observe, "v1"), cache=tmp_path / "cache")
    assert found.failed == ()
    impossible, possible = found.tables
    assert impossible.truth == Truth(
        "lit", "0:lit/0001", False, "vanish", "moving", None, "shake", 24.0, 3, 4, ((3, 1.0, 2.0, 3.0, 4.0),)
    )
    assert possible.truth == Truth("lit", "0:lit/0001", True, None, "moving", None, "shake", 24.0)
    assert impossible.events[0].features["brightness"] == 10.0
    assert impossible.id == "suite/lit/0001-vanish-impossible.npy"


def test_what_was_seen_is_remembered_exactly_and_by_content(suite, tmp_path):
    calls, observe = _counting()
    first = gather([suite], Observer(observe, "v1"), cache=tmp_path / "cache")
    second = gather([suite], Observer(observe, "v1"), cache=tmp_path / "cache")
    assert len(calls) == 2
    for a, b in zip(first.tables, second.tables, strict=True):
        np.testing.assert_equal(dict(a.context), dict(b.context))
        for x, y in zip(a.events, b.events, strict=True):
            np.testing.assert_equal(dict(x.features), dict(y.features))
            assert (x.type, x.start, x.end, x.boxes, x.kind) == (y.type, y.start, y.end, y.boxes, y.kind)
    _write(suite, "lit/0001-vanish-possible.npy", 30)
    gather([suite], Observer(observe, "v1"), cache=tmp_path / "cache")
    assert len(calls) == 3  # one clip has changed
    gather([suite], Observer(observe, "v2"), cache=tmp_path / "cache")
    assert len(calls) == 5  # another way of looking
    (suite / "metadata.csv").write_text("file_name,pixels_per_meter\nlit/0001-vanish-possible.npy,50\n")
    gather([suite], Observer(observe, "v2"), cache=tmp_path / "cache")
    assert len(calls) == 6  # scale is known now


def test_a_damaged_memory_is_looked_at_again(suite, tmp_path):
    calls, observe = _counting()
    gather([suite], Observer(observe, "v1"), cache=tmp_path / "cache")
    for path, text in zip(sorted((tmp_path / "cache").rglob("*.jsonl")), ("", "[]\n{}"), strict=True):
        path.write_text(text)
    again = gather([suite], Observer(observe, "v1"), cache=tmp_path / "cache")
    assert len(calls) == 4
    assert [len(table.events) for table in again.tables] == [1, 1]


def test_a_half_written_memory_is_none(tmp_path):
    path = tmp_path / "a" / "b.jsonl"
    event = Event("cut", 1, 2, (), {"x": math.nan}, "jump_cut")
    write_seen(path, ([event, event], {}))
    whole = read_seen(path)
    assert whole is not None
    assert len(whole[0]) == 2
    path.write_text(path.read_text().splitlines()[0])
    assert read_seen(path) is None


def test_several_processes_see_the_same(suite, tmp_path):
    from vidbench_suites.physics import tables

    clip = gather([suite], Observer(_observe, "v1"), cache=tmp_path / "cache").tables[0]
    # What a worker is given must be found by it: a function of an installed module, here on what is remembered.
    again = gather([suite], Observer(tables._observe, "v1"), cache=tmp_path / "cache", jobs=2).tables[0]
    assert again.sha256 == clip.sha256
    np.testing.assert_equal(dict(again.events[0].features), dict(clip.events[0].features))


def test_folders_without_truth_are_innocent_and_grouped_by_video(tmp_path):
    for number, name in enumerate(["park_0.npy", "park_1.npy", "street_10.npy", "alone.npy", "sub/park_2.npy"]):
        _write(tmp_path / "real", name, number)
    found = gather([], Observer(_observe, "v1"), innocent=[tmp_path / "real"], cache=tmp_path / "cache")
    groups = {Path(table.id).name: table.truth.group for table in found.tables}
    assert groups == {
        **dict.fromkeys(("park_0.npy", "park_1.npy", "park_2.npy"), "video:park"),
        "street_10.npy": "video:street",
        "alone.npy": "video:alone",
    }
    assert {(table.truth.look, table.truth.possible) for table in found.tables} == {("real", True)}


def test_pairs_of_two_folders_are_not_taken_for_one(suite, tmp_path):
    other = tmp_path / "other"
    _write(other, "lit/0001-vanish-impossible.npy", 40)
    _write(other, "lit/0001-vanish-possible.npy", 50)
    (other / "truth.jsonl").write_bytes((suite / "truth.jsonl").read_bytes())
    found = gather([suite, other], Observer(_observe, "v1"), cache=tmp_path / "cache")
    assert sorted({table.truth.group for table in found.tables}) == ["0:lit/0001", "1:lit/0001"]


def test_everything_left_aside_is_named(suite, tmp_path):
    _write(suite, "lit/9999-new.npy", 60)
    _write(suite, "lit/0002-white.npy", 255)
    _write(suite, "lit/0003-twice.npy", 10)
    more = [{**LINE, "clip": f"lit/{name}.npy"} for name in ("0002-white", "0003-twice", "0004-gone")]
    with (suite / "truth.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in more)
    found = gather([suite], Observer(_observe, "v1"), cache=tmp_path / "cache")
    assert len(found.tables) == 2
    reasons = "\n".join(found.failed)
    assert "9999-new.npy: truth.jsonl has no line for it" in reasons
    assert "0002-white.npy: all white" in reasons
    assert "0003-twice.npy: the same clip as suite/lit/0001-vanish-impossible.npy" in reasons
    assert "0004-gone.npy: named in truth.jsonl, but not there" in reasons
    assert len(found.failed) == 4


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[1, 2]",
        "7",
        "{}",
        json.dumps({**LINE, "possible": "yes"}),
        json.dumps({**LINE, "clip": 7}),
        json.dumps({**LINE, "start": None}),
        json.dumps({**LINE, "kind": None}),
        json.dumps({**LINE, "boxes": [{"frame": 3, "box": [1, 2]}]}),
        json.dumps({**LINE, "boxes": [[3, 1, 2, 3, 4]]}),
        json.dumps({**LINE, "fps": -3}),
        "[" * 5000,
    ],
)
def test_a_bad_line_of_truth_is_named(tmp_path, line):
    path = tmp_path / "truth.jsonl"
    path.write_text(json.dumps(LINE) + "\n" + line + "\n")
    with pytest.raises(InputError) as error:
        read_truth(path)
    assert str(error.value).startswith(f"{path} line 2: not a line of truth")
    assert "\n" not in str(error.value)


def test_an_empty_folder_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        gather([tmp_path / "empty"], Observer(_observe, "v1"), cache=tmp_path / "cache")


def test_baselines_see_a_jump_and_are_remembered(tmp_path, moving_square):
    from vidbench.clips import discover

    calm = moving_square(20, 64, 96)
    jump = calm.copy()
    jump[10:] = np.roll(calm[10:], 40, axis=2)
    encode_h264(tmp_path / "calm.mp4", calm, 8.0)
    encode_h264(tmp_path / "jump.mp4", jump, 8.0)
    clips = {clip.id: clip for clip in discover(tmp_path).clips}
    found = all_baselines(clips, tmp_path / "cache")
    assert set(found["calm.mp4"]) == set(BASELINES)
    assert found["jump.mp4"]["frame_difference"] > 3 * found["calm.mp4"]["frame_difference"]
    assert found["jump.mp4"]["flow_jump"] > 3 * found["calm.mp4"]["flow_jump"]
    assert found["jump.mp4"]["file_size"] == (tmp_path / "jump.mp4").stat().st_size
    kept = next((tmp_path / "cache").rglob("*.baselines*"))
    assert baselines(clips["calm.mp4"], tmp_path / "cache") == found["calm.mp4"]
    kept.write_text("{")
    assert all_baselines(clips, tmp_path / "cache") == found


def test_the_hash_covers_all_that_a_module_is_made_of_and_no_more(tmp_path, monkeypatch):
    package = tmp_path / "madeup"
    package.mkdir()
    sources = {
        "__init__": "",
        "events": "from madeup.tracks import a\nimport json",
        "tracks": "from madeup.deep import b\nfrom madeup.events import c",
        "deep": "b = 1",
        "model": "from madeup.events import c",
    }
    for name, text in sources.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    first = source_hash("madeup.events")
    (package / "model.py").write_text("other = 1")
    assert source_hash("madeup.events") == first
    (package / "deep.py").write_text("b = 2")
    assert source_hash("madeup.events") != first


def test_frame_difference_spike_by_hand():
    assert spike(np.array([1.0, 1.0, 7.0])) == 3.5
    assert math.isnan(spike(np.array([math.nan])))
