"""A first policy from a good run: every bound comes from the run, with a margin from its own noise."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from vidbench import wording
from vidbench.errors import InputError
from vidbench.gate.policy import Selection
from vidbench.gate.policy_file import VERSION
from vidbench.gate.rows import ModelRows, Rows
from vidbench.gate.rules import shown, upper_bound
from vidbench.results import MetricFacts, ModelScore, Run, is_baseline
from vidbench.stats import CONFIDENCE


def draft(run: Run, *, model: str | None = None, locating: Collection[str] = ()) -> str:
    """A policy that this run passes, as TOML with comments that tell where each bound comes from.

    Args:
        run: a finished run of clips that are good enough.
        model: whose clips; needed where the run has several.
        locating: metrics that can make findings, whether or not they made any here.

    Raises:
        InputError: the run is not finished, has no such model, or has several and none is named.
    """
    if not run.info.complete or run.summary is None:
        raise InputError(
            f"{run.path}: the run is not finished; the command that began it goes on from where it stopped"
        )
    rows = Rows(run)
    if model is None and len(rows.models) != 1:
        likely = next((own for own in rows.models if not is_baseline(own)), rows.models[0])
        raise InputError(f"{run.path} has {len(rows.models)} models: say which is the good one, --model {likely}")
    name = model if model is not None else rows.models[0]
    if name not in rows.models:
        raise InputError(f"{run.path} has no model '{name}'; its models are {', '.join(rows.models[:8])}")
    own = ModelRows(rows, name)
    blocks = [_head(run, own), _run(run), _require(run, own)]
    finders = {finding.metric for finding in rows.findings} | set(locating)
    counted = [m.name for m in run.info.metrics if m.name in finders and len(own.scores(m.name).clips)]
    if counted:
        blocks.append(_findings(own, counted))
    for facts in run.info.metrics:
        score = own.summary(facts.name)
        if not facts.diagnostic and score is not None:
            blocks.append(_floor(facts, score))
    blocks.append(_regression(run, counted))
    return "\n\n".join(blocks) + "\n"


def _head(run: Run, own: ModelRows) -> str:
    lines = [
        f"# Drafted by `vidbench gate init` from the run {run.path.name}: "
        f"{wording.count(len(own.readable), 'clip')} of {own.model}, {run.info.created}.",
        "# A run that is as good passes each bound on a value in about 39 of 40 cases; tighten what matters to you.",
        "# Every key is described in docs/gate.md.",
    ]
    return "\n".join(
        [*map(_comment, lines), "", f"policy = {VERSION}", f"name = {toml_text(f'as good as {run.path.name}')}"]
    )


def _run(run: Run) -> str:
    """What `vidbench gate CLIPS` must compute for the settings to be those of the good run."""
    names = [facts.name for facts in run.info.metrics]
    lines = ["[run]", "# What is computed over clips: all that the good run computed, in the same way."]
    lines += [f"suite = {toml_text(run.info.suite)}"] if run.info.suite else []
    lines.append(f"metrics = {json.dumps(names)}")
    for facts in run.info.metrics:
        given = {key: value for key, value in facts.parameters.items() if value is not None}
        if given:
            lines.append(f"[run.settings.{toml_text(facts.name)}]")
            lines += [f"{toml_text(key)} = {_toml(value)}" for key, value in given.items()]
    return "\n".join(lines)


def _require(run: Run, own: ModelRows) -> str:
    lines = [
        "[require]",
        "# The run's settings: metrics, versions, parameters, weights. Numbers made in another way are not comparable.",
        f'settings = "{run.info.settings_hash}"',
    ]
    if own.clips.keys() - set(own.readable):
        lines += [
            f"# {len(own.clips) - len(own.readable)} files of the good run are unreadable too.",
            f"unreadable = {len(own.clips) - len(own.readable)}",
        ]
    covered = [(m.name, *own.coverage(m.name)[:2]) for m in run.info.metrics]
    lines.append("# Share of clips that each metric must have scored; less than in the good run by what chance may do.")
    lines.append("[require.coverage]")
    for metric, n, total in covered:
        if not n:
            lines.append(_comment(f"# {metric} scored no clip of the good run"))
            continue
        lines.append(f"{json.dumps(metric)} = {_down(_lower_tail(n, total), 2)}  # {n} of {total}")
    return "\n".join(lines)


def _findings(own: ModelRows, counted: list[str]) -> str:
    scores, found = own.hits(Selection(tuple(counted)))
    hits, n = len(found), len(scores.clips)
    independent = len(set(scores.units))
    # What is certain of the good run's generator, in clips of a further run of the same length.
    chance = min(n, math.ceil(n * upper_bound(hits, n, independent, CONFIDENCE)))
    return "\n".join(
        [
            f"# {hits} of {n} judged clips of the good run have findings; of so many as good ones up to {chance} may.",
            "# Without the last line the rule asks for more: that the true share is below the limit (95 % sure).",
            "[[rule]]",
            f"findings = {json.dumps(counted)}",
            f"max_rate = {_up(chance / n, 3):g}",
            "certain = false",
        ]
    )


def _floor(facts: MetricFacts, score: ModelScore) -> str:
    """A floor or a ceiling beside which a run as good falls in one case of 40."""
    if score.value is None:
        return _comment(f"# {facts.name}: no rule, since it has no value here: {score.reason}")
    word, bound = ("min", score.low) if facts.higher_is_better else ("max", score.high)
    if bound is None:
        return _comment(
            f"# {facts.name}: {shown(score.value)} here, and no rule, since nothing is known of its noise "
            f"({score.interval})."
        )
    # A further run has noise of its own: the difference of two has the square root of 2 times the spread of one.
    margin = math.sqrt(2) * abs(score.value - bound)
    edge = score.value - margin if word == "min" else score.value + margin
    digits = max(0, 2 - math.floor(math.log10(margin))) if margin > 0 else 6
    low, high = facts.value_range
    if (word == "min" and low is not None and edge <= low) or (word == "max" and high is not None and edge >= high):
        return _comment(
            f"# {facts.name}: {shown(score.value)} here, and no rule: with so few clips its noise reaches the end of "
            "its range."
        )
    rounded = _down(edge, digits) if word == "min" else _up(edge, digits)
    return "\n".join(
        [
            _comment(
                f"# {shown(score.value)} in the good run, 95 % interval to {shown(bound)} ({score.interval}); moved on "
                f"by {shown(margin)}, √2 times as far,"
            ),
            "# since the run that is judged has noise too.",
            "[[rule]]",
            f"metric = {json.dumps(facts.name)}",
            f"{word} = {rounded!r}",
        ]
    )


def _regression(run: Run, counted: list[str]) -> str:
    judging = [facts.name for facts in run.info.metrics if not facts.diagnostic]
    lines = [
        "# Compared clip by clip, prompts pair and much smaller losses show. To compare with this very run, take away",
        "# the number signs; `--baseline RUN` names another.",
        "#",
        "# [baseline]",
        f"# run = {toml_text(str(Path(run.path).resolve()))}",
    ]
    for name in judging[:1]:
        lines += ["#", "# [[rule]]", f"# metric = {json.dumps(name)}", '# max_loss = "noise"']
    if counted:
        lines += ["#", "# [[rule]]", f"# findings = {json.dumps(counted)}", "# max_loss = 0.05"]
    return "\n".join(map(_comment, lines))


def toml_text(text: str) -> str:
    """A TOML basic string; JSON's are the same but for the delete character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return toml_text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


def _comment(line: str) -> str:
    return wording.plain(line)


def _lower_tail(n: int, total: int) -> float:
    """Coverage that a further run as good stays above: the good run's, less two standard deviations of both runs."""
    share = (n + 1) / (total + 2)
    return max(0.0, n / total - 2 * math.sqrt(2 * share * (1 - share) / total))


def _down(x: float, digits: int) -> float:
    return float(math.floor(x * 10**digits + 1e-9) / 10**digits)


def _up(x: float, digits: int) -> float:
    return float(math.ceil(x * 10**digits - 1e-9) / 10**digits)
