"""The quality suite names what is installed and nothing else."""

from __future__ import annotations

from vidbench import plugins
from vidbench_suites.quality import QUALITY, WANTED


def test_the_suite_holds_what_is_wanted_and_installed() -> None:
    installed = set(plugins.metrics().names())
    assert list(QUALITY.metrics) == [name for name in WANTED if name in installed]
    assert len(set(WANTED)) == len(WANTED)
    assert {"temporal_quality", "blockiness", "noise", "colourfulness", "frechet_video_distance_lite"} <= set(
        QUALITY.metrics
    )


def test_what_is_required_runs_from_the_base_install_on_any_clip() -> None:
    for name in QUALITY.required:
        metric = plugins.metrics().load(name)
        assert name in QUALITY.metrics
        assert not metric.needs.prompt
        assert metric.granularity == "clip"
        for spec in metric.needs.extractors:
            assert plugins.extractors().load(spec.name).requires.extra is None


def test_diagnostics_are_marked() -> None:
    for name in ("blockiness", "noise", "colourfulness", "sharpness", "exposure", "motion_magnitude"):
        assert plugins.metrics().load(name).diagnostic
