"""From rows to comparable estimates: which clips pair, and how set metrics do."""

from __future__ import annotations

import pytest
import scipy.stats

from vidbench.estimates import MetricRows
from vidbench.results import ClipRow, MetricFacts, ScoreRow

FACTS = MetricFacts("m", "1", "", "", "", True, "1", (None, None), "clip", "mean", False, {}, (), {})
SETS = MetricFacts("d", "1", "", "", "", False, "1", (0.0, None), "set", "set", False, {}, (), {})
A, B = [0.1, 0.5, 0.3, 0.9], [0.2, 0.55, 0.45, 1.0]
SHIFT = [0.5, -0.4, 0.3, -0.2, 0.1, -0.3, 0.2, -0.2]


def clip_rows(prompted: bool) -> MetricRows:
    clips = {
        f"{model}/{i}.mp4": ClipRow(f"{model}/{i}.mp4", model, "scored", prompt=f"p{i}" if prompted else None)
        for model in "ab"
        for i in range(4)
    }
    rows = {m: [ScoreRow(m, f"{m}/{i}.mp4", "m", v) for i, v in enumerate(x)] for m, x in (("a", A), ("b", B))}
    return MetricRows(FACTS, rows, clips)


def test_clips_pair_by_prompt_and_stand_alone_without():
    paired, apart = (clip_rows(prompted).differences(["a", "b"])["a", "b"] for prompted in (True, False))
    assert (paired.shared, apart.shared) == (4, 0)
    assert paired.p == pytest.approx(scipy.stats.ttest_rel(A, B).pvalue)
    assert apart.p > 0.3


def set_rows(prompts_of_b, details):
    clips = {f"a{i}": ClipRow(f"a{i}", "a", "scored", prompt=f"p{i}") for i in range(8)}
    clips |= {f"b{i}": ClipRow(f"b{i}", "b", "scored", prompt=f"{prompts_of_b}{i}") for i in range(8)}
    values = {"a": 10.0, "b": 9.0}
    rows = {m: [ScoreRow(m, None, "d", v, None, details(v))] for m, v in values.items()}
    return MetricRows(SETS, rows, clips)


def jackknifed(value):
    moved = [value + s + 0.01 * i for i, s in enumerate(SHIFT)] if value < 10 else [value + s for s in SHIFT]
    return {"low": value - 1.0, "high": value + 1.0, "left_out": moved}


def test_set_distances_of_the_same_prompts_are_paired_by_their_groups():
    same = set_rows("p", jackknifed).differences(["a", "b"])["a", "b"]
    other = set_rows("q", jackknifed).differences(["a", "b"])["a", "b"]
    assert same.value == other.value == 1.0
    assert same.p < 1e-4 < 0.1 < other.p
    assert (same.shared, other.shared) == (8, 0)


def test_set_distances_without_kept_groups_count_as_independent():
    rows = set_rows("p", lambda value: {"low": value - 1.0, "high": value + 1.0})
    difference = rows.differences(["a", "b"])["a", "b"]
    error = 1.0 / scipy.stats.t.ppf(0.975, 9) * 2**0.5
    assert difference.p == pytest.approx(2 * scipy.stats.t.sf(1.0 / error, 9))
    assert "not paired" in difference.method


def test_a_set_distance_without_an_interval_is_not_tested():
    rows = set_rows("p", lambda value: {"interval": "no interval: too few clips"})
    difference = rows.differences(["a", "b"])["a", "b"]
    assert (difference.p, difference.method) == (None, "no interval: too few clips")


def test_models_without_a_value_are_left_out():
    rows = clip_rows(prompted=True)
    empty = MetricRows(FACTS, {**rows.rows, "c": [ScoreRow("c", "c/0.mp4", "m", None, "too short")]}, rows.clips)
    assert list(empty.differences(["a", "b", "c"])) == [("a", "b")]
    assert empty.spread("c") is None
