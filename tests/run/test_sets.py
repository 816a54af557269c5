"""Set metrics against a closed form: a distance of mean brightness that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from vidbench.run.engine import Request, execute
from vidbench.video import encode_h264

SOURCE = """
from dataclasses import dataclass
import numpy as np
from numpy.typing import NDArray
from vidbench.extractor import Extractor, Observation, Session
from vidbench.metric import ExtractorSpec, Needs, Score, SetMetric

@dataclass(frozen=True)
class Level(Observation):
    total: float
    frames: int

class Levels(Extractor):
    name = "levels"; version = "1"; summary = "s"; observation_type = Level
    def open(self, clip):
        class S(Session):
            total = 0.0
            frames = 0
            def push(self, frames):
                self.total += float(frames.pixels.mean(axis=(1, 2, 3)).sum())
                self.frames += len(frames)
            def close(self):
                return Level(self.total / self.frames, self.frames)
        return S()

class LevelDistance(SetMetric):
    name = "level_distance"; version = "1"; summary = "s"; reference = "r"; protocol = "p"; higher_is_better = False
    unit = "grey levels"; value_range = (-1e9, 1e9); needs = Needs((ExtractorSpec("levels"),)); min_frames = 3
    def new_state(self): return (0.0, 0)
    def observe(self, state, observations):
        level = observations.of("levels", Level)
        return (state[0] + level.total, state[1] + 1)
    def merge(self, state, other): return (state[0] + other[0], state[1] + other[1])
    def compare(self, generated, reference):
        if not generated[1] or not reference[1]:
            return Score.unscored("no clips")
        COMPARE
"""
ENTRIES = (
    "[vidbench.metrics]\nlevel_distance = strange_sets:LevelDistance\n"
    "[vidbench.extractors]\nlevels = strange_sets:Levels\n"
)
PLAIN = "return Score(generated[0] / generated[1] - reference[0] / reference[1])"


class Quiet:
    def selected(self, folder, selection) -> None: ...

    def begins(self, total, finished, jobs) -> None: ...

    def clip_done(self, row) -> None: ...

    def finalising(self, what) -> None: ...


@pytest.fixture
def folders(tmp_path: Path, install_plugin) -> tuple[Path, Path]:
    """Six grey clips of model m, one of two frames among them, an unreadable one, and three reference clips."""
    install_plugin("strange-sets", SOURCE.replace("COMPARE", PLAIN), ENTRIES)
    clips, real = tmp_path / "clips", tmp_path / "real"
    for folder, levels in ((clips / "m", (40, 90, 120, 200, 220, 60)), (real, (100, 130, 160))):
        folder.mkdir(parents=True)
        for number, level in enumerate(levels):
            frames = 2 if (folder.name, number) == ("m", 5) else 4
            encode_h264(folder / f"{number}.mp4", np.full((frames, 32, 32, 3), level, np.uint8), 8.0)
    (clips / "m" / "broken.mp4").write_bytes(b"")
    return clips, real


def run(clips: Path, out: Path, reference: Path, **more):
    more.setdefault("metrics", ("level_distance",))
    return execute(Request(clips=clips, out=out, reference=reference, jobs=1, **more), Quiet())


def levels(folder: Path, names: str) -> np.ndarray:
    import av

    means = []
    for name in names:
        with av.open(str(folder / f"{name}.mp4")) as container:
            means.append(np.mean([f.to_ndarray(format="rgb24").mean() for f in container.decode(video=0)]))
    return np.array(means)


def test_value_interval_and_coverage_by_hand(folders, tmp_path: Path):
    clips, real = folders
    result = run(clips, tmp_path / "out", real)
    score = result.run.summary.score("m", "level_distance")
    mine, theirs = levels(clips / "m", "01234"), levels(real, "012")
    assert score.value == pytest.approx(mine.mean() - theirs.mean(), abs=1e-9)
    half = scipy.stats.t.ppf(0.975, 4) * scipy.stats.sem(mine)  # the jackknife of a mean is its t interval
    assert (score.high - score.low) / 2 == pytest.approx(half, rel=1e-9)
    assert "5 groups" in score.interval
    assert (score.n_scored, score.n_unscored) == (5, 2)
    assert dict(score.reasons) == {"clip failed: empty file (0 bytes)": 1, "has 2 frames, 3 are needed": 1}
    (row,) = [r for r in result.run.scores if r.metric == "level_distance"]
    assert (row.clip, row.details["reference_clips"]) == (None, 3)
    assert [r.clip for r in result.run.references] == ["0.mp4", "1.mp4", "2.mp4"]


def test_a_model_that_is_the_reference_set_is_named_and_not_ranked(folders, tmp_path: Path):
    clips, real = folders
    real.rename(clips / "truth")
    result = run(clips, tmp_path / "out", clips / "truth")
    truth = result.run.summary.score("truth", "level_distance")
    assert (truth.value, truth.rank, truth.low) == (0.0, None, None)
    assert "in the reference set" in truth.note
    assert result.run.references == ()
    assert result.run.summary.score("m", "level_distance").rank == 1


def test_a_reference_clip_that_cannot_be_read_is_said(folders, tmp_path: Path):
    clips, real = folders
    (real / "3.mp4").write_bytes(b"")
    result = run(clips, tmp_path / "out", real)
    assert any("reference clip 3.mp4 failed: empty file" in warning for warning in result.run.summary.warnings)
    assert result.run.summary.score("m", "level_distance").value is not None


@pytest.mark.parametrize(
    ("compare", "reason"),
    [
        ("raise ArithmeticError('singular')", "level_distance raised ArithmeticError: singular"),
        ("return Score(float('inf'))", "must be finite, got inf"),
        ("return 2.0", "returned a float, not a Score"),
    ],
)
def test_a_set_metric_that_fails_is_unscored_with_the_reason(folders, tmp_path, install_plugin, compare, reason):
    clips, real = folders
    site = tmp_path / "site" / "strange-sets" / "strange_sets.py"
    site.write_text(SOURCE.replace("COMPARE", compare), encoding="utf-8")
    result = run(clips, tmp_path / "out", real, metrics=("level_distance", "exposure"))
    score = result.run.summary.score("m", "level_distance")
    assert score.value is None
    assert reason in score.reason
    assert score.n_scored + score.n_unscored == 7
    assert result.run.summary.score("m", "exposure").value is not None


def test_a_resumed_run_reads_what_it_kept(folders, tmp_path: Path):
    clips, real = folders
    whole = run(clips, tmp_path / "whole", real, cache=False)
    run(clips, tmp_path / "out", real, cache=False)
    rows = (tmp_path / "out" / "clips.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [row for row in rows if '"m/1.mp4"' not in row]
    (tmp_path / "out" / "clips.jsonl").write_text("".join(kept), encoding="utf-8")
    lost = next((tmp_path / "out" / "observations").glob("*.observation"))
    lost.unlink()
    again = run(clips, tmp_path / "out", real, cache=False)
    assert again.computed in (1, 2)
    assert again.run.summary == whole.run.summary
