"""A run held against a policy. Reads results and nothing else: no clip is opened, no score computed anew."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import replace

from vidbench import wording
from vidbench.errors import InputError
from vidbench.gate.policy import AnyRule, FindingsRule, Policy, QuantileRule, RegressionRule, ValueRule, percent
from vidbench.gate.regression import judge_regression
from vidbench.gate.rows import ModelRows, Rows
from vidbench.gate.rules import judge_findings, judge_quantile, judge_value
from vidbench.gate.verdict import Check, FlaggedClip, Outcome, Verdict, WorstClip
from vidbench.results import FindingRow, Run

MOST_CLIPS = 20
"""Clips that a check names."""


def judge(run: Run, policy: Policy, baseline: Run | None = None) -> Verdict:
    """Hold a run against a policy.

    Args:
        run: what is judged.
        policy: what it must meet.
        baseline: an earlier run, for rules with `max_loss`.

    Raises:
        InputError: the run was made with other settings than the policy or the baseline asks for, the policy names
            models that are not there, or a rule compares with a baseline and there is none.
    """
    if policy.require.settings is not None and policy.require.settings != run.info.settings_hash:
        raise InputError(
            f"{run.path}: its settings hash is {run.info.settings_hash}, and {policy.source} asks for "
            f"{policy.require.settings}: it was made with other metrics, versions or parameters; run it anew, or mend "
            "[require] settings"
        )
    rows = Rows(run, policy.accepted)
    models = _models(rows, policy)
    before = Rows(baseline, policy.accepted) if baseline is not None else None
    checks = [*_about_the_run(rows, policy), *(check for model in models for check in _required(rows, policy, model))]
    counted: dict[str, list[tuple[str, FindingRow, Outcome]]] = {}
    for rule in policy.rules:
        for model in models:
            check, findings = _judge(rule, ModelRows(rows, model), before, policy)
            checks.append(replace(check, note=rule.note if check.outcome != "passed" else "", line=rule.line))
            for finding in findings:
                counted.setdefault(finding.clip, []).append((rule.name, finding, check.outcome))
    return Verdict(
        policy=policy.name,
        source=policy.source,
        run=str(run.path),
        settings_hash=run.info.settings_hash,
        baseline=str(baseline.path) if baseline is not None else None,
        checks=tuple(replace(check, clips=check.clips[:MOST_CLIPS]) for check in checks),
        flagged=_flagged(counted),
        accepted=tuple(rows.accepted),
    )


def _judge(rule: AnyRule, rows: ModelRows, before: Rows | None, policy: Policy) -> tuple[Check, tuple[FindingRow, ...]]:
    if isinstance(rule, ValueRule):
        return judge_value(rule, rows), ()
    if isinstance(rule, QuantileRule):
        return judge_quantile(rule, rows), ()
    if isinstance(rule, FindingsRule):
        return judge_findings(rule, rows)
    if isinstance(rule, RegressionRule):
        if before is None:
            raise InputError(
                f"{policy.source}: rule '{rule.name}' compares with a baseline: give --baseline RUN, or [baseline] run"
            )
        return judge_regression(rule, rows, before, policy.baseline_model)
    raise TypeError(f"{type(rule).__name__} is no rule")


def _models(rows: Rows, policy: Policy) -> list[str]:
    if not rows.models:
        raise InputError(f"{rows.run.path}: holds no clips, so there is nothing to judge")
    for name in policy.models:
        if name not in rows.models:
            close = difflib.get_close_matches(name, rows.models, n=2)
            hint = f"did you mean {' or '.join(close)}?" if close else f"its models are {', '.join(rows.models[:8])}"
            raise InputError(f"{policy.source}: {rows.run.path} has no model '{name}'; {hint}")
    return [model for model in rows.models if not policy.models or model in policy.models]


def _about_the_run(rows: Rows, policy: Policy) -> list[Check]:
    run, require = rows.run, policy.require
    checks = []
    if not run.info.complete:
        checks.append(
            Check(
                "complete run",
                None,
                "incomplete",
                "interrupted",
                "finished",
                f"The run in {run.path} is not finished; the same command goes on from where it stopped.",
                required=True,
            )
        )
    wanted = set(policy.models)
    failed = [c for c in run.clips if c.status == "failed" and (not wanted or c.model is None or c.model in wanted)]
    told = wording.count(len(failed), "unreadable file")
    checks.append(
        Check(
            "readable clips",
            None,
            "passed" if len(failed) <= require.unreadable else "incomplete",
            told if failed else "all are readable",
            f"at most {require.unreadable} unreadable",
            f"{told}, so not every clip that should be judged was." if len(failed) > require.unreadable else "",
            value=len(failed),
            limit=require.unreadable,
            clips=tuple(WorstClip(row.clip, row.reason or "no reason given") for row in failed),
            required=True,
        )
    )
    return checks


def _required(rows: Rows, policy: Policy, model: str) -> list[Check]:
    own = ModelRows(rows, model)
    clips = len(own.readable)
    least = policy.require.clips
    checks = []
    if least > 1 or clips < least:
        checks.append(
            Check(
                "number of clips",
                model,
                "passed" if clips >= least else "incomplete",
                wording.count(clips, "readable clip"),
                f"at least {least}",
                f"Not enough clips: {clips} of {least}." if clips < least else "",
                value=clips,
                limit=least,
                required=True,
            )
        )
    return [*checks, *([_coverage(own, policy)] if policy.metrics else [])]


def _coverage(rows: ModelRows, policy: Policy) -> Check:
    """Whether every metric of the policy has scored enough clips."""
    short: dict[str, list[str]] = {}
    """Metrics by what is to be said of them."""
    lowest, lowest_of = 1.0, policy.metrics[0]
    unscored: dict[str, dict[str, str]] = {}
    for metric in policy.metrics:
        n, total, reasons = rows.coverage(metric)
        share = n / total if total else 0.0
        wanted = policy.coverage(metric)
        if share < lowest:
            lowest, lowest_of = share, metric
        if n == 0 or share < wanted:
            common = Counter(reasons.values()).most_common(1)
            why = rows.absent(metric) or (common[0][0] if common else "no clip was scored")
            told = f"scored {n} of {wording.count(total, 'clip')}" if n else f"scored no clip: {why}"
            short.setdefault(told, []).append(metric)
        for clip, reason in reasons.items():
            unscored.setdefault(clip, {})[metric] = reason
    reason = "".join(f"{wording.listed(metrics)} {told}. " for told, metrics in short.items()).strip()
    ordered = sorted(unscored.items(), key=lambda item: (-len(item[1]), item[0]))
    return Check(
        "coverage",
        rows.model,
        "incomplete" if short else "passed",
        f"{percent(lowest)} of clips judged"
        + (f" (lowest: {lowest_of})" if lowest < 1 and len(policy.metrics) > 1 else ""),
        " and ".join(
            dict.fromkeys(
                f"at least {percent(policy.coverage(m))}"
                for m in ([m for metrics in short.values() for m in metrics] or policy.metrics)
            )
        ),
        reason,
        value=lowest,
        clips=tuple(
            WorstClip(clip, f"unscored by {wording.listed(list(told))}: {next(iter(told.values()))}")
            for clip, told in ordered
        ),
        required=True,
    )


def _flagged(counted: dict[str, list[tuple[str, FindingRow, Outcome]]]) -> tuple[FlaggedClip, ...]:
    flagged = []
    for clip, entries in counted.items():
        findings = wording.most_confident({id(finding): finding for _, finding, _ in entries}.values())
        breaks = tuple(dict.fromkeys(rule for rule, _, outcome in entries if outcome == "failed"))
        flagged.append(FlaggedClip(clip, findings[0].model, tuple(findings), breaks))
    return tuple(
        sorted(
            flagged,
            key=lambda f: (
                not f.breaks,
                -f.findings[0].confidence if f.findings[0].confidence is not None else 1.0,
                f.clip,
            ),
        )
    )
