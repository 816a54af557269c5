from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vidbench import wording
from vidbench.results import MetricFacts, ModelScore, OverallRank, Run, Summary


@pytest.mark.parametrize(
    ("values", "digits"),
    [([812.34, 3.0], 1), ([1204.5], 0), ([23.81], 2), ([5.9], 3), ([0.9312], 4), ([0.0, 1.0, 2.0], 0), ([], 0)],
)
def test_digits_follow_the_largest_value(values: list[float], digits: int) -> None:
    assert wording.decimals(values) == digits


@example(0.5, 0)
@given(st.floats(-1e9, 1e9), st.integers(0, 6))
def test_a_number_is_never_shown_further_off_than_its_last_digit(value: float, digits: int) -> None:
    shown = float(wording.number(value, digits))
    assert abs(shown - value) <= max(0.5 * 10**-digits, 0.006 * abs(value)) * (1 + 1e-9)
    assert (shown == 0) == (value == 0), "a value that is not 0 never shows as 0"


def test_no_minus_before_zero() -> None:
    assert wording.number(-0.0, 2) == "0.00"


@given(st.text())
def test_plain_text_stays_on_one_line_and_keeps_what_can_be_seen(text: str) -> None:
    shown = wording.plain(text)
    assert len(shown.splitlines()) <= 1
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x1f]", shown)
    if text.isprintable():
        assert shown == text


def test_plain_text_keeps_joined_emoji() -> None:
    family = "👨‍👩‍👧"
    assert wording.plain(family) == family


def test_undecodable_bytes_of_a_file_name_can_be_written() -> None:
    assert wording.plain("a\udcffb").encode("utf-8") == b"a\\udcffb"


@pytest.fixture
def judged(run: Run) -> Callable[[Mapping[str, Mapping[str, tuple[float, float, float] | None]]], Run]:
    """A maker of runs from (value, low, high) by metric and model; higher is better but for names in _error."""

    def make(table: Mapping[str, Mapping[str, tuple[float, float, float] | None]]) -> Run:
        scores, facts = [], []
        for metric, values in table.items():
            higher = not metric.endswith("_error")
            template: MetricFacts = run.info.metrics[0]
            facts.append(dataclasses.replace(template, name=metric, higher_is_better=higher))
            order = sorted((v[0] for v in values.values() if v), reverse=higher)
            for model, v in values.items():
                scores.append(
                    ModelScore(model, metric, v[0], None, v[1], v[2], "t", 9, 0, {}, rank=order.index(v[0]) + 1)
                    if v
                    else ModelScore(model, metric, None, "none", None, None, "no value", 0, 9, {})
                )
        ranks: dict[str, list[int]] = {}
        for score in scores:
            if score.rank:
                ranks.setdefault(score.model, []).append(score.rank)
        means = {model: sum(r) / len(r) for model, r in ranks.items()}
        models = sorted({s.model for s in scores}, key=lambda m: (means.get(m, 99), m))
        overall = tuple(
            OverallRank(m, 1 + sum(x < means[m] for x in means.values()), means[m], len(ranks[m]))
            if m in means
            else OverallRank(m, None, None, 0)
            for m in models
        )
        return dataclasses.replace(
            run,
            info=dataclasses.replace(run.info, metrics=tuple(facts)),
            summary=Summary(tuple(models), tuple(scores), overall, "rule"),
        )

    return make


Maker = Callable[[Mapping[str, Mapping[str, "tuple[float, float, float] | None"]]], Run]
FAR_AHEAD, FAR_BEHIND, BETWEEN = (0.9, 0.8, 1.0), (0.1, 0.0, 0.2), (0.5, 0.0, 1.0)


def test_a_lead_that_every_interval_supports(judged: Maker) -> None:
    lines = wording.verdict(judged({"x_score": {"a": FAR_AHEAD, "b": FAR_BEHIND}}))
    assert lines[0] == "a leads: mean rank 1.00 over 1 metric that judges, ahead of b (2.00)."
    assert lines[1] == "The 95 % intervals put a clear of b in 1 of 1 metric (x_score), in favour of this order."


def test_lower_errors_are_ahead(judged: Maker) -> None:
    lines = wording.verdict(
        judged({"x_error": {"a": FAR_AHEAD, "b": FAR_BEHIND}, "y_score": {"a": BETWEEN, "b": BETWEEN}})
    )
    assert lines[0].startswith("b leads")
    assert "put b clear of a in 1 of 2 metrics (x_error) and leave the other one open" in lines[1]


def test_a_lead_that_could_be_chance(judged: Maker) -> None:
    lines = wording.verdict(judged({"x_score": {"a": FAR_AHEAD, "b": BETWEEN}}))
    assert lines[0].startswith("a leads")
    assert "tell a and b apart in none of 1 metric" in lines[1]


def test_a_lead_with_which_an_interval_disagrees(judged: Maker) -> None:
    close = {"a": (0.6, 0.1, 1.0), "b": BETWEEN}
    run = judged({"p_score": close, "q_score": close, "x_score": {"a": FAR_BEHIND, "b": FAR_AHEAD}})
    lines = wording.verdict(run)
    assert lines[0].startswith("a leads")
    assert "wherever the 95 % intervals tell the two apart (x_score), b is ahead" in lines[1]


def test_a_mixed_lead(judged: Maker) -> None:
    close = {"a": (0.6, 0.1, 1.0), "b": BETWEEN}
    run = judged(
        {"p_score": close, "x_score": {"a": FAR_BEHIND, "b": FAR_AHEAD}, "z_score": {"a": FAR_AHEAD, "b": FAR_BEHIND}}
    )
    assert "clear of b in 1 of 3 metrics (z_score), but b ahead in 1 (x_score)" in wording.verdict(run)[1]


def test_a_tie(judged: Maker) -> None:
    lines = wording.verdict(judged({"x_score": {"a": BETWEEN, "b": BETWEEN, "c": FAR_BEHIND}}))
    assert lines[0] == "a and b share the lead: mean rank 1.00 over 1 metric that judges."


def test_nothing_to_compare(judged: Maker, unfinished: Run) -> None:
    assert "only ranked model" in wording.verdict(judged({"x_score": {"a": BETWEEN}}))[0]
    assert wording.verdict(judged({"x_score": {"a": None}}))[0].startswith("No model is ranked")
    assert "not complete" in wording.verdict(unfinished)[0]


def test_ranks_are_shown_as_the_intervals_allow() -> None:
    score = ModelScore("a", "x", 1.0, None, 0.5, 1.5, "t", 9, 2, {}, rank=2, rank_low=1, rank_high=3)
    assert wording.rank(score) == "1–3"
    assert wording.rank(dataclasses.replace(score, rank_low=2, rank_high=2)) == "2"
    assert wording.rank(dataclasses.replace(score, rank=None)) == ""
    assert wording.coverage(score) == "9/11"


def test_lists_in_words(tmp_path: Path) -> None:
    assert [wording.listed(list(names)) for names in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
