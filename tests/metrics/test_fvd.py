"""fvd: each protocol's choices and formula, its cautions and remarks, and a run with and without weights."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from vidbench.clips import discover
from vidbench.errors import InputError
from vidbench.frechet import GaussianState, add_rows
from vidbench.metric import Observations, Score
from vidbench.run.plan import select
from vidbench.video import ClipFacts, encode_h264
from vidbench_metrics.extractors.i3d import I3DObservation
from vidbench_metrics.feature_sets import GaussianSet
from vidbench_metrics.fvd import Fvd
from vidbench_metrics.i3d_protocols import PROTOCOLS
from vidbench_metrics.set_facts import SetFacts, Span

Rows = NDArray[np.float32]


def _seen(features: Rows, unpublished: str = "", **facts: Any) -> Observations:
    given: dict[str, Any] = {"frames": 16, "fps": 8.0, "width": 64, "height": 48, **facts}
    shown = ClipFacts(**given, times=np.arange(given["frames"]) / 8)
    starts = np.arange(len(features), dtype=np.int64) * 16
    return Observations({"i3d": I3DObservation(features, starts, unpublished)}, shown)


def _state(metric: Fvd, rows: Rows, **facts: Any) -> GaussianSet:
    """The state after clips of one window each; the rows at once, since one at a time takes a second."""
    first = metric.observe(metric.new_state(), _seen(rows[:1], **facts)).facts
    return GaussianSet(add_rows(GaussianState(), rows), replace(first, clips=len(rows)))


def _features(n: int, seed: int, shift: float = 0.0, dimensions: int = 400) -> Rows:
    rng = np.random.default_rng((seed, n))
    mix = np.random.default_rng(0).normal(size=(dimensions, dimensions)) / np.sqrt(dimensions)
    return np.asarray(rng.normal(size=(n, dimensions)) @ mix + shift, np.float32)


def _sqrtm_distance(a: Rows, b: Rows, ddof: int) -> float:
    """The formula by scipy's matrix square root, as StyleGAN-V (ddof 0) and fvd-comparison (ddof 1) compute it."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    c, d = np.cov(x.T, ddof=ddof), np.cov(y.T, ddof=ddof)
    root = scipy.linalg.sqrtm(c @ d)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c + d) - 2 * np.trace(root).real)


@pytest.mark.parametrize(
    ("protocol", "ddof"), [("stylegan-v", 0), ("tf", 1), ("videogpt", 1), ("cd-fvd", 0), ("fvd-comparison", 1)]
)
def test_the_distance_is_sqrtms_with_the_protocols_ddof(protocol: str, ddof: int) -> None:
    metric = Fvd.from_mapping({"protocol": protocol})
    a, b = _features(60, 1, dimensions=20), _features(48, 2, shift=0.3, dimensions=20)
    result = metric.compare(_state(metric, a), _state(metric, b))
    assert result.value == pytest.approx(_sqrtm_distance(a, b, ddof), rel=1e-8)
    assert result.value != pytest.approx(_sqrtm_distance(a, b, 1 - ddof), rel=1e-3)


def test_fewer_clips_than_dimensions() -> None:
    """Rank-deficient covariances: sqrtm itself is right to 1e-8 only."""
    metric = Fvd()
    a, b = _features(12, 1), _features(14, 2, shift=0.3)
    result = metric.compare(_state(metric, a), _state(metric, b))
    assert result.value == pytest.approx(_sqrtm_distance(a, b, 0), rel=1e-6)


@pytest.mark.parametrize(
    ("protocol", "wanted"),
    [
        ("stylegan-v", {"epsilon": 1e-3, "resize": "squash", "start": "random"}),
        ("tf", {"epsilon": 1e-3, "resize": "squash_tf1", "start": "first"}),
        ("videogpt", {"epsilon": 1e-5, "resize": "crop", "start": "first"}),
        ("cd-fvd", {"epsilon": 1e-5, "resize": "squash", "start": "random"}),
        ("fvd-comparison", {"epsilon": 1e-3, "resize": "squash", "start": "first"}),
    ],
)
def test_each_protocol_asks_for_its_features(protocol: str, wanted: dict[str, Any]) -> None:
    (spec,) = Fvd.from_mapping({"protocol": protocol}).extractor_specs()
    assert spec.name == "i3d"
    assert {key: spec.parameters[key] for key in wanted} == wanted
    assert spec.parameters["frames"] == 16


def test_fvd_alone_is_stylegan_v() -> None:
    assert Fvd().parameters.protocol == "stylegan-v"
    assert PROTOCOLS["stylegan-v"].clips == 2048
    assert Fvd().frames_needed() == 16
    assert Fvd.from_mapping({"frames": "24"}).frames_needed() == 24


def _compared(generated: GaussianSet, reference: GaussianSet, **parameters: Any) -> Score:
    result = Fvd.from_mapping(parameters).compare(generated, reference)
    assert result.value is not None
    return result


def test_equal_sets_of_enough_clips_bring_no_caution_and_say_how_many_there_were() -> None:
    metric = Fvd()
    enough = _compared(_state(metric, _features(800, 1)), _state(metric, _features(800, 2)))
    assert enough.details["caution"] is None
    assert enough.details["remark"] == "protocol stylegan-v with 800 and 800 clips instead of 2048 a set"
    whole = GaussianSet(_state(metric, _features(800, 1)).gaussian, SetFacts(2048))
    assert _compared(whole, whole).details["remark"] is None
    few = _compared(_state(metric, _features(799, 1)), _state(metric, _features(799, 2)))
    assert few.details["caution"] == (
        "799 windows a set for 400 dimensions: below 800 most of the value is sampling error"
    )


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"frames": 24}, "the sets differ in frames (16 against 24)"),
        ({"fps": 24.0}, "the sets differ in fps (8 against 24)"),
        ({"fps": None}, "the sets differ in fps (8 against unknown)"),
        ({"width": 65}, "the sets differ in size (64x48 against 65x48)"),
        ({"frames": 20, "height": 64}, "the sets differ in frames (16 against 20), size (64x48 against 64x64)"),
    ],
)
def test_unlike_sets_bring_a_caution(facts: dict[str, Any], said: str) -> None:
    metric = Fvd()
    rows = _features(800, 1)
    alike, unlike = _state(metric, rows), _state(metric, rows, **facts)
    assert _compared(alike, unlike).details["caution"] == said
    assert _compared(unlike, unlike).details["caution"] is None
    fewer = _compared(alike, _state(metric, rows[:-1]))
    assert "the sets differ in clips (800 against 799)" in str(fewer.details["caution"])


def test_mixed_sets_are_told_by_their_span() -> None:
    metric = Fvd()
    mixed = metric.merge(_state(metric, _features(2, 1), frames=29), _state(metric, _features(2, 2), frames=32))
    assert str(mixed.facts.frames) == "29 to 32"
    assert Span().joined(Span(1, 2)) == Span(1, 2).joined(Span()) == Span(1, 2)


def test_other_weights_than_the_published_ones_are_told() -> None:
    metric = Fvd()
    rows = _features(800, 1)
    other = metric.observe(metric.new_state(), _seen(rows[:1], "sha256:" + "ab" * 32))
    own = metric.merge(other, _state(metric, rows[1:]))
    caution = str(_compared(own, own).details["caution"])
    assert caution.startswith("not computed with the published weights (checksum sha256:abab")


def test_fvd_comparison_says_where_frames_are_not_its_own_size() -> None:
    metric, rows = Fvd(), _features(800, 1)
    other, own = _state(metric, rows), _state(metric, rows, width=224, height=224)
    said = "fvd-comparison is defined for frames of 224x224; others were squashed to that"
    assert _compared(other, other, protocol="fvd-comparison").details["caution"] == said
    assert _compared(own, own, protocol="fvd-comparison").details["caution"] is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"protocol": "fvd"}, "no protocol 'fvd'; there are: stylegan-v, tf, videogpt, cd-fvd, fvd-comparison"),
        ({"frames": 8}, "at least 9"),
        ({"resolution": 128}, "resolution belongs to the protocol cd-fvd"),
        ({"protocol": "videogpt", "backend": "torchscript"}, "leave backend at checkpoint"),
        ({"start": "last"}, "first, random or all"),
    ],
)
def test_choices_that_make_no_sense_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Fvd.from_mapping(values)


def test_one_clip_is_unscored() -> None:
    metric = Fvd()
    one, two = (_state(metric, _features(n, 1)) for n in (1, 2))
    assert metric.compare(one, two).reason == "the generated set has 1 clip; 2 are needed"
    assert metric.compare(two, metric.new_state()).reason == "the reference set has 0 clips; 2 are needed"


@pytest.fixture
def folders(tmp_path: Path, moving_square: Callable[..., NDArray[np.uint8]]) -> tuple[Path, Path]:
    """Three clips of model m, one of them too short, and two reference clips, 9 frames each."""
    for folder, frames in ((tmp_path / "clips" / "m", (9, 9, 8)), (tmp_path / "real", (9, 9))):
        folder.mkdir(parents=True)
        for number, n in enumerate(frames):
            seed = number + 10 * (folder.name == "real")
            encode_h264(folder / f"{number}.mp4", moving_square(n, 48, 64, seed=seed), 8.0)
    return tmp_path / "clips", tmp_path / "real"


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: pip install 'vidbench[models]'"
)
def test_without_weights_a_run_names_the_command_and_exits_with_3(vidbench, folders, tmp_path) -> None:
    clips, real = folders
    named = vidbench("run", clips, "--reference", real, "--out", tmp_path / "run", "--no-media", "--metrics", "fvd")
    assert named.returncode == 3
    assert "fvd of m is required and unscored: weights i3d" in named.stderr
    assert "vidbench weights fetch i3d" in named.stderr
    left_out = {item.metric: item.reason for item in select(discover(clips), has_reference=True).left_out}
    assert left_out["fvd"] == left_out["kvd"] == "weights i3d (about 50.9 MB) are not here: vidbench weights fetch i3d"


def test_a_run_with_other_weights_says_so_in_every_report(
    vidbench, folders, tmp_path, random_weights, monkeypatch
) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(random_weights))
    clips, real = folders
    settings = [f"--set={name}.{key}" for name in ("fvd", "kvd") for key in ("frames=9", "protocol=tf")]
    done = vidbench(
        "run", clips, "--reference", real, "--out", tmp_path / "run", "--metrics", "fvd,kvd", *settings, "--jobs", "1"
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines()]
    by_metric = {row["metric"]: row for row in rows}
    fvd = by_metric["fvd"]
    assert fvd["value"] > 0
    assert by_metric["kvd"]["value"] is not None
    assert (fvd["details"]["clips"], fvd["details"]["reference_clips"]) == (2, 2)
    assert fvd["details"]["unscored"] == {"has 8 frames, 9 are needed": 1}
    assert fvd["details"]["remark"] == "protocol tf with windows of 9 frames instead of 16"
    sha256 = json.loads((tmp_path / "run" / "run.json").read_text())["metrics"][0]["weights"]["i3d"]
    assert sha256.endswith("(not the published weights: the checksum differs)")
    for shown in (done.stdout, *((tmp_path / "run" / f"report.{kind}").read_text() for kind in ("md", "html"))):
        assert "not computed with the published weights (checksum sha256:" in shown
        assert "protocol tf with windows of 9 frames instead of 16" in shown
