"""The distances over sets beside fvd and kvd: each formula against something independent, and what a value says."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from vidbench.clips import Clip, discover
from vidbench.errors import InputError
from vidbench.extractor import Extractor, Observation, Session
from vidbench.frechet import GaussianState, add_rows, frechet_distance
from vidbench.metric import Observations
from vidbench.plugins import metrics
from vidbench.run.plan import select
from vidbench.testing import Given, metric_checks
from vidbench.video import ClipFacts, Frames
from vidbench_metrics import prdc
from vidbench_metrics.cmmd import Cmmd, gaussian_mmd, normalised
from vidbench_metrics.extractors.efficientnet_lite0 import EfficientNetLite0Observation
from vidbench_metrics.extractors.i3d import I3DObservation
from vidbench_metrics.extractors.inception import InceptionObservation
from vidbench_metrics.extractors.lk_tracks import LkTracks, LkTracksObservation
from vidbench_metrics.extractors.videomae import VideoMaeObservation
from vidbench_metrics.extractors.vjepa import VJepaObservation
from vidbench_metrics.feature_sets import GaussianSet, RowSet
from vidbench_metrics.fid import Fid
from vidbench_metrics.fvd import Fvd
from vidbench_metrics.fvd_infinity import FvdInfinity, extrapolated, frechet_of, subsample_sizes
from vidbench_metrics.fvd_videomae import FvdVideoMae
from vidbench_metrics.fvmd_lk import FvmdLk
from vidbench_metrics.jedi import Jedi, jedi_distance
from vidbench_metrics.motion_histograms import grid, histogram, motion_features, shifted_velocity, velocity

Rows = NDArray[np.float32]
SET_METRICS = (
    "cmmd",
    "fid",
    "fvd",
    "fvd_infinity",
    "fvd_videomae",
    "jedi",
    "kvd",
    "prdc_coverage",
    "prdc_density",
    "prdc_precision",
    "prdc_recall",
)
"""All that need weights."""


def _rows(n: int, seed: int = 0, shift: float = 0.0, dimensions: int = 6) -> Rows:
    rng = np.random.default_rng((seed, n))
    mix = np.random.default_rng(9).normal(size=(dimensions, dimensions)) / math.sqrt(dimensions)
    return np.asarray(rng.normal(size=(n, dimensions)) @ mix + shift, np.float32)


def _observed(kind: str, rows: Rows) -> Observation:
    numbers = np.arange(len(rows), dtype=np.int64)
    made: dict[str, Observation] = {
        "i3d": I3DObservation(rows, numbers, ""),
        "videomae": VideoMaeObservation(rows, numbers, ""),
        "vjepa": VJepaObservation(rows, numbers, ""),
        "inception": InceptionObservation(rows, numbers, ""),
        "lk_tracks": LkTracksObservation(rows, numbers, 0.0),
        "efficientnet_lite0": EfficientNetLite0Observation(rows, numbers),
    }
    return made[kind]


def _state(metric: Any, kind: str, rows: Rows, per_clip: int = 1, **facts: Any) -> Any:
    given: dict[str, Any] = {"frames": 16, "fps": 8.0, "width": 64, "height": 48, **facts}
    shown = ClipFacts(**given, times=np.arange(given["frames"]) / 8)
    state = metric.new_state()
    for start in range(0, len(rows), per_clip):
        seen = _observed(kind, rows[start : start + per_clip])
        state = metric.observe(state, Observations({kind: seen}, shown))
    return state


def _sqrtm(a: Rows, b: Rows, ddof: int, offset: float = 0.0) -> float:
    x, y = a.astype(np.float64), b.astype(np.float64)
    c, d = np.cov(x.T, ddof=ddof), np.cov(y.T, ddof=ddof)
    extra = offset * np.eye(len(c))
    root = scipy.linalg.sqrtm((c + extra) @ (d + extra))
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c + d) - 2 * np.trace(root).real)


@pytest.mark.parametrize(
    ("metric", "kind", "ddof", "offset"),
    [(Fid(), "inception", 1, 0.0), (FvdVideoMae(), "videomae", 0, 0.0), (FvmdLk(), "lk_tracks", 1, 1e-5)],
    ids=lambda value: getattr(value, "name", None),
)
def test_frechet_distances_match_sqrtm(metric: Any, kind: str, ddof: int, offset: float) -> None:
    a, b = _rows(40), _rows(30, seed=1, shift=0.4)
    result = metric.compare(_state(metric, kind, a, per_clip=2), _state(metric, kind, b, per_clip=2))
    assert result.value == pytest.approx(_sqrtm(a, b, ddof, offset), rel=1e-9)
    assert (result.details["clips"], result.details["reference_clips"]) == (20, 15)
    assert (result.details[metric.noun], result.details[f"reference_{metric.noun}"]) == (40, 30)
    assert result.details["caution"] == "the sets differ in clips (20 against 15)"


@pytest.mark.parametrize(("rows", "dimensions"), [((7, 9), 40), ((30, 9), 12), ((40, 30), 12)])
def test_the_offset_inside_the_root(rows: tuple[int, int], dimensions: int) -> None:
    """Few rows of many dimensions take another way than many rows of few."""
    a, b = (_rows(n, seed=n, shift=n / 50, dimensions=dimensions) for n in rows)
    one, other = (add_rows(GaussianState(), x) for x in (a, b))
    assert frechet_distance(one, other, offset=1e-3) == pytest.approx(_sqrtm(a, b, 1, 1e-3), rel=1e-8)
    assert frechet_distance(one, one, offset=1e-3) == pytest.approx(-2e-3 * dimensions, rel=1e-6)


def test_jedi_by_its_own_example_and_by_pairs() -> None:
    """The example at the end of videojedi's mmd_polynomial.py: 270.7 at degree 2 and coef0 0."""
    a = np.arange(1.0, 10).reshape(3, 3)
    b = np.array([[7.0, 6, 5], [4, 3, 2], [1, 1, 8], [0, 2, 5]])
    assert jedi_distance(a, b) == pytest.approx(100 * 270.7, abs=5)
    kernel = [[[np.dot(p, q) ** 2 / 9 for q in y] for p in x] for x, y in ((a, a), (b, b), (a, b))]
    expected = 100 * (np.mean(kernel[0]) + np.mean(kernel[1]) - 2 * np.mean(kernel[2]))
    assert jedi_distance(a, b) == pytest.approx(expected, rel=1e-12)
    metric = Jedi()
    rows = _rows(30), _rows(30, seed=1, shift=0.2)
    result = metric.compare(*(_state(metric, "vjepa", x) for x in rows))
    assert result.value == pytest.approx(jedi_distance(*rows), rel=1e-12)
    assert result.details["caution"] is None
    assert metric.compare(_state(metric, "vjepa", rows[0]), _state(metric, "vjepa", rows[0])).value == 0


def test_cmmd_by_closed_forms_and_by_pairs() -> None:
    x, y = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]])
    assert gaussian_mmd(x, y, sigma=10) == pytest.approx(2 * (1 - math.exp(-25 / 200)), rel=1e-14)
    assert gaussian_mmd(x, x) == 0
    # Two unit vectors at an angle: their distance is a chord.
    a, b = np.array([[1.0, 0.0]]), np.array([[math.cos(0.3), math.sin(0.3)]])
    assert gaussian_mmd(a, b) == pytest.approx(2 * (1 - math.exp(-(2 - 2 * math.cos(0.3)) / 200)), rel=1e-12)
    rng = np.random.default_rng(0)
    p, q = (normalised(rng.normal(size=(n, 9)) + shift) for n, shift in ((13, 0.0), (8, 0.7)))

    def mean_kernel(u: Any, v: Any) -> float:
        values = [math.exp(-sum((i - j) ** 2 for i, j in zip(r, s, strict=True)) / 200) for r in u for s in v]
        return math.fsum(values) / len(values)

    by_pairs = mean_kernel(p, p) + mean_kernel(q, q) - 2 * mean_kernel(p, q)
    assert gaussian_mmd(p, q) == pytest.approx(by_pairs, rel=1e-9)


def test_cmmd_works_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = normalised(_rows(50)), normalised(_rows(40, seed=1, shift=0.3))
    whole = gaussian_mmd(*rows)
    monkeypatch.setattr("vidbench_metrics.cmmd.BLOCK", 7)
    assert gaussian_mmd(*rows) == pytest.approx(whole, rel=1e-12)


@dataclass(frozen=True)
class _EmbeddingParameters:
    model: str = "ViT-B-32"
    weights: str = "openai"
    preprocess: str = "official"
    sampling: str = "all"
    frames: int = 0


@dataclass(frozen=True)
class _Embeddings(Observation):
    embeddings: Rows
    unpublished: str


class _MeanColours(Session):
    def __init__(self) -> None:
        self.rows: list[NDArray[Any]] = []

    def push(self, frames: Frames) -> None:
        self.rows += [frame[::16, ::16].reshape(-1)[:32] / 255 + 0.1 for frame in frames.pixels]

    def close(self) -> _Embeddings:
        return _Embeddings(np.array(self.rows, np.float32), "")


class _ClipImage(Extractor[_EmbeddingParameters]):
    """Stands for the extractor of CLIP embeddings: some pixels of each frame."""

    name = "clip_image"
    version = "1"
    summary = "s"
    observation_type = _Embeddings
    parameters_type = _EmbeddingParameters

    def open(self, clip: Clip) -> Session:
        return _MeanColours()


@pytest.mark.parametrize("check", metric_checks(Cmmd), ids=lambda check: check.__name__)
def test_cmmd_keeps_its_contract_on_any_embeddings(check: Any) -> None:
    check(Cmmd, Given(extractors={"clip_image": _ClipImage}))


def test_cmmd_asks_for_its_own_preparation_and_its_weights() -> None:
    (spec,) = Cmmd().extractor_specs()
    assert spec.name == "clip_image"
    wanted = {"model": "ViT-L-14-336", "weights": "openai", "preprocess": "cmmd", "sampling": "even", "frames": 16}
    assert spec.parameters == wanted
    assert Cmmd().requirements().weights == ("clip-vit-l-14-336",)
    assert Cmmd.from_mapping({"weights": "own.safetensors"}).requirements().weights == ()


def _prdc_by_pairs(generated: Rows, reference: Rows, k: int) -> dict[str, float]:
    """The definitions, one pair at a time."""

    def far(a: Any, b: Any) -> float:
        return math.sqrt(sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True)))

    def reach(rows: Rows) -> list[float]:
        return [sorted(far(a, b) for j, b in enumerate(rows) if j != i)[k - 1] for i, a in enumerate(rows)]

    of_real, of_made = reach(reference), reach(generated)
    inside = [[far(g, r) < of_real[i] for i, r in enumerate(reference)] for g in generated]
    return {
        "precision": sum(any(row) for row in inside) / len(generated),
        "recall": sum(any(far(g, r) < of_made[j] for j, g in enumerate(generated)) for r in reference) / len(reference),
        "density": sum(map(sum, inside)) / (k * len(generated)),
        "coverage": sum(min(far(g, r) for g in generated) < of_real[i] for i, r in enumerate(reference))
        / len(reference),
    }


@pytest.mark.parametrize(("k", "shift"), [(1, 0.0), (3, 0.4), (5, 0.9)])
def test_prdc_by_its_definitions(k: int, shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    generated, reference = _rows(41, seed=1, shift=shift), _rows(33)
    expected = _prdc_by_pairs(generated, reference, k)
    assert 0 < expected["precision"] < 1, "the example tells something"
    for block in (7, 1024):
        monkeypatch.setattr(prdc, "BLOCK", block)
        got = {name: getattr(prdc, name)(generated, reference, k) for name in expected}
        assert got == pytest.approx(expected, rel=1e-12)


def test_prdc_of_repeated_samples() -> None:
    """Exact repeats are at distance 0, not at a rounding error: strictly inside no ball of radius 0."""
    reference = np.repeat(_rows(4) + 100, 3, axis=0)
    assert (prdc.radii(reference, 2) == 0).all()
    assert prdc.precision(reference[:2], reference, 2) == 0
    assert prdc.coverage(reference, reference, 3) == 1


@pytest.mark.parametrize("metric", [prdc.Precision, prdc.Recall, prdc.Density, prdc.Coverage])
def test_prdc_metrics_say_what_they_rest_on(metric: Any) -> None:
    made = metric.from_mapping({"nearest": 3})
    generated, reference = _rows(20, seed=1, shift=0.3), _rows(20)
    result = made.compare(_state(made, "i3d", generated), _state(made, "i3d", reference))
    expected = _prdc_by_pairs(generated, reference, 3)[metric.name.removeprefix("prdc_")]
    assert result.value == pytest.approx(expected, rel=1e-12)
    assert (result.details["nearest"], result.details["caution"]) == (3, None)
    few = made.compare(_state(made, "i3d", generated[:3]), _state(made, "i3d", reference[:3]))
    assert "balls reach to neighbour 2 instead of 3" in few.details["caution"]
    assert "3 windows a set for 6 dimensions: below 12 the balls are too wide" in few.details["caution"]


def test_prdc_on_frames_needs_no_download() -> None:
    made = prdc.Coverage.from_mapping({"features": "efficientnet_lite0"})
    assert [spec.name for spec in made.extractor_specs()] == ["efficientnet_lite0"]
    assert made.frames_needed() == 1
    rows = _rows(20, seed=1, shift=0.3), _rows(20)
    result = made.compare(*(_state(made, "efficientnet_lite0", x, per_clip=4) for x in rows))
    assert result.value == pytest.approx(_prdc_by_pairs(*rows, 5)["coverage"])
    with pytest.raises(InputError, match="protocol belongs to the features i3d"):
        prdc.Coverage.from_mapping({"features": "efficientnet_lite0", "protocol": "tf"})


def test_the_line_and_its_sizes() -> None:
    sizes = subsample_sizes(2048, 15, 0.25)
    assert (len(sizes), sizes[0], sizes[-1]) == (15, 512, 2048)
    assert subsample_sizes(3, 15, 0.25) == [2, 3]
    exact = [7.5 + 120 / size for size in sizes]
    assert extrapolated(exact, sizes) == pytest.approx((7.5, 120))
    noisy = np.array(exact) + np.random.default_rng(0).normal(0, 0.1, 15)
    fitted = np.polyfit(1 / np.array(sizes), noisy, 1)
    assert extrapolated(list(noisy), sizes) == pytest.approx((fitted[1], fitted[0]), rel=1e-9)


def test_fvd_infinity_is_nearer_the_truth_than_fvd() -> None:
    """Two Gaussians whose distance is known: equal covariances, means 0.5 apart in each of 12 dimensions."""
    truth, errors = 12 * 0.25, []
    metric = FvdInfinity()
    for seed in range(6):
        rows = [np.asarray(np.random.default_rng((seed, i)).normal(size=(90, 12)) + i / 2, np.float32) for i in (0, 1)]
        states = [_state(metric, "i3d", x) for x in rows]
        result = metric.compare(*states)
        again = metric.compare(*(_state(metric, "i3d", x[::-1]) for x in rows))
        assert result.value == again.value, "the order of clips plays no part"
        assert result.details["at_largest_size"] == pytest.approx(frechet_of(rows[0], rows[1], 0), rel=1e-9)
        errors.append((result.value - truth, frechet_of(rows[0], rows[1], 0) - truth))
    bias = np.mean(errors, axis=0)
    assert bias[1] > 0.5
    assert abs(bias[0]) < bias[1] / 3
    other = FvdInfinity.from_mapping({"seed": 1})
    assert other.compare(*(_state(other, "i3d", x) for x in rows)).value != result.value


def test_histograms_match_the_fvmd_package() -> None:
    """PyPI fvmd 1.0.0's own functions, to the last bit."""
    spec = importlib.util.find_spec("fvmd")
    if spec is None or spec.origin is None:
        pytest.skip("fvmd is not installed: pip install --no-deps fvmd")
    package = types.ModuleType("fvmd")  # its own __init__ imports the tracker and what that needs
    package.__path__ = [str(Path(spec.origin).parent)]
    quiet = types.ModuleType("loguru")
    quiet.logger = None  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "fvmd", package)
        if importlib.util.find_spec("loguru") is None:
            patch.setitem(sys.modules, "loguru", quiet)
        theirs = importlib.import_module("fvmd.extract_motion_features")
        for name in ("fvmd.extract_motion_features", "fvmd.frechet_distance"):
            sys.modules.pop(name, None)
    tracks = np.cumsum(np.random.default_rng(0).normal(0, 3, (5, 16, 400, 2)), axis=1)
    tracks[:, :, :50] = tracks[:, :1, :50]  # points at rest
    tracks[:, 8:, 60:70] += 400  # steps beyond the longest
    for steps in (velocity, shifted_velocity):
        moved = np.stack([steps(one) for one in tracks])
        np.testing.assert_array_equal(np.stack([histogram(one) for one in moved]), theirs.calc_hist(moved))
    # Half of the numbers: their matrix root of all takes half a minute.
    a, b = (np.stack([motion_features(one)[512:] for one in part]) for part in (tracks[:3], tracks[2:]))
    one, other = (add_rows(GaussianState(), x) for x in (a, b))
    mine = frechet_distance(one, other, offset=1e-5)
    statistics = [theirs.calculate_activation_statistics(x.astype(np.float64)) for x in (a, b)]
    with pytest.warns() if _deprecated() else _nothing():
        expected = theirs.calculate_frechet_distance(*statistics[0], *statistics[1])
    assert mine == pytest.approx(float(expected), rel=1e-6)


def _deprecated() -> bool:
    """scipy's sqrtm(disp=) warns before it goes."""
    return scipy.__version__.startswith("1.17")


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


def test_acceleration_is_the_references_shifted_velocity() -> None:
    tracks = np.random.default_rng(0).normal(size=(16, 400, 2))
    steps = velocity(tracks)
    assert (steps[0] == 0).all()
    np.testing.assert_array_equal(shifted_velocity(tracks)[2:], steps[2:])
    assert (shifted_velocity(tracks)[:2] == 0).all()
    with pytest.raises(ValueError, match="30 points are no square grid"):
        histogram(np.zeros((16, 30, 2)))


def test_points_are_followed() -> None:
    """A texture that moves 2 pixels a frame to the right, and one that rests."""
    from vidbench.testing import observe

    noise = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    moving = np.stack([np.roll(noise, 2 * t, axis=1) for t in range(24)])
    seen, resting = observe(LkTracks, moving), observe(LkTracks, np.repeat(moving[:1], 16, axis=0))
    assert isinstance(seen, LkTracksObservation)
    assert isinstance(resting, LkTracksObservation)
    assert seen.starts.tolist() == [0, 8]
    assert (resting.features == 0).all()
    assert (resting.lost, seen.lost < 0.2) == (0, True)
    by_angle = seen.features[0].reshape(2, -1, 8).sum(axis=1)[0]
    assert by_angle[5:7].sum() > 0.95 * by_angle.sum(), "x is 90 degrees of arctan2(x, y): between bins 5 and 6"
    # ceil(log2(2 + 1)) / 8 a step, 400 points and 15 steps; a few points are lost.
    assert by_angle.sum() == pytest.approx(400 * 15 * 2 / 8, rel=0.1)
    assert grid()[0].tolist() == [8, 8]
    assert grid()[-1].tolist() == [248, 248]


def test_short_clips_have_no_windows() -> None:
    from vidbench.testing import observe

    seen = observe(LkTracks, np.zeros((15, 20, 20, 3), np.uint8))
    assert isinstance(seen, LkTracksObservation)
    assert seen.features.shape == (0, 1024)
    assert math.isnan(seen.lost)


@pytest.mark.parametrize("name", SET_METRICS)
def test_without_weights_each_names_the_command(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path / "none"))
    clip = tmp_path / "clips" / "m" / "0.npy"
    clip.parent.mkdir(parents=True)
    np.save(clip, np.zeros((16, 8, 8, 3), np.uint8))
    left_out = {item.metric: item.reason for item in select(discover(tmp_path / "clips"), has_reference=True).left_out}
    assert "vidbench weights fetch " in left_out[name] or "pip install" in left_out[name]
    kind = metrics().load(name)
    assert kind.granularity == "set"


@pytest.mark.parametrize(
    ("metric", "values", "said"),
    [
        (Jedi, {"side": 100}, r"jedi\.side must be 0 or a multiple of 16"),
        (Jedi, {"frames": 15}, r"jedi\.frames must be even"),
        (FvdVideoMae, {"start": "last"}, r"fvd_videomae\.start must be one of first, random, all"),
        (Fid, {"frames": 0}, r"fid\.frames must be at least 1"),
        (FvmdLk, {"stride": 0}, r"fvmd_lk\.stride must be at least 1"),
        (FvdInfinity, {"sizes": 1}, "fvd_infinity wants sizes >= 2"),
        (FvdInfinity, {"smallest": 1.5}, "fvd_infinity wants sizes >= 2"),
        (Cmmd, {"model": ""}, "must name those of the extractor clip_image"),
        (Cmmd, {"frames": 0}, r"cmmd\.frames must be at least 1"),
        (prdc.Recall, {"features": "clip"}, "features must be one of i3d, efficientnet_lite0"),
        (prdc.Recall, {"nearest": 0}, "nearest must be at least 1"),
    ],
)
def test_choices_that_make_no_sense_are_refused(metric: Any, values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        metric.from_mapping(values)


@pytest.mark.parametrize(
    ("metric", "kind"),
    [(Fid(), "inception"), (Fvd(), "i3d"), (Jedi(), "vjepa"), (prdc.Recall(), "i3d"), (FvdInfinity(), "i3d")],
    ids=lambda value: getattr(value, "name", None),
)
def test_unlike_and_small_sets_bring_a_caution(metric: Any, kind: str) -> None:
    rows = _rows(12)
    alike = _state(metric, kind, rows)
    other = _state(metric, kind, rows[:11], fps=24.0, frames=20, width=80)
    said = metric.compare(alike, other).details["caution"]
    for part in ("clips (12 against 11)", "frames (16 against 20)", "fps (8 against 24)", "size (64x48 against 80x48)"):
        assert part in said
    one = _state(metric, kind, rows[:1])
    assert metric.compare(one, alike).reason == "the generated set has 1 clip; 2 are needed"
    assert metric.compare(alike, metric.new_state()).reason == "the reference set has 0 clips; 2 are needed"


@pytest.mark.parametrize("features", [True, False])
def test_states_survive_being_written_down(features: bool) -> None:
    tried: list[tuple[Any, str]] = [(Fvd(), "i3d"), (Jedi(), "vjepa")]
    for metric, kind in tried:
        a = _state(metric, kind, _rows(500, dimensions=400))
        b = _state(metric, kind, _rows(30, seed=1, shift=0.2, dimensions=400))
        packed = metric.pack(a, features=features)
        if isinstance(a, RowSet):
            assert (packed is None) != features
        if packed is not None:
            again = metric.unpack(*packed)
            assert isinstance(again, GaussianSet | RowSet)
            assert again.facts == a.facts
            rel = 0 if features else 1e-9
            assert metric.compare(b, again).value == pytest.approx(metric.compare(b, a).value, rel=rel)
