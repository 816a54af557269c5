"""VBench's totals against published rows, and the suite of dimensions that take any clip."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidbench import plugins
from vidbench.errors import PluginError
from vidbench.results import load_run
from vidbench.run.engine import Request, execute
from vidbench.suite import Suite, Term, Total
from vidbench_suites.vbench import DIMENSIONS, QUALITY, SEMANTIC, VBENCH_CUSTOM, totals

COLUMNS = (
    "subject_consistency",
    "background_consistency",
    "temporal_flickering",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
    "object_class",
    "multiple_objects",
    "human_action",
    "color",
    "spatial_relationship",
    "scene",
    "appearance_style",
    "temporal_style",
    "overall_consistency",
)
# Rows of VBench's leaderboard as Show-o2 prints them (arXiv 2506.15564v3, table of text-to-video results), in per cent:
# Total, Quality, Semantic; then the dimensions in the order of COLUMNS.
PUBLISHED = {
    "VideoCrafter-2.0": "80.44 82.20 73.42 96.85 98.22 98.41 97.73 42.50 63.13 67.22 92.55 "
    "40.66 95.00 92.92 35.86 55.29 25.13 25.84 28.23",
    "CogVideoX-5B": "81.61 82.75 77.04 96.23 96.52 98.66 96.92 70.97 61.98 62.90 85.23 "
    "62.11 99.40 82.81 66.35 53.20 24.91 25.38 27.59",
    "Kling": "81.85 83.39 75.68 98.33 97.60 99.30 99.40 46.94 61.21 65.62 87.24 "
    "68.05 93.40 89.90 73.03 50.86 19.62 24.17 26.42",
    "Gen-3": "82.32 84.11 75.17 97.10 96.62 98.61 99.23 60.14 63.34 66.82 87.81 "
    "53.64 96.40 80.90 65.09 54.57 24.31 24.71 26.69",
    "Pika-1.0": "80.69 82.92 71.77 96.94 97.36 99.74 99.50 47.50 62.04 61.87 88.72 "
    "43.08 86.20 90.57 61.03 49.83 22.26 24.22 25.94",
}


def row(name: str) -> tuple[list[float], dict[str, float]]:
    numbers = [float(number) for number in PUBLISHED[name].split()]
    return numbers[:3], dict(zip(COLUMNS, (number / 100 for number in numbers[3:]), strict=True))


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_rows_are_reproduced(model: str) -> None:
    """To the rounding of the table: half a hundredth in each dimension makes 0.9 hundredths of Quality at most."""
    (total, quality, semantic), values = row(model)
    found = totals(values)
    assert 100 * found.total == pytest.approx(total, abs=0.013)
    assert 100 * found.quality == pytest.approx(quality, abs=0.014)
    assert 100 * found.semantic == pytest.approx(semantic, abs=0.014)


def test_one_row_is_exact_to_the_last_published_digit() -> None:
    found = totals(row("VideoCrafter-2.0")[1])
    assert [f"{100 * x:.2f}" for x in (found.total, found.quality, found.semantic)] == ["80.44", "82.20", "73.42"]


def test_clamping_changes_only_what_lies_beyond_the_bounds() -> None:
    _, values = row("Kling")
    assert totals(values, clamp=True) == totals(values)
    smooth = {**values, "motion_smoothness": 1.0}
    beyond = (1.0 - 0.706) / (0.9975 - 0.706) - 1
    assert totals(smooth).quality - totals(smooth, clamp=True).quality == pytest.approx(beyond / 6.5)


def test_the_dimensions_are_vbenchs() -> None:
    assert list(DIMENSIONS) and set(DIMENSIONS) == set(COLUMNS)
    assert (len(QUALITY), len(SEMANTIC)) == (7, 9)
    assert sum(term.weight for term in QUALITY.values()) == 6.5
    assert QUALITY["motion_smoothness"].normalised(0.9975) == 1
    assert QUALITY["subject_consistency"].normalised(0.1462) == 0


def test_the_suites_hash_depends_on_its_total_and_other_hashes_stay() -> None:
    plain = Suite("x", "1", "", {"exposure": {}})
    weighed = [
        Suite("x", "1", "", {"exposure": {}}, total=Total("t", {"exposure": Term(0, high)}, "r")) for high in (1.0, 2.0)
    ]
    assert len({suite.hash() for suite in (plain, *weighed)}) == 3
    assert plain.hash() == "a65445b0aa409d71"  # as before suites had totals


class Quiet:
    def selected(self, *_: Any) -> None: ...
    def begins(self, *_: Any) -> None: ...
    def clip_done(self, *_: Any) -> None: ...
    def finalising(self, *_: Any) -> None: ...


def run(clips: Path, out: Path, **options: Any) -> Any:
    return execute(Request(clips=clips, out=out, jobs=1, cache=False, **options), Quiet())


def test_without_weights_the_suite_says_what_is_missing_and_gives_no_total(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path / "none"))
    result = run(small_folder, tmp_path / "out", suite="vbench-custom")
    summary = load_run(tmp_path / "out").summary
    assert summary is not None
    assert {total.model for total in summary.totals} == {"a", "b"}
    flickering = {s.model: s.value for s in summary.scores if s.metric == "temporal_flickering"}
    for total in summary.totals:
        assert (total.name, total.value, total.clamped) == ("VBench quality", None, None)
        assert set(total.terms) == {"temporal_flickering"}
        assert total.partial == pytest.approx((flickering[total.model] - 0.6293) / (1 - 0.6293))
        assert set(total.missing) == set(QUALITY) - {"temporal_flickering"}
    if importlib.util.find_spec("torchvision") is not None:
        missing = summary.totals[0].missing
        for metric, weights in (
            ("subject_consistency", "dino-vit-b-16"),
            ("motion_smoothness", "amt-s"),
            ("dynamic_degree", "raft"),
            ("imaging_quality", "musiq-spaq"),
        ):
            assert f"vidbench weights fetch {weights}" in missing[metric]
    assert result.selection.suite == "vbench-custom"


def test_what_a_suite_names_and_nobody_brings_is_left_out_with_the_reason(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = Suite(
        "s",
        "1",
        "",
        {"exposure": {}, "no_such": {}},
        total=Total("mean", {"exposure": Term(0, 1), "no_such": Term(0, 1)}, ""),
    )
    real = plugins.suites().load
    monkeypatch.setattr(plugins.Registry, "load", _also({"s": suite}, plugins.Registry.load))
    run(small_folder, tmp_path / "out", suite="s")
    loaded = load_run(tmp_path / "out")
    assert [(left.metric, left.reason) for left in loaded.info.left_out] == [
        ("no_such", "no installed package brings it")
    ]
    assert loaded.summary is not None
    assert set(loaded.summary.totals[0].missing) == {"no_such"}
    with pytest.raises(PluginError, match="no_such"):
        run(small_folder, tmp_path / "other", suite="s", metrics=("no_such",))
    assert real("frames").total is None


def _also(suites: dict[str, Suite], load: Any) -> Any:
    return lambda registry, name: suites[name] if name in suites else load(registry, name)


@pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None,
    reason="torchvision is not installed: pip install 'vidbench[models]'",
)
def test_with_weights_the_total_is_the_published_mean(
    tmp_path: Path, vbench_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the whole run, with random weights; workers are processes, so with networks of their published size."""
    own = {name: QUALITY[name] for name in ("temporal_flickering", "motion_smoothness", "dynamic_degree")}
    suite = Suite("own", "1", "", {name: {} for name in own}, total=Total("VBench quality", own, "rule"))
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(vbench_weights))
    monkeypatch.setattr(plugins.Registry, "load", _also({"own": suite}, plugins.Registry.load))
    clips = tmp_path / "clips" / "m"
    clips.mkdir(parents=True)
    from vidbench.testing import synthetic_clips

    for number, clip in enumerate(synthetic_clips(1, frames=3, height=122, width=126)):
        np.save(clips / f"{number}.npy", clip)
    run(tmp_path / "clips", tmp_path / "out", suite="own")
    summary = load_run(tmp_path / "out").summary
    assert summary is not None
    (total,) = summary.totals
    assert dict(total.missing) == {}
    expected = 0.0
    for name, term in own.items():
        score = summary.score("m", name)
        assert score is not None
        assert score.value is not None
        expected += term.weight * (score.value - term.low) / (term.high - term.low)
    assert total.value == total.partial == pytest.approx(expected / 2.5)
    assert total.clamped is not None


def test_the_registered_suite_is_this_one() -> None:
    assert plugins.suites().load("vbench-custom") is VBENCH_CUSTOM
    assert set(VBENCH_CUSTOM.metrics) == set(QUALITY)
