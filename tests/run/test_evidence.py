"""Pictures of findings: they show the frames and boxes that the finding names, and never cost a score."""

from __future__ import annotations

import dataclasses
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.clips import discover, find_clip
from vidbench.errors import ClipError
from vidbench.metric import FindingBox
from vidbench.results import ClipRow, FindingRow, from_json, load_run
from vidbench.run import evidence, shard
from vidbench.run.draw import MARKS, RIM, draw_box, draw_path, fitted, path_of
from vidbench.run.engine import Request, execute
from vidbench.run.evidence import chosen, draw_evidence, moments
from vidbench.run.plan import select
from vidbench.run.store import RunStore
from vidbench.video import ClipFacts, ClipReader, Frames, Limits

PLUGIN = """
from dataclasses import dataclass
from vidbench.extractor import Extractor, Observation, Session
from vidbench.metric import ClipMetric, ExtractorSpec, Finding, FindingBox, Needs, Score

@dataclass(frozen=True)
class Seen(Observation):
    frames: int

class Counted(Extractor):
    name = "counted"; version = "1"; summary = "s"; observation_type = Seen
    def open(self, clip):
        class S(Session):
            n = 0
            def push(self, frames): self.n += len(frames)
            def close(self): return Seen(self.n)
        return S()

class Boxed(ClipMetric):
    name = "boxed"; version = "1"; summary = "s"; reference = "r"; protocol = "p"; higher_is_better = False
    unit = "1"; value_range = (0.0, 1e9); aggregation = "mean"; needs = Needs((ExtractorSpec("counted"),))
    def score(self, observations, clip):
        found = FOUND if clip.id.startswith("a/") else ()
        return Score(float(len(found)), findings=tuple(found))
"""
ENTRIES = "[vidbench.metrics]\nboxed = boxed_plug:Boxed\n[vidbench.extractors]\ncounted = boxed_plug:Counted\n"
TWO = """[
    Finding('teleport', 3, 5, 'it jumps', confidence=0.9, boxes=[FindingBox(n, (4 + n, 9, 20, 21)) for n in (3, 5)]),
    Finding('freeze', 0, 99, 'it stands'),
]"""


class Quiet:
    def __init__(self) -> None:
        self.done: list[str] = []

    def selected(self, folder, selection) -> None: ...

    def begins(self, total, finished, jobs) -> None: ...

    def clip_done(self, row) -> None:
        self.done.append(row.clip)

    def finalising(self, what) -> None: ...


def run(clips: Path, out: Path, **options):
    listener = Quiet()
    options = {"metrics": ("boxed",), "jobs": 1, **options}
    result = execute(Request(clips=clips, out=out, **options), listener)
    return result, listener


@pytest.fixture
def plugin(install_plugin) -> Callable[[str], None]:
    return lambda found: install_plugin("boxed-plug", PLUGIN.replace("FOUND", found), ENTRIES)


def finding(start: int, end: int, *boxes: tuple[int, tuple[float, ...]], **given: object) -> FindingRow:
    written = tuple({"frame": frame, "box": list(box)} for frame, box in boxes)
    return FindingRow("m", "c", "metric", "teleport", start, end, None, None, "it jumps", boxes=written, **given)  # type: ignore[arg-type]


def facts_of(pixels: NDArray[np.uint8], fps: float | None = None) -> ClipFacts:
    times = np.arange(len(pixels)) / (fps or 1.0)
    return ClipFacts(len(pixels), fps, pixels.shape[2], pixels.shape[1], times)


def drawn(folder: Path, pixels: NDArray[np.uint8], *findings: FindingRow) -> evidence.Evidence:
    np.save(folder / "clip.npy", pixels)
    return draw_evidence(find_clip(folder / "clip.npy"), findings, facts_of(pixels), Limits())


def picture(data: bytes) -> NDArray[np.uint8]:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(decoded[..., ::-1], np.uint8)


def numbered(frames: int = 24, height: int = 64, width: int = 80) -> NDArray[np.uint8]:
    """Frame t is grey of level 10 t."""
    levels = np.arange(frames, dtype=np.uint8)[:, None, None, None] * 10
    return np.broadcast_to(levels, (frames, height, width, 3)).copy()


@pytest.mark.parametrize(
    ("start", "end", "frames", "expected"),
    [
        (10, 18, 40, [("before", 8), ("start", 10), ("middle", 14), ("end", 18), ("after", 20)]),
        (5, 5, 40, [("before", 4), ("here", 5), ("after", 6)]),
        (5, 6, 40, [("before", 4), ("start", 5), ("end", 6), ("after", 7)]),
        (0, 39, 40, [("start", 0), ("middle", 19), ("end", 39)]),
        (0, 0, 1, [("here", 0)]),
        (-7, 10**30, 8, [("start", 0), ("middle", 3), ("end", 7)]),
        (6, 4, 8, [("before", 3), ("start", 4), ("middle", 5), ("end", 6), ("after", 7)]),
    ],
)
def test_the_frames_before_in_and_after_are_shown_each_once(start, end, frames, expected):
    assert moments(start, end, frames) == expected


def test_every_span_of_a_short_clip_is_shown_in_order_and_within_the_clip():
    for frames in range(1, 9):
        for start in range(-2, frames + 2):
            for end in range(start, frames + 3):
                shown = [frame for _, frame in moments(start, end, frames)]
                assert shown == sorted(set(shown))
                assert shown[0] >= 0 and shown[-1] < frames
                assert {min(max(start, 0), frames - 1), min(max(end, 0), frames - 1)} <= set(shown)


def test_the_most_confident_findings_come_first_then_the_earliest():
    rows = [
        finding(9, 9),
        finding(5, 5, confidence=0.2),
        finding(1, 1),
        finding(8, 8, confidence=0.0),
        finding(3, 3, confidence=0.9),
    ]
    order = [[place for place in chosen(rows, most) if place not in chosen(rows, most - 1)] for most in range(1, 6)]
    assert order == [[4], [1], [3], [2], [0]]


def test_each_frame_of_the_picture_is_the_clips_frame_of_that_number(tmp_path: Path):
    seen = drawn(tmp_path, numbered(), finding(10, 18))
    assert seen.frames[0] == (8, 10, 14, 18, 20)
    strip = picture(seen.pictures[0])
    column = strip.shape[1] / 5
    # 64 x 80 is enlarged twofold; captions are narrower, so every frame stands in the middle of its column.
    levels = [strip[20:108, round((i + 0.5) * column) - 30 : round((i + 0.5) * column) + 30].mean() for i in range(5)]
    assert levels == pytest.approx([80, 100, 140, 180, 200], abs=1.5)


@pytest.mark.parametrize("size", [(64, 80), (50, 120), (360, 640), (640, 360), (1, 500), (8, 8)])
def test_a_picture_holds_whole_frames_and_is_not_too_large(tmp_path: Path, size):
    height, width = size
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, height, width, 3), dtype=np.uint8)
    strip = picture(drawn(tmp_path, pixels, finding(3, 5)).pictures[0])
    assert strip.shape[0] <= 180 + 42
    assert strip.shape[1] <= 5 * (288 + 6) + 6
    still = fitted(pixels[4], height=180, width=288)
    assert still.shape[0] <= 180 and still.shape[1] <= 288
    assert still.shape[0] / still.shape[1] == pytest.approx(height / width, rel=0.02) or min(still.shape[:2]) < 50


def test_boxes_lie_where_the_finding_says(tmp_path: Path):
    pixels = np.full((9, 64, 80, 3), 128, np.uint8)
    box = (20.0, 12.0, 50.0, 40.0)
    row = finding(3, 5, (3, box), (5, (0.0, 0.0, 8.0, 8.0)))
    stills = {n: fitted(pixels[n], height=180, width=288) for n in (2, 3, 4, 5, 6)}
    named = moments(3, 5, 9)
    strip = evidence.picture_of(row, named, stills, facts_of(pixels))
    column = (strip.shape[1] - 6) // 5
    at_start = strip[:128, 6 + column : 6 + 2 * column - 6]
    rows, columns = np.nonzero((at_start == MARKS[0]).all(axis=2))
    # Enlarged twofold; the mark's inner line covers the outermost pixels of the box, the other lies around it.
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (2 * 20 - 1, 2 * 12 - 1, 2 * 50, 2 * 40)
    inside = at_start[2 * 12 + 3 : 2 * 40 - 3, 2 * 20 + 3 : 2 * 50 - 3]
    assert (inside == 128).all(), "what the box is about stays visible"
    before, middle = strip[:128, 6 : column - 1], strip[:128, 6 + 2 * column : 3 * column]
    assert not (before == MARKS[0]).all(axis=2).any()
    assert not (middle == MARKS[0]).all(axis=2).any(), "no box is given for frame 4"
    assert (middle > 200).any() and (before == 128).all(), "the path is drawn within the span only"


def luma(colour) -> float:
    return float(np.dot(colour, (0.299, 0.587, 0.114)))


@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255), (128, 128, 128), *MARKS], ids=str)
@pytest.mark.parametrize("mark", MARKS, ids=str)
def test_a_box_is_seen_on_any_ground_without_telling_colours(ground, mark):
    still = np.full((60, 60, 3), ground, np.uint8)
    draw_box(still, (10, 10, 50, 50), mark)
    drawn_colours = {tuple(c) for c in still.reshape(-1, 3).tolist()} - {ground}
    assert drawn_colours <= {mark, RIM}
    # 3:1 or better between the mark and its rim or the ground, by brightness alone (WCAG's formula needs linear light).
    assert max(abs(luma(colour) - luma(ground)) for colour in drawn_colours) > 90


def test_boxes_and_paths_far_outside_are_drawn_at_the_edge():
    still = np.full((40, 60, 3), 128, np.uint8)
    draw_box(still, (-1e9, -5, 1e12, 1e300), MARKS[0])
    assert (still[20, 0] == MARKS[0]).all() and (still[20, -1] == MARKS[0]).all()
    draw_path(still, [(-1e18, 20.0), (1e18, 20.0)], (255, 255, 255))
    assert (still[20, 10:50] > 220).all()


def test_a_path_leads_through_the_centres_in_time_and_none_where_it_is_not_known_whose():
    boxes = [(5, (10.0, 0.0, 20.0, 10.0)), (3, (0.0, 0.0, 4.0, 4.0))]
    assert path_of(boxes) == [(2.0, 2.0), (15.0, 5.0)]
    assert path_of([*boxes, (5, (1.0, 1.0, 2.0, 2.0))]) == []


def test_equal_input_gives_equal_bytes(tmp_path: Path, moving_square):
    rows = [finding(3, 8, *((n, (4.0 + n, 30.0, 20.0 + n, 44.0)) for n in range(3, 9))), finding(0, 15)]
    one, two = (drawn(tmp_path, moving_square(), *rows) for _ in range(2))
    assert dict(one.pictures) == dict(two.pictures)
    assert len(one.pictures) == 2


def test_the_second_decode_ends_with_the_last_frame_that_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read: list[int] = []

    class Counting(ClipReader):
        def __iter__(self):
            for frames in super().__iter__():
                read.append(frames.start + len(frames))
                yield frames

    monkeypatch.setattr(evidence, "ClipReader", Counting)
    drawn(tmp_path, np.zeros((200, 16, 16, 3), np.uint8), finding(40, 44))
    assert read == [32, 64]


def test_memory_does_not_grow_with_the_clip(tmp_path: Path):
    peaks = []
    for length in (64, 256):
        pixels = np.zeros((length, 160, 240, 3), np.uint8)
        rows = [finding(n, length - 1) for n in range(8)]
        np.save(tmp_path / "clip.npy", pixels)
        facts = facts_of(pixels)
        del pixels
        tracemalloc.start()
        seen = draw_evidence(find_clip(tmp_path / "clip.npy"), rows, facts, Limits())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(seen.pictures) == 8
    # 256 frames are 29 MB. Kept are two chunks of 32 frames (3.7 MB each) and the frames shown, 0.1 MB each.
    assert peaks[1] < peaks[0] + 1e6 < 16e6


def test_a_box_that_cannot_be_drawn_costs_its_own_picture(tmp_path: Path):
    seen = drawn(tmp_path, numbered(), finding(3, 4, (3, (1.0, 2.0, 3.0))), finding(5, 6))
    assert set(seen.pictures) == {1}
    assert "ValueError" in seen.missing[0]
    assert seen.troubles[0].startswith("no picture of the teleport at frame 3: drawing raised ValueError")


def test_a_decode_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evidence, "SECONDS", -1.0)
    seen = drawn(tmp_path, np.zeros((200, 16, 16, 3), np.uint8), finding(10, 12), finding(100, 104))
    assert set(seen.pictures) == {0}
    assert seen.missing[1] == "frame 99 could not be decoded again within -1 s"


def test_a_box_has_four_numbers():
    with pytest.raises(ValueError, match="not enough values"):
        FindingBox(3, (1.0, 2.0, 3.0))  # type: ignore[arg-type]
    box = FindingBox(np.int64(3), tuple(np.arange(4, dtype=np.float32)))  # type: ignore[arg-type]
    assert json.dumps(dataclasses.asdict(box)) == '{"frame": 3, "box": [0.0, 1.0, 2.0, 3.0]}'


def test_a_run_keeps_a_picture_of_every_finding(small_folder: Path, tmp_path: Path, plugin):
    plugin(TWO)
    result, _ = run(small_folder, tmp_path / "out")
    out = tmp_path / "out"
    assert len(result.run.findings) == 6
    assert {f.clip for f in result.run.findings} == {"a/0.mp4", "a/2.mp4", "a/4.mp4"}
    assert [f.evidence_frames for f in result.run.findings[:2]] == [(0, 4, 9), (2, 3, 4, 5, 6)]
    files = {f"evidence/{path.name}" for path in (out / "evidence").iterdir()}
    assert files == {f.evidence for f in result.run.findings}
    media = {row.clip: row.media for row in result.run.clips}
    for row in result.run.findings:
        assert row.evidence is not None and row.evidence.startswith(f"evidence/{media[row.clip]}-")
        assert row.no_evidence is None
        shape = picture((out / row.evidence).read_bytes()).shape
        assert shape[0] == 3 * 48 + 42 and shape[1] > len(row.evidence_frames) * 3 * 64
    assert {row.clip: row.findings for row in result.run.clips} == {
        "a/0.mp4": 2,
        "a/2.mp4": 2,
        "a/4.mp4": 2,
        "b/1.mp4": 0,
        "b/3.mp4": 0,
    }
    assert all(("evidence" in row.seconds) == (row.model == "a") for row in result.run.clips)
    times = json.loads((out / "findings.jsonl").read_text().splitlines()[0])
    assert times["evidence_frames"] == [2, 3, 4, 5, 6]


def test_runs_repeat_byte_for_byte_over_processes_and_from_the_cache(small_folder: Path, tmp_path: Path, plugin):
    plugin(TWO)
    run(small_folder, tmp_path / "one", cache=False)
    run(small_folder, tmp_path / "two", jobs=2)
    run(small_folder, tmp_path / "cached")
    one, two, cached = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "evidence").iterdir()}
        for name in ("one", "two", "cached")
    )
    assert one == two == cached
    assert len(one) == 6


def test_without_media_nothing_is_drawn(small_folder: Path, tmp_path: Path, plugin, vidbench):
    plugin(TWO)
    done = vidbench("run", small_folder, "--out", tmp_path / "out", "--metrics", "boxed", "--no-media", "-q", "-j", 1)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out" / "evidence").exists()
    rows = load_run(tmp_path / "out").findings
    assert len(rows) == 6
    assert all(row.evidence is None and row.no_evidence is None for row in rows)


def test_twelve_findings_get_pictures_and_the_others_say_why(small_folder: Path, tmp_path: Path, plugin):
    plugin("[Finding('flicker', n % 10, n % 10, 'x', confidence=(50 - n) / 100) for n in range(15)]")
    result, _ = run(small_folder, tmp_path / "out")
    rows = sorted((f for f in result.run.findings if f.clip == "a/0.mp4"), key=lambda f: -f.confidence)
    assert [f.evidence is not None for f in rows] == [True] * 12 + [False] * 3
    assert [f.no_evidence for f in rows[:12]] == [None] * 12
    assert all("12 findings of a clip get a picture" in f.no_evidence for f in rows[12:])
    assert len(list((tmp_path / "out" / "evidence").iterdir())) == 36
    assert not any(row.warnings for row in result.run.clips), "a limit is nothing to warn of"


def test_what_is_lost_is_made_again_and_what_is_left_over_removed(small_folder: Path, tmp_path: Path, plugin):
    plugin(TWO)
    result, _ = run(small_folder, tmp_path / "out")
    folder = tmp_path / "out" / "evidence"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    lost = next(f for f in result.run.findings if f.clip == "a/2.mp4")
    (tmp_path / "out" / lost.evidence).unlink()
    (folder / "0123456789abcdef0123-7.jpg").write_bytes(b"of a clip that was changed since")
    _, listener = run(small_folder, tmp_path / "out")
    assert listener.done == ["a/2.mp4"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    _, listener = run(small_folder, tmp_path / "out")
    assert listener.done == []


def test_a_clip_whose_findings_were_lost_is_not_finished(small_folder: Path, tmp_path: Path, plugin):
    plugin(TWO)
    run(small_folder, tmp_path / "out")
    path = tmp_path / "out" / "findings.jsonl"
    kept = [line for line in path.read_text().splitlines(keepends=True) if json.loads(line)["clip"] != "a/4.mp4"]
    path.write_text("".join(kept))
    result, listener = run(small_folder, tmp_path / "out")
    assert listener.done == ["a/4.mp4"]
    assert len(result.run.findings) == 6


def test_pictures_are_written_before_the_clips_line(small_folder: Path, tmp_path: Path, plugin, monkeypatch):
    plugin(TWO)
    append = RunStore._append
    there: list[int] = []

    def recorded(self, name, rows):
        if name in ("findings.jsonl", "clips.jsonl"):
            there.append(sum((self.folder / row["evidence"]).exists() for row in rows if row.get("evidence")))
        append(self, name, rows)

    monkeypatch.setattr(RunStore, "_append", recorded)
    run(small_folder, tmp_path / "out")
    assert there[:2] == [2, 0], "both pictures stand when the findings' lines are written, and those before the clip's"


def test_a_run_of_an_older_version_is_read_and_goes_on(small_folder: Path, tmp_path: Path, plugin):
    plugin(TWO)
    run(small_folder, tmp_path / "out", media=False)
    new = {"evidence", "evidence_frames", "no_evidence"}
    for name, keys in (("findings.jsonl", new), ("clips.jsonl", {"findings"})):
        rows = [json.loads(line) for line in (tmp_path / "out" / name).read_text().splitlines()]
        assert all(keys <= row.keys() for row in rows)
        old = [{key: value for key, value in row.items() if key not in keys} for row in rows]
        (tmp_path / "out" / name).write_text("".join(json.dumps(row) + "\n" for row in old))
    loaded = load_run(tmp_path / "out")
    assert {f.evidence for f in loaded.findings} == {None}
    _, listener = run(small_folder, tmp_path / "out", media=False)
    assert listener.done == []
    row = {"clip": "c", "model": "m", "status": "scored", "a_key_of_tomorrow": 1}
    assert from_json(ClipRow, row).findings is None


def test_a_failure_to_draw_is_a_warning_and_costs_no_score(
    small_folder: Path, tmp_path: Path, plugin, monkeypatch: pytest.MonkeyPatch
):
    plugin(TWO)
    folder = discover(small_folder)
    evaluator = shard.Evaluator(select(folder, has_reference=False, names=("boxed",)).plan)

    def broken(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(shard, "draw_evidence", broken)
    outcome = evaluator(folder.clips[0])
    assert outcome.row.status == "scored"
    assert [score.value for score in outcome.scores] == [2.0]
    assert outcome.row.warnings == ("its findings have no pictures: drawing raised MemoryError: no room",)
    assert outcome.evidence == {}
    assert {f.no_evidence for f in outcome.findings} == {"drawing raised MemoryError: no room"}
    monkeypatch.undo()
    clip = folder.clips[0]
    taken = evaluator.evaluate(clip)[1]
    assert taken is not None and isinstance(taken.facts, ClipFacts)
    clip.path.unlink()
    with pytest.raises(ClipError, match="the file is missing"):
        draw_evidence(clip, outcome.findings, taken.facts, Limits())


def test_the_strip_of_a_real_clip_shows_its_frames(real_clips: Path):
    clip = find_clip(real_clips / "mm_demo_3.mp4")
    with ClipReader(clip) as reader:
        frames: list[Frames] = list(reader)
        facts = reader.facts
    pixels = np.concatenate([chunk.pixels for chunk in frames])
    seen = draw_evidence(clip, [finding(20, 57)], facts, Limits())
    strip = picture(seen.pictures[0]).astype(np.float64)
    shown = seen.frames[0]
    assert shown == (11, 20, 38, 57, 66)
    column = (strip.shape[1] - 6) // len(shown)
    for place, frame in enumerate(shown):
        truth = cv2.resize(pixels[frame], (239, 180), interpolation=cv2.INTER_AREA).astype(np.float64)
        left = 6 + place * column + (column - 6 - 239) // 2
        error = np.abs(strip[:180, left : left + 239] - truth).mean()
        others = [np.abs(strip[:180, left : left + 239] - cv2.resize(pixels[o], (239, 180))).mean() for o in (0, 69)]
        assert error < 5 < min(others), (frame, error, others)
