"""Differences, their correction and what they allow to say, against SciPy and by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from vidbench.compare import compare, read_side
from vidbench.errors import InputError
from vidbench.results import FindingRow, ScoreRow

RNG = np.random.default_rng(3)
OLD = {"quality_score": RNG.uniform(0.3, 0.6, 12), "some_error": RNG.uniform(2, 3, 12), "look": RNG.uniform(0, 1, 12)}
NEW = {
    "quality_score": OLD["quality_score"] + RNG.normal(0.1, 0.03, 12),
    "some_error": OLD["some_error"] + RNG.normal(0.2, 0.1, 12),
    "look": OLD["look"] + 0.2,
}


def changes(done, model=0):
    return {change.facts.name: change for change in done.models[model].metrics}


def both(runs, old=OLD, new=NEW, **named):
    folders = [
        runs(name, {"m": {k: list(v) for k, v in values.items()}}, **named)
        for name, values in zip("ab", (old, new), strict=True)
    ]
    return compare(*(read_side(str(folder)) for folder in folders))


def test_the_difference_of_means_is_the_paired_t_test(runs):
    change = changes(both(runs))["quality_score"]
    expected = stats.ttest_rel(NEW["quality_score"], OLD["quality_score"])
    low, high = expected.confidence_interval(0.95)
    assert change.difference == pytest.approx(np.mean(NEW["quality_score"] - OLD["quality_score"]))
    assert (change.low, change.high) == (pytest.approx(low), pytest.approx(high))
    assert change.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert (change.pairs, change.verdict) == (12, "better")


def test_p_values_are_corrected_over_the_metrics_that_judge(runs):
    found = changes(both(runs))
    raw = sorted((found[name].p, name) for name in ("quality_score", "some_error"))
    assert found[raw[0][1]].p_corrected == pytest.approx(min(1, 2 * raw[0][0]))
    assert found[raw[1][1]].p_corrected == pytest.approx(max(2 * raw[0][0], raw[1][0]))
    assert found["look"].p_corrected is None


def test_the_correction_counts_the_tests_of_all_models(runs):
    old, new = ({k: list(v) for k, v in values.items()} for values in (OLD, NEW))
    one = runs("one", dict.fromkeys("abcd", old))
    two = runs("two", dict.fromkeys("abcd", new))
    done = compare(read_side(str(one)), read_side(str(two)))
    smallest = min(changes(done, i)[name].p for i in range(4) for name in ("quality_score", "some_error"))
    assert min(changes(done, i)[n].p_corrected for i in range(4) for n in ("quality_score", "some_error")) == (
        pytest.approx(8 * smallest)
    )


def test_a_larger_error_is_worse_and_a_description_is_neither(runs):
    found = changes(both(runs))
    assert found["some_error"].difference > 0
    assert found["some_error"].verdict == "worse"
    assert found["look"].verdict == "described"


def test_what_could_be_chance_is_not_decided(runs):
    noise = {"quality_score": np.clip(OLD["quality_score"] + RNG.normal(0, 0.1, 12), 0, 1)}
    change = changes(both(runs, {"quality_score": OLD["quality_score"]}, noise, metrics=[runs.quality]))[
        "quality_score"
    ]
    assert change.p > 0.05
    assert change.verdict == "unclear"


def test_equal_scores_are_no_change_and_take_no_part_in_the_correction(runs):
    new = {**NEW, "some_error": OLD["some_error"]}
    found = changes(both(runs, OLD, new))
    assert (found["some_error"].verdict, found["some_error"].p, found["some_error"].difference) == ("same", None, 0.0)
    assert found["quality_score"].p_corrected == found["quality_score"].p


def test_only_pairs_that_both_sides_scored_enter(runs):
    old = {"quality_score": ["too short", 0.2, 0.3, 0.4, 0.9]}
    new = {"quality_score": [0.9, 0.3, 0.4, 0.5, "too dark"]}
    done = both(runs, old, new, metrics=[runs.quality])
    change = changes(done)["quality_score"]
    assert (change.pairs, change.before, change.after) == (3, pytest.approx(0.3), pytest.approx(0.4))
    coverage = done.models[0].coverage[0]
    assert (coverage.before, coverage.after, coverage.pairs) == (4, 4, 5)
    assert coverage.lost == (("m/04.mp4", "too dark"),)
    assert coverage.won == (("m/00.mp4", "too short"),)


def test_a_metric_that_scored_no_pair_says_so(runs):
    change = changes(both(runs, {"quality_score": ["no"] * 3}, {"quality_score": [0.1] * 3}, metrics=[runs.quality]))
    assert (change["quality_score"].verdict, change["quality_score"].difference) == ("none", None)
    assert change["quality_score"].method == "no pair of clips has both scores"


def test_clips_of_one_prompt_count_as_one_witness(runs):
    # Twelve clips of two prompts are two witnesses, however many clips say it.
    alone = changes(both(runs))["quality_score"]
    (runs.folder / "a").rename(runs.folder / "c")
    (runs.folder / "b").rename(runs.folder / "d")
    change = changes(both(runs, prompts=lambda i: f"prompt {i % 2}"))["quality_score"]
    assert change.difference == alone.difference
    assert change.p > 100 * alone.p
    assert change.verdict == "unclear"


@pytest.mark.parametrize(
    ("values", "spans", "note", "verdict"),
    [
        ((30.0, 20.0), ((28.0, 32.0), (18.0, 22.0)), None, "better"),
        ((20.0, 30.0), ((18.0, 22.0), (28.0, 32.0)), None, "worse"),
        ((30.0, 20.0), ((15.0, 45.0), (18.0, 22.0)), None, "unclear"),
        ((30.0, 20.0), ((None, None), (18.0, 22.0)), None, "unclear"),
        ((30.0, 20.0), ((28.0, 32.0), (18.0, 22.0)), "mostly sampling error", "unclear"),
        ((20.0, 20.0), ((18.0, 22.0), (18.0, 22.0)), None, "same"),
    ],
)
def test_a_set_metric_is_judged_by_its_intervals(runs, values, spans, note, verdict):
    folders = []
    for name, value, (low, high) in zip("ab", values, spans, strict=True):
        details = {"clips": 3, "low": low, "high": high, "interval": "jackknife", "caution": note}
        sets = [ScoreRow("m", None, "set_distance", value, details=details)]
        folders.append(runs(name, {"m": {"quality_score": [0.1, 0.2, 0.3]}}, [runs.quality, runs.distance], sets=sets))
    change = changes(compare(*(read_side(str(f)) for f in folders)))["set_distance"]
    assert change.verdict == verdict
    assert change.difference == values[1] - values[0]
    assert change.note == note


CHANGED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "version": ({"version": "2"}, {}, "version: 1 before, 2 after"),
    "protocol": ({"protocol": "other"}, {}, "protocol: plain before, other after"),
    "parameter": ({"parameters": {"limit": 4}}, {}, "parameter limit: 3 before, 4 after"),
    "weights": ({"weights": {"eye": "sha256:bb"}}, {}, "weights of eye: sha256:aa before, sha256:bb"),
    "extractor": ({"extractors": ("eye-2-abc",)}, {}, "extractors: eye-1-abc before, eye-2-abc after"),
    "direction": ({"higher_is_better": False}, {}, "better: higher before, lower after"),
    "package": ({"distribution": "mine 1"}, {}, "package: vidbench before, mine after"),
    "fps": ({}, {"settings": {"fps": 12.0}}, "--fps: none before, 12.0 after"),
    "suite": ({}, {"suite": "s", "suite_hash": "222"}, "suite: s 111 before, s 222 after"),
}


@pytest.mark.parametrize("what", CHANGED)
def test_other_settings_are_refused_with_the_difference_named(runs, what):
    facts, info, told = CHANGED[what]
    first: dict[str, Any] = {"suite": "s", "suite_hash": "111"} if what == "suite" else {}
    first["settings"] = {"fps": None}
    info = {"settings": {"fps": None}, **info}
    sides = [
        read_side(str(runs(name, {"m": {"quality_score": [0.1, 0.2]}}, [metric], **named)))
        for name, metric, named in (("a", runs.quality, first), ("b", replace(runs.quality, **facts), info))
    ]
    with pytest.raises(InputError, match=r"no metric of .* was computed alike") as refused:
        compare(*sides)
    assert told in str(refused.value)
    shown = compare(*sides, allow_mixed=True)
    change = changes(shown)["quality_score"]
    assert (change.verdict, change.difference, change.p) == ("mixed", None, None)
    assert (change.before, change.after) == (pytest.approx(0.15), pytest.approx(0.15))
    assert told in "; ".join(shown.refused[0].reasons)


def test_one_refused_metric_leaves_the_others(runs):
    values = {name: [0.1, 0.2, 0.4] for name in ("quality_score", "some_error")}
    one = runs("a", {"m": values}, [runs.quality, runs.error])
    two = runs("b", {"m": values}, [replace(runs.quality, protocol="other"), runs.error])
    done = compare(read_side(str(one)), read_side(str(two)))
    assert list(changes(done)) == ["some_error"]
    assert [(r.metric, r.reasons) for r in done.refused] == [
        ("quality_score", ("protocol: plain before, other after",))
    ]
    mixed = compare(read_side(str(one)), read_side(str(two)), allow_mixed=True)
    assert {name: change.verdict for name, change in changes(mixed).items()} == {
        "some_error": "same",
        "quality_score": "mixed",
    }


def test_another_reference_set_refuses_set_metrics_only(runs):
    sets = [ScoreRow("m", None, "set_distance", 3.0, details={"clips": 2})]
    folders = [
        runs(
            name,
            {"m": {"quality_score": [0.1, 0.2]}},
            [runs.quality, runs.distance],
            sets=sets,
            reference=name,
            settings={"reference_id": name},
        )
        for name in "ab"
    ]
    done = compare(*(read_side(str(f)) for f in folders))
    assert list(changes(done)) == ["quality_score"]
    assert done.refused[0].reasons == ("reference set: a before, b after",)


def test_a_metric_of_one_run_is_named(runs):
    one = runs("a", {"m": {"quality_score": [0.1, 0.2]}}, [runs.quality])
    two = runs("b", {"m": {"quality_score": [0.1, 0.2], "look": [0.1, 0.2]}}, [runs.quality, runs.look])
    done = compare(read_side(str(one)), read_side(str(two)))
    assert [(s.metric, s.side) for s in done.single] == [("look", "after")]
    with pytest.raises(InputError, match="no metric in common"):
        compare(read_side(str(one)), read_side(str(runs("c", {"m": {"look": [0.1, 0.2]}}, [runs.look]))))


def test_clips_that_moved_are_listed_in_both_directions(runs):
    old: dict[str, list[float]] = {
        "quality_score": [0.5, 0.5, 0.5, 0.5],
        "some_error": [2.0, 2.0, 2.0, 2.0],
        "look": [0, 0, 0, 0],
    }
    new: dict[str, list[float]] = {
        "quality_score": [0.9, 0.5, 0.4, 0.5],
        "some_error": [2.0, 2.0, 2.0, 4.0],
        "look": [1, 1, 1, 1],
    }
    moves = both(runs, old, new).models[0].moved
    quality = np.std([*old["quality_score"], *new["quality_score"]])
    error = np.std([*old["some_error"], *new["some_error"]])
    assert [(m.pair.after.clip, m.metric, m.spreads) for m in moves] == [
        ("m/03.mp4", "some_error", pytest.approx(-2 / error)),
        ("m/02.mp4", "quality_score", pytest.approx(-0.1 / quality)),
        ("m/00.mp4", "quality_score", pytest.approx(0.4 / quality)),
    ]


def finding(clip, start, end, kind="flicker", metric="quality_score", confidence=0.9):
    return FindingRow("m", clip, metric, kind, start, end, None, None, f"{kind} at {start}", confidence)


def test_findings_that_came_and_went(runs):
    values = {"m": {"quality_score": [0.1, 0.2]}}
    old = [finding("m/00.mp4", 3, 6), finding("m/01.mp4", 1, 2), finding("m/01.mp4", 1, 2, metric="gone_metric")]
    new = [
        finding("m/00.mp4", 8, 9, confidence=None),  # two frames on: the same one
        finding("m/01.mp4", 1, 2, kind="teleport"),
        finding("m/01.mp4", 9, 9, confidence=0.95),
    ]
    one = runs("a", values, [runs.quality], findings=old)
    two = runs("b", values, [runs.quality], findings=new)
    found = compare(read_side(str(one)), read_side(str(two))).models[0].findings
    assert [(c.new, c.finding.clip, c.finding.kind, c.finding.start) for c in found] == [
        (True, "m/01.mp4", "flicker", 9),
        (True, "m/01.mp4", "teleport", 1),
        (False, "m/01.mp4", "flicker", 1),
    ]


@pytest.mark.parametrize(("start", "end", "same"), [(8, 9, True), (9, 9, False), (0, 1, True), (0, 0, False)])
def test_a_finding_up_to_two_frames_away_is_the_same(runs, start, end, same):
    values = {"m": {"quality_score": [0.1]}}
    one = runs("a", values, [runs.quality], findings=[finding("m/00.mp4", 3, 6)])
    two = runs("b", values, [runs.quality], findings=[finding("m/00.mp4", start, end)])
    found = compare(read_side(str(one)), read_side(str(two))).models[0].findings
    assert (found == ()) == same


def test_two_findings_do_not_share_a_partner(runs):
    values = {"m": {"quality_score": [0.1]}}
    one = runs("a", values, [runs.quality], findings=[finding("m/00.mp4", 3, 6)])
    two = runs("b", values, [runs.quality], findings=[finding("m/00.mp4", 3, 4), finding("m/00.mp4", 5, 6)])
    found = compare(read_side(str(one)), read_side(str(two))).models[0].findings
    assert [(c.new, c.finding.start) for c in found] == [(True, 5)]


def test_pairs_of_other_length_or_size_are_pointed_at(runs):
    one = runs("a", {"m": {"quality_score": [0.1, 0.2]}}, [runs.quality])
    two = runs("b", {"m": {"quality_score": [0.1, 0.2]}}, [runs.quality], clip={"frames": 24, "width": 128})
    notes = compare(read_side(str(one)), read_side(str(two))).models[0].notes
    assert "2 pairs of 2 differ in number of frames (the first: 16 and 24)" in notes[0]
    assert "2 pairs of 2 differ in size (the first: 64×48 and 128×48)" in notes[1]
    assert "2 pairs of 2 are the same file twice" in notes[2]
