"""What the terminal and the reports say alike: numbers, ranks, coverage, findings and the verdict."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

from vidbench.results import FindingRow, MetricFacts, ModelScore, OverallRank, Run, Summary

_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~])")
_LIST_ITEM = re.compile(r"^(\s*)(\d*)([.)](?=\s|$)|[-+](?=[-\s]|$))")


def decimals(values: Iterable[float]) -> int:
    """Digits after the point that give the largest of `values` four significant ones, none if all are whole."""
    shown = list(values)
    if all(float(v).is_integer() for v in shown):
        return 0
    size = max(abs(v) for v in shown)
    return next((digits for digits, limit in enumerate((1000, 100, 10, 1)) if size >= limit), 4)


def digits(facts: MetricFacts, summary: Summary) -> int:
    """Digits after the point for all of one metric's values and intervals."""
    scores = [score for score in summary.scores if score.metric == facts.name]
    return decimals(v for s in scores for v in (s.value, s.low, s.high) if v is not None)


def number(value: float, after_point: int) -> str:
    """`value` with so many digits after the point, or with an exponent where that would show nothing of it."""
    if value != 0 and (abs(value) <= 0.5 * 10**-after_point or abs(value) >= 1e7):
        return f"{value:.2e}"
    text = f"{value:.{after_point}f}"
    # A minus before nothing but zeros is rounding, not a sign.
    return text.removeprefix("-") if float(text) == 0 else text


def count(n: int, what: str) -> str:
    """`1 clip`, `2 clips`."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def most_confident(findings: Iterable[FindingRow]) -> list[FindingRow]:
    """Findings in the order in which a person should look at them: the most confident first, then the earliest.

    One without a confidence comes after all that have one.
    """
    return sorted(
        findings, key=lambda f: (-f.confidence if f.confidence is not None else 1.0, f.model, f.clip, f.start, f.metric)
    )


def span(finding: FindingRow) -> str:
    """`frames 3 to 7, 0.10 s to 0.23 s`; without the seconds where the frame rate is unknown."""
    one = finding.start == finding.end
    frames = f"frame {finding.start}" if one else f"frames {finding.start} to {finding.end}"
    if finding.start_time is None or finding.end_time is None:
        return frames
    return f"{frames}, {finding.start_time:.2f} s" + ("" if one else f" to {finding.end_time:.2f} s")


def plain(text: str) -> str:
    """A name from outside with its control characters made visible: it stays on one line and reads as it is."""
    return "".join(c.encode("unicode_escape").decode() if _hides(c) else c for c in text)


def in_markdown(text: str) -> str:
    """Text from outside as one line of Markdown that shows as it is, inside a table too."""
    inline = _MARKDOWN.sub(r"\\\1", html.escape(plain(text), quote=False))
    return _LIST_ITEM.sub(r"\1\2\\\3", inline)


def _hides(character: str) -> bool:
    """Whether it ends a line, does something unseen or turns the direction of what follows."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _TURNS


def arrow(facts: MetricFacts) -> str:
    """Which way is better; a metric that only describes has none."""
    return "" if facts.diagnostic else ("↑" if facts.higher_is_better else "↓")


def judging(run: Run) -> list[MetricFacts]:
    """Metrics that enter the ranking."""
    return [facts for facts in run.info.metrics if not facts.diagnostic]


def describing(run: Run) -> list[MetricFacts]:
    """Metrics that describe and do not judge."""
    return [facts for facts in run.info.metrics if facts.diagnostic]


def rank(score: ModelScore) -> str:
    """The rank, or the ranks that the intervals allow; empty where there is none."""
    if score.rank is None:
        return ""
    if score.rank_low is None or score.rank_high is None or score.rank_low == score.rank_high:
        return str(score.rank)
    return f"{score.rank_low}–{score.rank_high}"


def best(score: ModelScore, facts: MetricFacts, summary: Summary) -> bool:
    """Whether its value is the best of a metric that judges; where all are level, nobody stands out."""
    if score.rank != 1 or facts.diagnostic:
        return False
    return len({s.value for s in summary.scores if s.metric == facts.name and s.rank is not None}) > 1


def coverage(score: ModelScore) -> str:
    """`11/12`: clips that entered the value, of all."""
    return f"{score.n_scored}/{score.n_scored + score.n_unscored}"


def value_range(facts: MetricFacts) -> str:
    """`0 to 1`, with ∞ for a missing bound."""
    low, high = facts.value_range
    return f"{'−∞' if low is None else f'{low:g}'} to {'∞' if high is None else f'{high:g}'}"


def notes(summary: Summary) -> list[tuple[str, str]]:
    """What a reader must know of some values, each once, with the models and metrics that it is said of."""
    said: dict[str, dict[str, list[str]]] = {}
    for score in summary.scores:
        if score.value is not None and score.footnote is not None:
            said.setdefault(score.footnote, {}).setdefault(score.metric, []).append(plain(score.model))
    return [
        ("; ".join(f"{listed(models)} in {metric}" for metric, models in of.items()), note) for note, of in said.items()
    ]


def totals(summary: Summary) -> list[str]:
    """The weighted totals of the suite, one line a model, then what they rest on; nothing where it has none."""
    lines = []
    for total in summary.totals:
        name = f"{total.name} of {plain(total.model)}"
        if total.value is not None and total.clamped is not None:
            cut = "" if total.clamped == total.value else f" ({total.clamped:.4f} with each part cut to 0 … 1)"
            lines.append(f"{name}: {total.value:.4f}{cut}")
        elif total.partial is not None:
            gone, of_all = list(total.missing), len(total.terms) + len(total.missing)
            lines.append(
                f"{name}: none, because {listed(gone)} {'is' if len(gone) == 1 else 'are'} missing; "
                f"{total.partial:.4f} over the {len(total.terms)} of {of_all} that have a value"
            )
        else:
            lines.append(f"{name}: none, because none of its metrics has a value")
    reasons = dict.fromkeys(f"{metric}: {why}" for total in summary.totals for metric, why in total.missing.items())
    return [*lines, *dict.fromkeys(total.rule for total in summary.totals), *(f"missing {r}" for r in reasons)]


def verdict(run: Run) -> list[str]:
    """Who leads, and whether the intervals allow saying so: a headline and what qualifies it."""
    summary = run.summary
    if summary is None:
        return [
            "This run is not complete, so nothing is ranked yet.",
            "The same command goes on from where it stopped.",
        ]
    placed = [place for place in summary.overall if place.rank is not None]
    if not placed:
        return ["No model is ranked: no metric that judges has a value."]
    if len(placed) == 1:
        return [f"{plain(placed[0].model)} is the only ranked model, so there is nothing to compare it with."]
    return [_headline(placed), _support(run, summary, placed[0].model, placed[1].model)]


def _headline(placed: Sequence[OverallRank]) -> str:
    first = placed[0]
    over = f"over {count(first.metrics, 'metric')} that judge{'s' if first.metrics == 1 else ''}"
    tied = [plain(place.model) for place in placed if place.rank == first.rank]
    if len(tied) > 1:
        return f"{listed(tied)} share the lead: mean rank {first.mean_rank:.2f} {over}."
    return (
        f"{plain(first.model)} leads: mean rank {first.mean_rank:.2f} {over}, ahead of "
        f"{plain(placed[1].model)} ({placed[1].mean_rank:.2f})."
    )


def _support(run: Run, summary: Summary, first: str, second: str) -> str:
    """What the intervals say of two models: a difference is certain where they do not touch."""
    ahead: list[str] = []
    behind: list[str] = []
    compared = 0
    for facts in judging(run):
        a, b = summary.score(first, facts.name), summary.score(second, facts.name)
        if a is None or b is None or a.rank is None or b.rank is None:
            continue
        compared += 1
        if a.low is None or a.high is None or b.low is None or b.high is None:
            continue
        if a.low > b.high or a.high < b.low:
            (ahead if (a.low > b.high) == facts.higher_is_better else behind).append(facts.name)
    one, other = plain(first), plain(second)
    if not compared:
        return f"No metric has values of both {one} and {other}."
    if not ahead and not behind:
        return (
            f"The 95 % intervals tell {one} and {other} apart in none of {count(compared, 'metric')}: "
            "with these clips, neither can be said to be better."
        )
    clear = f"The 95 % intervals put {one} clear of {other} in {len(ahead)} of {count(compared, 'metric')}"
    if not behind:
        rest = compared - len(ahead)
        left = (
            f" and leave the other {'one' if rest == 1 else rest} open; none contradicts" if rest else ", in favour of"
        )
        return f"{clear} ({listed(ahead)}){left} this order."
    if not ahead:
        return (
            f"But wherever the 95 % intervals tell the two apart ({listed(behind)}), {other} is ahead: "
            "read the metrics, not the order."
        )
    return (
        f"{clear} ({listed(ahead)}), but {other} ahead in {len(behind)} ({listed(behind)}): "
        "which is better depends on what matters to you."
    )


def span_of_ranks(low: int | None, high: int | None) -> str:
    """`1`, or `1–3` where several are allowed; empty where there is none."""
    if low is None or high is None:
        return ""
    return str(low) if low == high else f"{low}–{high}"
