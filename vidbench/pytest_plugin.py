"""The pytest plug-in: the fixture `assert_plausible`, for tests of whatever makes clips.

    def test_the_new_checkpoint(assert_plausible):
        assert_plausible(generate("a ball falls"), fps=24)

pytest loads this module whenever it starts in an environment with vidbench, so that it imports nothing but pytest;
everything else is imported when a test uses the fixture.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from vidbench.clips import Clip
    from vidbench.gate.policy import Policy
    from vidbench.gate.verdict import Verdict
    from vidbench.run.one import OneClip

Unjudged = Literal["skip", "fail", "pass"]
UNJUDGED = ("skip", "fail", "pass")
SUITE = "plausibility"
"""Whose policy is taken unless the test gives one."""


class UnjudgedWarning(UserWarning):
    """A clip that could not be judged was let through, since the test asked for it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two settings for pytest's configuration file."""
    parser.addini(
        "vidbench_unjudged",
        "what assert_plausible does with a clip that cannot be judged: skip (default), fail, or pass with a warning",
        default="skip",
    )
    parser.addini(
        "vidbench_evidence",
        "folder for pictures of findings, relative to the root folder (default: the test's own temporary folder)",
        default="",
    )


@pytest.fixture
def assert_plausible(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Fails the test if something in a clip is physically impossible.

        assert_plausible(clip, *, fps=None, policy=None, unjudged=None)

    `clip` is a path (video, folder of frames, array file) or a uint8 array (T, H, W, 3), which needs `fps`. `policy` is
    a policy file; without one no finding of object permanence, gravity, continuity or solidity is allowed, and all four
    must have judged the clip. A clip that cannot be judged has not passed: the test is skipped with the reason,
    unless `unjudged` or the setting `vidbench_unjudged` says `fail` or `pass`. A clip that cannot be read fails.
    """
    checked = 0

    def check(
        clip: Any,
        *,
        fps: float | None = None,
        policy: str | Path | None = None,
        unjudged: Unjudged | None = None,
    ) -> None:
        nonlocal checked
        __tracebackhide__ = True
        mode = unjudged if unjudged is not None else str(request.config.getini("vidbench_unjudged"))
        if mode not in UNJUDGED:
            raise pytest.UsageError(f"vidbench_unjudged is '{mode}'; it is one of {', '.join(UNJUDGED)}")
        checked += 1
        found = _clip(clip, fps, tmp_path / f"clip-{checked}.npy")
        scored, verdict = _judge(found, _policy(policy))
        name = found.id if isinstance(clip, str | Path) else f"clip {checked} of {request.node.name}"
        row = scored.run.clips[0]
        if row.status == "failed":
            raise AssertionError(f"{name} cannot be read: {row.reason}")
        if verdict.outcome == "failed":
            folder = request.config.getini("vidbench_evidence")
            place = request.config.rootpath / folder if folder else tmp_path / "evidence"
            stem = re.sub(r"[^A-Za-z0-9_-]+", "-", request.node.name)[:80] or "test"
            pictures = scored.write_evidence(place, f"{stem}-{checked}")
            raise AssertionError(_message(name, scored, verdict, pictures))
        if verdict.outcome == "incomplete":
            _unjudged(name, verdict, mode)

    return check


def _policy(path: str | Path | None) -> Policy:
    from vidbench.gate.policy_file import parse_policy, read_policy
    from vidbench.plugins import suites

    if path is not None:
        return read_policy(Path(path))
    return parse_policy(suites().load(SUITE).policy or "", source=f"suite {SUITE}")


def _clip(given: Any, fps: float | None, place: Path) -> Clip:
    import numpy as np

    from vidbench.clips import find_clip

    if isinstance(given, str | Path):
        path = Path(given)
    else:
        pixels = np.asarray(given)
        if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise TypeError(
                f"assert_plausible wants a path or a uint8 array (T, H, W, 3), got {pixels.dtype} of {pixels.shape}"
            )
        if fps is None:
            raise TypeError("assert_plausible wants fps with an array: what falls how fast depends on it")
        np.save(place, pixels, allow_pickle=False)
        path = place
    clip = find_clip(path)
    return clip if fps is None else replace(clip, fps=fps)


def _judge(clip: Clip, policy: Policy) -> tuple[OneClip, Verdict]:
    from vidbench.gate.judge import judge
    from vidbench.results import load_run
    from vidbench.run.one import score_one

    names = tuple(dict.fromkeys([*policy.metrics, *policy.run_metrics]))
    scored = score_one(clip, metrics=names, suite=policy.suite, parameters=policy.settings)
    baseline = load_run(policy.baseline) if policy.baseline is not None else None
    return scored, judge(scored.run, policy, baseline)


def _message(name: str, scored: OneClip, verdict: Verdict, pictures: dict[int, Path]) -> str:
    from vidbench import wording
    from vidbench.gate import words

    lines = [f"{name} is not plausible by {verdict.source}:"]
    for check in verdict.of("failed"):
        lines.append(f"  {check.rule}: {check.reason}")
        lines += [f"  {check.note}"] if check.note else []
    counted = {id(finding) for clip in verdict.flagged for finding in clip.findings}
    for place, finding in enumerate(scored.run.findings):
        if id(finding) in counted:
            lines.append(f"  - {words.told(finding)}")
            lines += [f"    picture: {pictures[place]}"] if place in pictures else []
    return "\n".join(wording.plain(line) for line in lines)


def _unjudged(name: str, verdict: Verdict, mode: str) -> None:
    __tracebackhide__ = True
    from vidbench import wording

    reasons: dict[str, None] = {}
    for check in verdict.of("incomplete"):
        reasons |= dict.fromkeys([clip.told for clip in check.clips] or [check.reason])
    reason = wording.plain(f"{name} could not be judged: {'; '.join(reasons)}")
    if mode == "fail":
        raise AssertionError(reason)
    if mode == "skip":
        pytest.skip(reason)
    warnings.warn(reason, UnjudgedWarning, stacklevel=3)
