"""`vidbench inspect`: what it writes shows the clip, its findings and its numbers, whatever the plug-ins do."""

from __future__ import annotations

import os
import re
import tracemalloc
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from markdown_it import MarkdownIt
from numpy.typing import NDArray

from vidbench.clips import find_clip
from vidbench.errors import ClipError, InputError, PluginError
from vidbench.extractor import Observation, Track
from vidbench.results import FindingRow
from vidbench.run import curves
from vidbench.run.annotate import annotated
from vidbench.run.draw import MARKS
from vidbench.run.inspect import default_out, inspect_clip
from vidbench.testing import observe
from vidbench.video import ClipFacts, Limits, encode_h264
from vidbench_metrics.extractors.flow_statistics import FlowStatistics, FlowStatisticsObservation
from vidbench_metrics.extractors.frame_statistics import FrameStatistics, FrameStatisticsObservation
from vidbench_metrics.extractors.shot_boundaries import ShotBoundaries, ShotBoundariesObservation

SVG = "{http://www.w3.org/2000/svg}"
PLUGIN = """
from dataclasses import dataclass
import numpy as np
from vidbench.extractor import Extractor, Observation, Session, Track
from vidbench.metric import ClipMetric, ExtractorSpec, Finding, FindingBox, Needs, Score

@dataclass(frozen=True)
class Path(Observation):
    boxes: np.ndarray
    def curves(self):
        return CURVES
    def tracks(self):
        return TRACKS

class Follower(Extractor):
    name = "red_square"; version = "1"; summary = "box of what is red"; observation_type = Path
    def open(self, clip):
        class S(Session):
            def __init__(self): self.boxes = []
            def push(self, frames):
                for pixels in frames.pixels.astype(int):
                    rows, columns = np.nonzero((pixels[..., 0] > 190) & (pixels[..., 1] < 110))
                    self.boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
            def close(self): return Path(np.array(self.boxes, float))
        return S()

class Jump(ClipMetric):
    name = "jump"; version = "1"; summary = "s"; reference = "r"; protocol = "p"; higher_is_better = False
    unit = "jumps"; value_range = (0.0, 1e9); aggregation = "mean"; needs = Needs((ExtractorSpec("red_square"),))
    def score(self, observations, clip):
        boxes = observations["red_square"].boxes
        return Score(1.0, findings=(
            Finding("KIND", 4, 7, "MESSAGE", confidence=0.875, limitation="a cut looks the same",
                    boxes=tuple(FindingBox(n, boxes[n]) for n in range(4, 8))),
            Finding("whole", 9, 11, "the whole picture"),
        ))
"""
ENTRIES = "[vidbench.metrics]\njump = jump_plug:Jump\n[vidbench.extractors]\nred_square = jump_plug:Follower\n"
TRACKS = "(Track(0, np.arange(len(self.boxes)), self.boxes),)"
HOSTILE = "<script>alert(1)</script> & ]]> [x](http://y) `z` | \\x00"


@pytest.fixture
def plugin(install_plugin) -> Callable[..., None]:
    def install(tracks: str = TRACKS, curves: str = "{}", kind: str = "teleport", message: str = "it jumps") -> None:
        source = PLUGIN.replace("TRACKS", tracks).replace("CURVES", curves)
        install_plugin("jump-plug", source.replace("KIND", kind).replace("MESSAGE", message), ENTRIES)

    return install


@pytest.fixture
def clip(tmp_path: Path, moving_square) -> Path:
    """A red square of 12 x 12 pixels that moves 2 pixels a frame along row 32; 16 frames of 64 x 80."""
    encode_h264(tmp_path / "clip.mp4", moving_square(), 8.0, crf=10)
    return tmp_path / "clip.mp4"


def frames_of(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def near(pixels: NDArray[np.uint8], colour: tuple[int, int, int], slack: int) -> NDArray[np.bool_]:
    return np.asarray((np.abs(pixels.astype(int) - colour) <= slack).all(axis=-1))


def svg_of(path: Path) -> ET.Element:
    return ET.fromstring(path.read_bytes())


def test_it_writes_three_files_and_prints_scores_findings_and_paths(vidbench, clip: Path, plugin):
    plugin()
    done = vidbench("inspect", clip.name, "--metrics", "jump,exposure", cwd=clip.parent)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[-3:] == ["inspect-clip/annotated.mp4", "inspect-clip/findings.md", "inspect-clip/curves.svg"]
    assert all((clip.parent / line).stat().st_size > 500 for line in lines[-3:])
    assert re.search(r"│jump ↓ +│ +1 │ jumps", done.stdout)
    assert re.search(r"│exposure +│ +[\d.]+ │ share of pixels", done.stdout)
    assert "  teleport, frames 4 to 7, 0.50 s to 0.88 s, confidence 88%: it jumps" in lines
    assert "  whole, frames 9 to 11, 1.12 s to 1.38 s: the whole picture" in lines
    again = vidbench("inspect", clip.name, "--metrics", "jump,exposure", cwd=clip.parent)
    assert again.returncode == 0, "what it wrote before is replaced"


def test_the_annotated_clip_shows_every_frame_with_what_is_active_there(clip: Path, tmp_path: Path, plugin):
    plugin(tracks="()")
    inspection = inspect_clip(clip, tmp_path / "out", metrics=("jump",))
    shown, own = frames_of(tmp_path / "out" / "annotated.mp4"), frames_of(clip)
    assert len(shown) == len(own) == 16
    scale = 8  # 64 x 80 fits eight times into 540 x 960
    assert shown.shape[2] == 640
    boxes = {entry["frame"]: entry["box"] for entry in inspection.findings[0].boxes}
    marked = [near(frame[: 64 * scale], MARKS[0], 45) for frame in shown]
    for number, (frame, truth) in enumerate(zip(shown, own, strict=True)):
        still = cv2.resize(frame[: 64 * scale], (80, 64), interpolation=cv2.INTER_AREA).astype(int)
        away = np.ones((64, 80), bool)
        away[18:50] = False  # boxes, labels, the whole frame's border
        away[:6] = away[-4:] = False
        away[:, :12] = away[:, -3:] = False
        assert np.abs(still - truth)[away].mean() < 4, number
        if number in boxes:
            x0, y0, x1, y1 = (round(edge * scale) for edge in boxes[number])
            assert marked[number][y0 - 2 : y0, x0 + 6 : x1 - 6].mean() > 0.9, "its upper edge"
            assert marked[number][y0 + 6 : y1 - 6, x1 : x1 + 2].mean() > 0.9, "its right edge"
        else:
            assert marked[number].mean() < 0.002
    whole = near(shown[10][: 64 * scale], MARKS[1], 45)
    assert whole[1, 100:-20].mean() > 0.9 and whole[60:-20, -3].mean() > 0.9, "a finding without boxes is a border"
    assert near(shown[12][: 64 * scale], MARKS[1], 45).mean() < 0.002


def test_a_cursor_moves_along_the_spans_below(clip: Path, tmp_path: Path, plugin):
    plugin()
    inspect_clip(clip, tmp_path / "out", metrics=("jump",))
    below = frames_of(tmp_path / "out" / "annotated.mp4")[:, 512:]
    lane = below[0, 4 + 10]
    slots = 140 + (640 - 150) * (np.arange(16) + 0.2) / 16
    inside = [bool(near(lane[round(x)], MARKS[0], 45)) for x in slots]
    assert inside == [4 <= frame <= 7 for frame in range(16)]
    places = [float(np.flatnonzero((row[140:] > 200).all(axis=-1)).mean()) + 140 for row in below[:, 6]]
    assert places == pytest.approx(140 + (640 - 150) * (np.arange(16) + 0.5) / 16, abs=1.5)


def test_tracks_are_drawn_with_their_trail(clip: Path, tmp_path: Path, plugin):
    plugin()
    inspect_clip(clip, tmp_path / "out", metrics=("jump",))
    frame = frames_of(tmp_path / "out" / "annotated.mp4")[14]
    yellow = near(frame[:512], MARKS[3], 70)
    box_left, middle = (4 + 2 * 14) * 8, (32 + 6) * 8
    assert yellow[middle - 3 : middle + 4, 10 * 8 + 4 : box_left - 8].any(axis=0).mean() > 0.9, "from where it began"
    assert yellow[32 * 8 + 20 : 44 * 8 - 20, box_left - 3 : box_left + 4].any(axis=1).mean() > 0.9, "its left edge"
    assert not yellow[: 32 * 8 - 20].any()


def test_curves_show_the_numbers_of_each_frame(clip: Path, tmp_path: Path):
    inspect_clip(clip, tmp_path / "out", metrics=("exposure", "shot_cuts"))
    root = svg_of(tmp_path / "out" / "curves.svg")
    titles = [element.text for element in root.iter(f"{SVG}text")]
    assert "mean luma (grey levels)" in titles
    assert "content difference to the frame before (HSV levels)" in titles
    lines = [element for element in root.iter(f"{SVG}polyline") if element.get("class") == "line"]
    points = [np.array([p.split(",") for p in line.get("points", "").split()], float) for line in lines]
    seen = observe(FrameStatistics, frames_of(clip))
    assert isinstance(seen, FrameStatisticsObservation)
    difference, mean = points[0], points[2]
    assert len(mean) == 16
    assert len(difference) == 15, "there is no difference to a frame before the first"
    assert np.diff(mean[:, 0]) == pytest.approx(np.diff(mean[:, 0]).mean(), abs=0.11)
    assert difference[0, 0] == mean[1, 0]
    for curve, values in ((mean, seen.luma_mean), (difference, seen.luma_difference)):
        slope, offset = np.polyfit(values, curve[:, 1], 1)
        assert slope < 0, "up is more"
        assert curve[:, 1] == pytest.approx(slope * values + offset, abs=0.06), "coordinates have one decimal"


def test_objects_have_x_y_and_speed_over_time(clip: Path, tmp_path: Path, plugin):
    plugin("(Track(7, np.arange(10), self.boxes[:10]), Track(7, np.arange(12, 16), self.boxes[12:]))")
    inspect_clip(clip, tmp_path / "out", metrics=("jump",))
    root = svg_of(tmp_path / "out" / "curves.svg")
    titles = [str(element.text) for element in root.iter(f"{SVG}text")]
    for title in ("x of each object's centre (pixels)", "speed of each object (pixels a second)"):
        assert title in titles
    assert titles.count("#7") == 3
    lines = [e.get("points", "").split() for e in root.iter(f"{SVG}polyline")]
    assert [len(line) for line in lines] == [10, 4, 10, 4, 9, 3], "a gap is a gap, and there is no speed across it"
    x = np.array([point.split(",") for point in lines[0]], float)
    assert np.polyfit(x[:, 0], x[:, 1], 1)[0] < 0
    assert np.corrcoef(x.T)[0, 1] == pytest.approx(-1, abs=1e-3), "it moves evenly"


def test_speed_is_that_of_the_centre_in_pixels_a_second():
    times = np.array([0.0, 0.1, 0.2, 0.4])
    facts = ClipFacts(4, 7.5, 100, 100, times)
    boxes = np.array([[0, 0, 10, 10], [3, 4, 13, 14], [3, 4, 15, 14], [3, 4, 15, 18]], float)
    x, y, speed = curves.track_panels((Track(0, np.arange(4), boxes),), facts, "motion")
    assert x.lines["#0"].tolist() == [5, 8, 9, 9]
    assert y.lines["#0"].tolist() == [5, 9, 9, 11]
    assert y.downward and not x.downward
    assert np.isnan(speed.lines["#0"][0])
    assert speed.lines["#0"][1:] == pytest.approx([50, 10, 10])
    unknown = ClipFacts(4, None, 100, 100, np.arange(4.0))
    speed = curves.track_panels((Track(0, np.arange(4), boxes),), unknown, "motion")[2]
    assert speed.title == "speed of each object (pixels a frame)"
    assert speed.lines["#0"][1:] == pytest.approx([5, 1, 2])


def test_objects_that_were_seen_longest_are_plotted_and_the_others_counted():
    facts = ClipFacts(40, 8.0, 100, 100, np.arange(40) / 8)
    tracks = [Track(n, np.arange(n + 1), np.zeros((n + 1, 4))) for n in range(20)]
    panel = curves.track_panels(tracks, facts, "motion")[0]
    assert list(panel.lines) == [f"#{n}" for n in range(8, 20)]
    assert panel.source == "motion, 12 of 20 objects: those seen longest"
    root = ET.fromstring(curves.render("t", [panel], (), facts))
    styles = {(e.get("stroke"), e.get("stroke-dasharray")) for e in root.iter(f"{SVG}polyline")}
    assert len(styles) == 12, "no two lines look the same"
    assert len({dash for _, dash in styles}) == 6


def test_long_curves_keep_their_peaks_and_few_points():
    values = np.zeros(100_000)
    values[51_234] = 5.0
    values[777] = np.nan
    facts = ClipFacts(100_000, 25.0, 8, 8, np.arange(100_000) / 25)
    text = curves.render("t", [curves.Panel("v (1)", "e", {"": values})], (), facts)
    assert len(text) < 60_000
    heights = [
        float(p.split(",")[1]) for e in ET.fromstring(text).iter(f"{SVG}polyline") for p in e.get("points", "").split()
    ]
    assert min(heights) == pytest.approx(max(heights) - 84 / 1.06, abs=0.2)


@pytest.mark.parametrize(
    "values", [np.full(5, np.nan), np.zeros(5), np.full(5, -3.0), np.full(5, 1e300), np.arange(5) * 1e-12]
)
def test_a_curve_without_a_range_still_has_an_axis(values):
    facts = ClipFacts(5, None, 8, 8, np.arange(5.0))
    root = ET.fromstring(curves.render("t", [curves.Panel("v (1)", "e", {"": values})], (), facts))
    drawn = " ".join(str(e.get(key)) for e in root.iter() for key in ("points", "x", "y", "y1", "height"))
    assert "nan" not in drawn and "inf" not in drawn


def test_names_and_messages_from_outside_stay_text(tmp_path: Path, moving_square, plugin, vidbench):
    plugin(kind="<b>kind & co\\u202e", message=HOSTILE)
    path = tmp_path / 'a<img src=x onerror=alert(1)> & "b" [c](http:d) \ue000.mp4'
    encode_h264(path, moving_square(), 8.0)
    done = vidbench("inspect", path, "-o", tmp_path / "out", "--metrics", "jump")
    assert done.returncode == 0, done.stderr
    assert "\x00" not in done.stdout and "\u202e" not in done.stdout
    root = svg_of(tmp_path / "out" / "curves.svg")
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "style", "rect", "text", "line", "path", "polyline", "circle"}
    assert any("<script>alert(1)</script> & ]]>" in (e.text or "") for e in root.iter(f"{SVG}title"))
    text = (tmp_path / "out" / "findings.md").read_text(encoding="utf-8")
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or []]
    assert not [t for t in (*tokens, *inline) if t.type in ("html_block", "html_inline", "image")]
    links = [t.attrGet("href") for t in inline if t.type == "link_open"]
    assert links == ["annotated.mp4", "curves.svg"]
    shown = "".join(child.content for child in inline)
    assert "<script>alert(1)</script> & ]]> [x](http://y) `z` | \\x00" in shown
    assert "confidence 88%" in shown and "Can't tell: a cut looks the same" in shown


def test_frame_folders_and_arrays_are_clips_too(tmp_path: Path, moving_square):
    pixels = moving_square(6)
    np.save(tmp_path / "array.npy", pixels)
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(pixels):
        cv2.imwrite(str(tmp_path / "frames" / f"{number:03d}.png"), frame[..., ::-1])
    values = []
    for name in ("array.npy", "frames"):
        inspection = inspect_clip(tmp_path / name, tmp_path / f"out-{name}", metrics=("exposure", "shot_cuts"))
        values.append([score.value for score in inspection.scores])
        assert len(frames_of(inspection.files[0])) == 6
        assert "frame rate unknown" in inspection.files[1].read_text()
    assert values[0] == values[1]


def test_what_was_asked_for_and_cannot_be_scored_exits_3(vidbench, tmp_path: Path, moving_square):
    np.save(tmp_path / "array.npy", moving_square(6))
    done = vidbench("inspect", tmp_path / "array.npy", "-o", tmp_path / "out", "--metrics", "motion_magnitude")
    assert done.returncode == 3
    assert "motion_magnitude is required and unscored: its frame rate is unknown" in done.stderr
    known = vidbench(
        "inspect", tmp_path / "array.npy", "-o", tmp_path / "out", "--metrics", "motion_magnitude", "--fps", 8
    )
    assert known.returncode == 0, known.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("missing.mp4",), "missing"),
        ((".",), "not a clip"),
        (("broken.mp4",), "broken.mp4: "),
        (("clip.mp4", "--metrics", "exposur"), "did you mean exposure"),
        (("clip.mp4", "--metrics", "psnr,exposure"), "psnr: one clip by itself has no reference"),
        (("clip.mp4", "-o", "broken.mp4"), "choose another folder with -o"),
        (("clip.mp4", "--max-frames", "3"), "--max-frames"),
    ],
)
def test_wrong_use_is_one_line_and_exits_2(vidbench, clip: Path, arguments, says):
    (clip.parent / "broken.mp4").write_bytes(b"no video")
    done = vidbench("inspect", *arguments, cwd=clip.parent)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("vidbench: ") and says in line
    assert not (clip.parent / "inspect-clip").exists()


@pytest.mark.parametrize(
    ("tracks", "curves_of", "says"),
    [
        ("()", "{'x (1)': np.zeros(3)}", "red_square: its curve 'x (1)' has the shape (3,), not (16,)"),
        ("()", "{'x (1)': [0] * 16}", "red_square: its curve 'x (1)' is no array of numbers"),
        ("()", "1 / 0", "red_square.curves raised ZeroDivisionError"),
        ("[1]", "{}", "red_square: one of its tracks is a int, not a Track"),
        ("[Track(0, np.array([3, 3]), self.boxes[:2])]", "{}", "has frames that do not rise within 0 to 15"),
        ("[Track(0, np.arange(15, 17), self.boxes[:2])]", "{}", "has frames that do not rise within 0 to 15"),
        ("[Track(0, np.arange(2), self.boxes[:3])]", "{}", "and boxes of shape (3, 4)"),
        ("[Track(0, np.arange(2), self.boxes[:2] * np.nan)]", "{}", "has boxes that are not finite"),
        ("1 / 0", "{}", "red_square.tracks raised ZeroDivisionError"),
    ],
)
def test_a_strangers_curves_and_tracks_cost_themselves_only(
    clip: Path, tmp_path: Path, plugin, tracks, curves_of, says
):
    plugin(tracks, curves_of)
    inspection = inspect_clip(clip, tmp_path / "out", metrics=("jump",))
    assert says in inspection.warnings[0]
    assert [score.value for score in inspection.scores] == [1.0]
    assert all(path.exists() for path in inspection.files)
    ET.fromstring(inspection.files[2].read_bytes())


def test_errors_of_the_library_have_their_types(clip: Path, tmp_path: Path):
    with pytest.raises(ClipError):
        inspect_clip(tmp_path, tmp_path / "out")
    with pytest.raises(PluginError):
        inspect_clip(clip, tmp_path / "out", metrics=("nothing",))
    with pytest.raises(InputError, match="ssim"):
        inspect_clip(clip, tmp_path / "out", metrics=("ssim",))


def test_without_names_every_metric_that_needs_no_reference_runs(clip: Path, tmp_path: Path):
    inspection = inspect_clip(clip, tmp_path / "out")
    scored = {score.metric for score in inspection.scores if score.value is not None}
    assert {"exposure", "frozen_frames", "motion_magnitude", "shot_cuts", "temporal_flickering"} <= scored
    told = {left.metric: left.reason for left in inspection.left_out}
    assert {"psnr", "ssim", "frechet_frame_distance"} <= told.keys()
    assert "compares with a reference" in told["psnr"]


@pytest.mark.parametrize(("name", "out"), [("a.b.mp4", "inspect-a.b"), ("é" * 120 + ".mp4", f"inspect-{'é' * 60}")])
def test_the_folder_is_called_after_the_clip(name, out):
    assert str(default_out(Path("x") / name)) == out
    assert len(os.fsencode(out)) < 255


def test_the_annotated_clip_is_streamed(tmp_path: Path):
    pixels = np.zeros((300, 120, 160, 3), np.uint8)
    np.save(tmp_path / "clip.npy", pixels)
    facts = ClipFacts(300, None, 160, 120, np.arange(300.0))
    whole = FindingRow("m", "c", "x", "k", 0, 299, None, None, "all of it")
    tracemalloc.start()
    shapes = set()
    for frame in annotated(find_clip(tmp_path / "clip.npy"), facts, [whole], (), Limits()):
        shapes.add(frame.shape)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(shapes) == 1
    # 300 frames are 17 MB as they are and 276 MB as they are shown, 4 x as high and wide.
    assert peak < 14e6


def test_an_observation_offers_nothing_unless_it_says_so():
    class Bare(Observation):
        pass

    assert Bare().curves() == {}
    assert Bare().tracks() == ()


def test_the_extractors_offer_their_numbers_over_the_clips_frames(moving_square):
    pixels = moving_square(9)
    statistics, flow, shots = (observe(kind, pixels) for kind in (FrameStatistics, FlowStatistics, ShotBoundaries))
    assert isinstance(statistics, FrameStatisticsObservation)
    assert isinstance(flow, FlowStatisticsObservation)
    assert isinstance(shots, ShotBoundariesObservation)
    by_name = {**statistics.curves(), **flow.curves(), **shots.curves()}
    assert len(by_name) == 8 + 3 + 1
    assert all(name.endswith(")") and " (" in name for name in by_name), "the unit stands in the name"
    assert all(values.shape == (9,) for values in by_name.values())
    grey = np.array([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).mean() for frame in pixels])
    assert by_name["mean luma (grey levels)"] == pytest.approx(grey, abs=0.6), "OpenCV's grey is rounded"
    change = by_name["luma difference to the frame before (grey levels)"]
    assert np.isnan(change[0]) and change[1:] == pytest.approx(statistics.luma_difference)
    turning = next(values for name, values in by_name.items() if name.startswith("change of the optical flow"))
    assert np.isnan(turning[:2]).all() and turning[2:] == pytest.approx(flow.acceleration)
    sharp = by_name["sharpness (grey levels squared)"]
    assert sharp[statistics.sharpness_frames] == pytest.approx(statistics.sharpness)
