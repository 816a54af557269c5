"""shot_cuts and its extractor against PySceneDetect, and against clips whose cuts are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import InputError
from vidbench.metric import Score
from vidbench.testing import observe, score
from vidbench.video import ClipReader, encode_h264
from vidbench_metrics.extractors.shot_boundaries import ShotBoundaries, ShotBoundariesObservation, hsv_thumbnail
from vidbench_metrics.shot_cuts import ShotCuts, adaptive_ratio, held_frames

Pixels = NDArray[np.uint8]
Clips = Callable[..., Pixels]


def _content(pixels: Pixels) -> NDArray[np.float64]:
    seen = observe(ShotBoundaries, pixels)
    assert isinstance(seen, ShotBoundariesObservation)
    return seen.content


def _cuts(result: Score) -> list[int]:
    assert result.value == len(result.findings)
    return [finding.end for finding in result.findings]


def _restless(seed: int, frames: int = 40, height: int = 32, width: int = 48) -> Pixels:
    """Frames that differ from one another by amounts from nothing to everything."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(frames, height, width, 3)) * rng.choice([0, 3, 8, 40, 90], size=(frames, 1, 1, 1))
    return np.asarray(np.clip(128 + steps, 0, 255), np.uint8)


def _reference_adaptive(pixels: Pixels) -> tuple[list[int], list[float]]:
    """PySceneDetect's AdaptiveDetector with its defaults but min_scene_len=1: cuts and content values."""
    scenedetect = pytest.importorskip(
        "scenedetect", reason="install scenedetect-headless to compare with PySceneDetect"
    )
    detector = scenedetect.AdaptiveDetector(min_scene_len=1)
    detector.stats_manager = scenedetect.StatsManager()
    cuts, values = [], []
    for number, frame in enumerate(pixels):
        time = scenedetect.FrameTimecode(number, fps=25.0)
        cuts += [cut.frame_num for cut in detector.process_frame(time, np.ascontiguousarray(frame[..., ::-1]))]
        if number:
            values += detector.stats_manager.get_metrics(time, ["content_val"])
    return cuts, values


@pytest.mark.parametrize("seed", range(6))
def test_content_matches_pyscenedetect(seed: int) -> None:
    pixels = _restless(seed)
    np.testing.assert_allclose(_content(pixels)[0, 1:], _reference_adaptive(pixels)[1], rtol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_cuts_match_pyscenedetect_away_from_the_ends(seed: int) -> None:
    """Our four changes apart: none of them is at work where nothing is held, flashes count and neighbours are whole."""
    pixels = _restless(seed)
    expected, values = _reference_adaptive(pixels)
    plain = ShotCuts.from_mapping({"longest_hold": 0, "flash_frames": 0})
    inside = range(3, len(pixels) - 2)
    assert [t for t in _cuts(score(plain, pixels)) if t in inside] == [t for t in expected if t in inside]
    assert max(values) > 15


def test_cuts_of_large_frames_match_pyscenedetect_on_a_file(real_clips: Path, tmp_path: Path) -> None:
    """End to end, with its own decoder and downscaling: a spliced file of 640×360 frames."""
    scenedetect = pytest.importorskip(
        "scenedetect", reason="install scenedetect-headless to compare with PySceneDetect"
    )
    shots = [_read(real_clips / name)[5:25] for name in ("sam2_juggle_0.mp4", "sam2_coffee_1.mp4", "sam2_dog_2.mp4")]
    path = tmp_path / "spliced.mp4"
    encode_h264(path, np.concatenate(shots), 25.0)
    scenes = scenedetect.detect(str(path), scenedetect.AdaptiveDetector(min_scene_len=1))
    assert [start.frame_num for start, _ in scenes][1:] == [20, 40]
    assert _cuts(score(ShotCuts, _read(path))) == [20, 40]


def _read(path: Path) -> Pixels:
    with ClipReader(Clip(id=path.name, path=path, model="real")) as reader:
        return np.concatenate([frames.pixels for frames in reader])


@pytest.mark.parametrize("cut", range(1, 15))
def test_a_cut_is_found_wherever_it_is(moving_square: Clips, cut: int) -> None:
    shot, other = moving_square(seed=1), 255 - moving_square(seed=2)
    spliced = np.concatenate([shot[:cut], other[cut:]])
    result = score(ShotCuts, spliced, fps=8.0)
    assert _cuts(result) == [cut]
    finding = result.findings[0]
    assert (finding.kind, finding.start, finding.end) == ("jump_cut", cut - 1, cut)
    assert f"frames {cut - 1} to {cut}" in finding.message
    assert f"{cut / 8:.2f} s" in finding.message
    assert " s" not in score(ShotCuts, spliced, fps=None).findings[0].message.replace("another shot", "")


def test_three_shots_have_two_cuts(moving_square: Clips) -> None:
    shots = moving_square(seed=1)[:6], 255 - moving_square(seed=2)[6:11], moving_square(seed=3)[11:]
    assert _cuts(score(ShotCuts, np.concatenate(shots))) == [6, 11]


def test_one_shot_has_none(moving_square: Clips) -> None:
    for seed in range(4):
        assert score(ShotCuts, moving_square(seed=seed, speed=9.0)).value == 0


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_cut_unless_asked_for(moving_square: Clips, length: int) -> None:
    pixels = moving_square(speed=0.0)
    pixels[6 : 6 + length] = 250
    result = score(ShotCuts, pixels)
    assert result.value == 0
    assert result.details["flashes"] == 2
    assert _cuts(score(ShotCuts.from_mapping({"flash_frames": 0}), pixels)) == [6, 6 + length]
    assert _cuts(score(ShotCuts.from_mapping({"flash_frames": length - 1}), pixels)) == [6, 6 + length]


def test_a_change_that_stays_longer_than_a_flash_is_two_cuts(moving_square: Clips) -> None:
    pixels = moving_square(speed=0.0)
    pixels[6:10] = 255 - pixels[6:10]
    assert _cuts(score(ShotCuts, pixels)) == [6, 10]


@pytest.mark.parametrize("copies", [2, 3])
def test_held_frames_make_no_cuts_and_hide_none(real_clips: Path, copies: int) -> None:
    """8 frames a second written as 16 or 24: every step stands between repeats."""
    moving = _read(real_clips / "mm_demo_2.mp4")[::4][:16]
    held = np.repeat(moving, copies, axis=0)
    assert score(ShotCuts, moving).value == 0
    assert score(ShotCuts, held).value == 0
    counted = score(ShotCuts.from_mapping({"longest_hold": 0}), held).value
    assert counted is not None
    assert counted >= 3  # what the published rule says of the same clip
    other = np.asarray(
        [cv2.resize(f, moving.shape[2:0:-1]) for f in _read(real_clips / "mm_test_1.mp4")[::4][:8]], np.uint8
    )
    spliced = np.repeat(np.concatenate([moving[:8], other]), copies, axis=0)
    assert _cuts(score(ShotCuts, spliced)) == [8 * copies]


def test_a_cut_between_two_stills_is_found() -> None:
    """No frame moves but one: nothing to compare it with, and it is the largest there can be."""
    pixels = np.concatenate([np.full((4, 32, 32, 3), 40, np.uint8), np.full((4, 32, 32, 3), 200, np.uint8)])
    result = score(ShotCuts, pixels)
    assert _cuts(result) == [4]
    assert result.details["largest_ratio"] == 255.0


@pytest.mark.parametrize(("step", "cuts"), [(44, 0), (45, 1)])
def test_a_cut_changes_at_least_15(step: int, cuts: int) -> None:
    """Grey has neither hue nor saturation: a step of 45 in value is 15 in the mean of the three."""
    pixels = np.full((12, 24, 24, 3), 80, np.uint8)
    pixels[6:] += np.uint8(step)
    assert score(ShotCuts, pixels).value == cuts


def test_adaptive_ratio_by_hand() -> None:
    content = np.array([np.nan, 2.0, 4.0, 30.0, 6.0, 8.0, 0.1])
    held = np.array([False] * 6 + [True])
    expected = [0, 2 / ((4 + 30 + 6 + 8) / 4), 4 / ((2 + 30 + 6 + 8) / 4), 30 / 5, 6 / 11, 8 / 10.5, 0]
    np.testing.assert_allclose(adaptive_ratio(content, 2, held), expected)
    np.testing.assert_array_equal(adaptive_ratio(np.array([np.nan, 50.0]), 2), [0, 0])
    np.testing.assert_array_equal(adaptive_ratio(np.array([np.nan, 0.0, 50.0]), 2), [0, 0, 255])


def test_short_runs_of_repeats_are_held_and_long_ones_are_still() -> None:
    content = np.array([np.nan, 9, 0, 0.4, 9, 0, 0, 0, 0, 0, 9, 0.1])
    assert np.flatnonzero(held_frames(content, 0.5, 4)).tolist() == [2, 3, 11]
    assert np.flatnonzero(held_frames(content, 0.5, 5)).tolist() == [2, 3, 5, 6, 7, 8, 9, 11]
    assert not held_frames(content, 0.5, 0).any()


def test_content_is_nan_where_there_is_no_frame_before(moving_square: Clips) -> None:
    content = _content(moving_square(frames=6))
    assert content.shape == (4, 6)
    for lag in range(4):
        assert np.isnan(content[lag]).tolist() == [True] * (lag + 1) + [False] * (5 - lag)
    still = _content(moving_square(frames=6, speed=0.0))
    assert np.nanmax(still) == 0


def test_thumbnails_are_at_most_256_pixels_wide_or_high() -> None:
    for height, width, expected in (
        (720, 1280, (144, 256)),
        (1280, 720, (256, 144)),
        (200, 400, (128, 256)),
        (100, 200, (100, 200)),
        (1, 4096, (1, 256)),
    ):
        assert hsv_thumbnail(np.zeros((height, width, 3), np.uint8)).shape[:2] == expected


def test_short_clips_are_unscored(moving_square: Clips) -> None:
    assert score(ShotCuts, moving_square(frames=2)).value is None


@pytest.mark.parametrize("values", [{"window": 0}, {"flash_frames": -1}])
def test_bad_parameters_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(InputError):
        ShotCuts.from_mapping(values)
    with pytest.raises(InputError):
        ShotBoundaries.from_mapping({"lags": 0})


def test_fetv_has_cuts_where_people_see_them(fetv: Path) -> None:
    """All 60 clips were looked at frame by frame. One cut more is there and is missed: ground-truth/5 at frame 20.

    Every frame of that clip moves, so the cut is only 2.7 times its neighbours.
    """
    seen = {
        f"{path.parent.name}/{path.stem}": cuts
        for path in sorted(fetv.glob("*/*.mp4"))
        if (cuts := _cuts(score(ShotCuts, _read(path))))
    }
    assert seen == {"ground-truth/25": [12, 30], "ground-truth/272": [3], "ground-truth/407": [4]}
