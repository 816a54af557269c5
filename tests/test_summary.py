"""From rows to model values: coverage adds up, direction decides ranks, unscored is never a zero."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vidbench import wording
from vidbench.results import ClipRow, MetricFacts, ScoreRow, TotalScore, from_json, to_json
from vidbench.suite import Term, Total
from vidbench.summary import summarise

FACTS = MetricFacts(
    name="quality_score",
    version="1",
    summary="",
    reference="",
    protocol="",
    higher_is_better=True,
    unit="1",
    value_range=(0.0, 1.0),
    granularity="clip",
    aggregation="mean",
    diagnostic=False,
    parameters={},
    extractors=(),
    weights={},
)
ERROR = replace(FACTS, name="some_error", higher_is_better=False, value_range=(0.0, None))


def rows(model, values, metric="quality_score"):
    clips = [ClipRow(f"{model}/{i}.mp4", model, "scored", prompt=f"prompt {i}") for i in range(len(values))]
    scores = [
        ScoreRow(model, c.clip, metric, v if not isinstance(v, str) else None, v if isinstance(v, str) else None)
        for c, v in zip(clips, values, strict=True)
    ]
    return clips, scores


def test_unscored_clips_are_counted_with_their_reasons_and_stay_out_of_the_mean():
    clips, scores = rows("a", [0.2, "too short", 0.4, "too short", "no prompt"])
    score = summarise(clips, scores, [FACTS]).score("a", "quality_score")
    assert score.value == pytest.approx(0.3)
    assert (score.n_scored, score.n_unscored) == (2, 3)
    assert dict(score.reasons) == {"too short": 2, "no prompt": 1}


def test_a_model_without_any_score_has_a_reason_and_no_rank():
    (good, good_scores), (bad, bad_scores) = rows("a", [0.2, 0.3]), rows("b", ["too short", "too short"])
    summary = summarise([*good, *bad], [*good_scores, *bad_scores], [FACTS])
    score = summary.score("b", "quality_score")
    assert (score.value, score.rank, score.reason) == (None, None, "too short")
    assert [(o.model, o.rank) for o in summary.overall] == [("a", 1), ("b", None)]


def test_to_be_unscorable_does_not_pay():
    (whole, whole_scores), (part, part_scores) = rows("whole", [0.5, 0.6]), rows("part", [0.9, 0.8])
    other = replace(FACTS, name="other_score")
    (_, more), (_, less) = (
        rows("whole", [0.7, 0.7], "other_score"),
        rows("part", ["too short", "too short"], "other_score"),
    )
    summary = summarise([*whole, *part], [*whole_scores, *part_scores, *more, *less], [FACTS, other])
    means = {o.model: (o.mean_rank, o.metrics) for o in summary.overall}
    assert means == {"whole": (1.5, 2), "part": (1.5, 2)}


def test_direction_decides_who_is_first():
    low, low_scores = rows("low", [0.1, 0.12, 0.11])
    high, high_scores = rows("high", [0.9, 0.92, 0.91])
    up = summarise([*low, *high], [*low_scores, *high_scores], [FACTS])
    assert up.models == ("high", "low")
    as_error = [replace(s, metric="some_error") for s in [*low_scores, *high_scores]]
    down = summarise([*low, *high], as_error, [ERROR])
    assert down.models == ("low", "high")
    assert [(s.rank_low, s.rank_high) for s in down.scores if s.model == "low"] == [(1, 1)]


def test_descriptive_metrics_do_not_enter_the_overall_ranking():
    a, a_scores = rows("a", [0.1, 0.2])
    b, b_scores = rows("b", [0.8, 0.9])
    described = replace(FACTS, name="sharpness", diagnostic=True)
    scores = [
        *a_scores,
        *b_scores,
        *[replace(s, metric="sharpness", value=1 - s.value) for s in [*a_scores, *b_scores]],
    ]
    overall = {o.model: o for o in summarise([*a, *b], scores, [FACTS, described]).overall}
    assert (overall["b"].rank, overall["b"].metrics) == (1, 1)


def test_skipped_files_count_for_nothing_and_failed_clips_count_as_unscored():
    clips, scores = rows("a", [0.2, 0.4])
    clips += [ClipRow("a/notes.txt", "a", "skipped", "not a clip"), ClipRow("a/9.mp4", "a", "failed", "empty file")]
    scores.append(ScoreRow("a", "a/9.mp4", "quality_score", None, "clip failed: empty file"))
    score = summarise(clips, scores, [FACTS]).score("a", "quality_score")
    assert (score.n_scored, score.n_unscored) == (2, 1)


def test_a_set_score_carries_its_own_interval_and_the_reference_itself_is_not_ranked():
    facts = replace(FACTS, name="set_distance", higher_is_better=False, granularity="set", aggregation="set")
    clips = [*rows("a", [1.0, 1.0])[0], *rows("truth", [1.0, 1.0])[0]]
    scores = [
        ScoreRow("a", None, "set_distance", 5.0, None, {"clips": 2, "low": 4.0, "high": 6.0, "interval": "jackknife"}),
        ScoreRow(
            "truth", None, "set_distance", 0.0, None, {"clips": 2, "note": "all of its clips are in the reference"}
        ),
    ]
    summary = summarise(clips, scores, [facts])
    a, truth = summary.score("a", "set_distance"), summary.score("truth", "set_distance")
    assert (a.low, a.high, a.interval, a.rank, a.n_scored, a.n_unscored) == (4.0, 6.0, "jackknife", 1, 2, 0)
    assert (truth.rank, truth.value) == (None, 0.0)
    assert [(o.model, o.metrics) for o in summary.overall] == [("a", 1), ("truth", 0)]


def test_the_reference_set_is_a_yardstick_and_a_metric_that_prefers_others_to_it_is_named():
    truth, truth_scores = rows("truth", [0.5, 0.51, 0.52])
    smooth, smooth_scores = rows("smooth", [0.9, 0.91, 0.92])
    rough, rough_scores = rows("rough", [0.1, 0.11, 0.12])
    clips, scores = [*truth, *smooth, *rough], [*truth_scores, *smooth_scores, *rough_scores]
    summary = summarise(clips, scores, [FACTS], yardsticks={"truth"})
    assert [(o.model, o.rank, o.note is None) for o in summary.overall] == [
        ("smooth", 1, True),
        ("rough", 2, True),
        ("truth", None, False),
    ]
    assert summary.score("truth", "quality_score").value == pytest.approx(0.51)
    (warning,) = summary.warnings
    assert "quality_score puts smooth above the real clips (truth)" in warning
    assert summarise(clips, scores, [FACTS]).warnings == ()


def test_a_caution_bars_from_the_ranking_and_a_remark_does_not():
    """Both stand as footnotes."""
    facts = replace(FACTS, name="set_distance", higher_is_better=False, granularity="set", aggregation="set")
    clips = [row for model in ("plain", "told", "barred") for row in rows(model, [1.0, 1.0])[0]]
    details = {"plain": {}, "told": {"remark": "of 9 frames"}, "barred": {"remark": "of 9 frames", "caution": "few"}}
    values = {"plain": 5.0, "told": 4.0, "barred": 1.0}
    scores = [
        ScoreRow(model, None, "set_distance", values[model], None, {"clips": 2, **more})
        for model, more in details.items()
    ]
    summary = summarise(clips, scores, [facts])
    found = {model: summary.score(model, "set_distance") for model in details}
    assert {model: score.rank for model, score in found.items()} == {"plain": 2, "told": 1, "barred": None}
    assert {m: s.footnote for m, s in found.items()} == {
        "plain": None,
        "told": "of 9 frames",
        "barred": "few; of 9 frames",
    }
    assert set(wording.notes(summary)) == {
        ("told in set_distance", "of 9 frames"),
        ("barred in set_distance", "few; of 9 frames"),
    }


def test_a_total_is_a_weighted_mean_and_a_missing_metric_is_named_not_zero():
    other = replace(FACTS, name="other_score")
    total = Total("mean of two", {"quality_score": Term(0.2, 0.6), "other_score": Term(0.0, 0.5, weight=3.0)}, "rule")
    (clips, scores), (_, more) = rows("a", [0.4, 0.4]), rows("a", [0.6, 0.8], "other_score")
    (lone, lone_scores), (_, unscored) = rows("b", [0.3]), rows("b", ["no prompt"], "other_score")
    summary = summarise(
        [*clips, *lone],
        [*scores, *more, *lone_scores, *unscored],
        [FACTS, other],
        total=total,
        left_out={"third_score": "needs prompts"},
    )
    whole, part = sorted(summary.totals, key=lambda t: t.model)
    # (0.4 - 0.2) / 0.4 = 0.5, and 0.7 / 0.5 = 1.4 with a weight of 3.
    assert whole.value == whole.partial == pytest.approx((0.5 + 3 * 1.4) / 4)
    assert whole.clamped == pytest.approx((0.5 + 3 * 1.0) / 4)
    assert (dict(whole.missing), part.value, part.clamped) == ({}, None, None)
    assert part.partial == pytest.approx(0.25)
    assert dict(part.missing) == {"other_score": "no prompt"}
    assert wording.totals(summary) == [
        "mean of two of a: 1.1750 (0.8750 with each part cut to 0 … 1)",
        "mean of two of b: none, because other_score is missing; 0.2500 over the 1 of 2 that have a value",
        "rule",
        "missing other_score: no prompt",
    ]
    assert wording.totals(summarise(clips, scores, [FACTS])) == []


def test_a_total_of_nothing_has_no_value_and_survives_being_stored():
    clips, scores = rows("a", ["too short"])
    total = Total("mean", {"quality_score": Term(0.0, 1.0), "third_score": Term(0.0, 1.0)}, "rule")
    summary = summarise(clips, scores, [FACTS], total=total, left_out={"third_score": "needs prompts"})
    (found,) = summary.totals
    assert (found.value, found.clamped, found.partial) == (None, None, None)
    assert dict(found.missing) == {"quality_score": "too short", "third_score": "needs prompts"}
    assert from_json(TotalScore, to_json(found)) == found


@pytest.mark.parametrize(("needs", "flagged"), [((), ["frozen"]), (("prompt",), ["frozen", "wrong-prompt"])])
def test_a_wrong_prompt_is_held_against_metrics_that_read_prompts(needs, flagged):
    facts = replace(FACTS, needs=needs)
    parts = [
        rows("real", [0.2, 0.3, 0.2]),
        *(rows(f"baseline:{n}", [0.8, 0.9, 0.8]) for n in ("frozen", "wrong-prompt")),
    ]
    summary = summarise([c for clips, _ in parts for c in clips], [s for _, scores in parts for s in scores], [facts])
    assert [flag.baseline for flag in summary.flags] == flagged
    assert all((flag.above, flag.certain) == (("real",), ("real",)) for flag in summary.flags)
    assert [(o.model, o.rank) for o in summary.overall if o.rank is not None] == [("real", 1)]
