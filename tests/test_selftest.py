"""The self-test tells metrics that see from metrics that are blind."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from vidbench import selftest
from vidbench.plugins import metrics
from vidbench.selftest import Claim, Report

BLIND = """
from vidbench.metric import ClipMetric, ExtractorSpec, Needs, NoParameters, Score

class Blind(ClipMetric[NoParameters]):
    name = "blind"
    version = "1"
    summary = "always says one"
    reference = "nobody"
    protocol = "none"
    higher_is_better = True
    unit = "1"
    value_range = (0.0, 1.0)
    aggregation = "mean"
    needs = Needs(extractors=(ExtractorSpec("frame_statistics"),))
    responds_to = ("freeze",)
    sees = ("reversed",)

    def score(self, observations, clip):
        return Score(0.5) if "reversed" in clip.id else Score(1.0)
"""


@pytest.fixture
def few(monkeypatch) -> None:
    monkeypatch.setattr(selftest, "SCENES", 2)


def test_metrics_that_see_pass(few, tmp_path):
    report = selftest.selftest(tmp_path, ["frozen_frames", "temporal_flickering", "psnr"], jobs=1)
    found = {(c.metric, c.broken): c for c in report.claims}
    assert set(found) == {
        ("frozen_frames", "freeze"),
        ("psnr", "blur"),
        ("psnr", "noise"),
        *(("temporal_flickering", name) for name in ("flicker", "noise", "shuffle")),
    }
    assert all(claim.outcome == "seen" for claim in report.claims)
    assert report.passed
    frozen = found["frozen_frames", "freeze"]
    assert frozen.good < 0.1 < 0.7 < frozen.bad


def test_events_are_tested_on_baselines(few, tmp_path):
    report = selftest.selftest(tmp_path, ["continuity"], jobs=1)
    assert [(c.broken, c.outcome) for c in report.claims] == [("shuffled", "seen"), ("teleport", "seen")]
    assert all(claim.good - claim.bad > 0.3 for claim in report.claims)


def test_a_blind_metric_fails_and_the_command_says_so(vidbench, install_plugin: Callable[[str, str, str], None]):
    install_plugin("blind-metric", BLIND, "[vidbench.metrics]\nblind = blind_metric:Blind\n")
    done = vidbench("selftest", "--metrics", "blind,frozen_frames", "-j", 1)
    assert done.returncode == 1
    assert re.search(r"blind ↑ *│ freeze +│ +1 │ +1 │ fails: not worse", done.stdout)
    assert re.search(r"blind ↑ *│ reversed +│ +1\.000 │ +0\.500 │ holds", done.stdout)
    assert re.search(r"frozen_frames ↓ *│ freeze .*│ holds", done.stdout)
    assert "2 of 3 claims of 2 metrics hold" in done.stdout


def test_what_cannot_run_is_named_and_not_counted(vidbench):
    done = vidbench("selftest", "--metrics", "background_consistency,aesthetic_quality", "-j", 1)
    assert done.returncode == 1
    assert re.search("not tested: background_consistency: .*(weights clip-vit-b-32|vidbench\\[models\\])", done.stdout)
    assert "not tested: aesthetic_quality: they do not state what they see" in done.stdout
    assert "nothing could be tested" in done.stderr


def test_an_unknown_metric_is_wrong_use(vidbench):
    done = vidbench("selftest", "--metrics", "frozen_frame")
    assert done.returncode == 2
    assert "frozen_frames" in done.stderr


@pytest.mark.parametrize(
    ("outcomes", "passed"),
    [
        (["seen", "not tested"], True),
        (["seen", "missed"], False),
        (["seen", "unscored"], False),
        (["not tested"], False),
    ],
)
def test_one_claim_that_fails_fails_all(outcomes, passed):
    assert Report(tuple(Claim("m", "freeze", outcome) for outcome in outcomes), ()).passed is passed


def test_the_baselines_that_metrics_name_exist():
    from vidbench.baselines import BASELINES

    named = {name for metric in metrics().load_all().values() for name in metric.sees}
    assert named
    assert named <= set(BASELINES)
