"""How a run looks in a notebook: a small table that holds nothing but escaped text."""

from __future__ import annotations

from html import escape

from vidbench import wording
from vidbench.results import MetricFacts, ModelScore, Run, Summary

MOST_MODELS = 30
"""Rows; a table in a notebook is for a glance."""


def run_table(run: Run) -> str:
    """HTML of one run: its line, what it says, and models by metrics that judge.

    Inline styles only, since notebooks strip style sheets; they inherit the notebook's colours.
    """
    head = f"<p><b>{_text(str(run))}</b><br>{_text(wording.verdict(run)[0])}</p>"
    summary = run.summary
    metrics = wording.judging(run)
    if summary is None or not summary.models or not metrics:
        return head
    names = "".join(f"<th>{_text(f.name)} {wording.arrow(f)}</th>" for f in metrics)
    places = {place.model: place for place in summary.overall}
    rows = []
    for model in summary.models[:MOST_MODELS]:
        place = places.get(model)
        rank = "–" if place is None or place.rank is None else str(place.rank)
        cells = "".join(_cell(f, summary.score(model, f.name), summary) for f in metrics)
        rows.append(f'<tr><td>{rank}</td><th style="text-align:left">{_text(model)}</th>{cells}</tr>')
    left = len(summary.models) - MOST_MODELS
    more = f"<p>and {wording.count(left, 'more model')}</p>" if left > 0 else ""
    return (
        f"{head}<table><thead><tr><th>rank</th><th>model</th>{names}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"{more}<p>± half of the 95 % interval; <code>run.summary_frame()</code> has all of it.</p>"
    )


def _cell(facts: MetricFacts, score: ModelScore | None, summary: Summary) -> str:
    if score is None or score.value is None:
        reason = "not computed" if score is None else score.reason or "no reason given"
        return f'<td title="{_text(reason)}">unscored</td>'
    after_point = wording.digits(facts, summary)
    text = wording.number(score.value, after_point)
    if score.low is not None and score.high is not None:
        text += f" ±{wording.number((score.high - score.low) / 2, after_point)}"
    if score.n_unscored:
        text += f" ({wording.coverage(score)})"
    note = f' title="{_text(score.footnote)}"' if score.footnote is not None else ""
    text += "*" if note else ""
    return f"<td{note}>{f'<b>{text}</b>' if wording.best(score, facts, summary) else text}</td>"


def _text(text: str) -> str:
    return escape(wording.plain(text), quote=True)
