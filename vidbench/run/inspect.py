"""One clip, looked at closely: scores and findings in words, the clip with them drawn in, curves over its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidbench import wording
from vidbench.clips import Clip, ClipFolder, find_clip
from vidbench.errors import ClipError, InputError
from vidbench.extractor import Observation, Track, curve_fault, track_fault
from vidbench.files import default_folder, write_atomic
from vidbench.plugins import metrics as metrics_registry
from vidbench.results import ClipRow, FindingRow, LeftOut, MetricFacts, ScoreRow
from vidbench.run import curves
from vidbench.run.annotate import write_annotated
from vidbench.run.cache import default_limit
from vidbench.run.feed import told
from vidbench.run.plan import select
from vidbench.run.shard import Evaluator, Look
from vidbench.video import ClipFacts, Limits

_COMPARES = "compares with a reference: vidbench run CLIPS --reference FOLDER"

VIDEO, TEXT, CURVES = "annotated.mp4", "findings.md", "curves.svg"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen in one clip, and where it is shown."""

    clip: Clip
    row: ClipRow
    metrics: tuple[MetricFacts, ...]
    scores: tuple[ScoreRow, ...]
    """In order of the metrics; one that was asked for and cannot run is unscored with the reason."""
    findings: tuple[FindingRow, ...]
    """In order of time."""
    left_out: tuple[LeftOut, ...]
    missing: tuple[ScoreRow, ...]
    """Scores that were asked for by name and are unscored."""
    warnings: tuple[str, ...]
    folder: Path
    """Where `annotated.mp4`, `findings.md` and `curves.svg` are."""

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """The three files."""
        return self.folder / VIDEO, self.folder / TEXT, self.folder / CURVES


def default_out(clip: Path) -> Path:
    """`inspect-<stem>` in the current folder; the stem is shortened, since folders' names are bounded."""
    stem = clip.resolve().name if clip.is_dir() else clip.stem
    return Path(f"inspect-{stem.encode()[:120].decode('utf-8', 'ignore') or 'clip'}")


def inspect_clip(
    path: Path,
    out: Path | None = None,
    *,
    metrics: tuple[str, ...] = (),
    fps: float | None = None,
    cache: bool = True,
    limits: Limits | None = None,
) -> Inspection:
    """Score the clip at `path` with the metrics that need no reference, and write what was found.

    Args:
        path: a video file, a folder of frames or an array file.
        out: folder to write into, `default_out(path)` unless given; its three files are replaced, others left alone.
        metrics: by name; all that can run unless given.
        fps: frame rate of the clip, whatever its file says.
        cache: read and fill the cache of observations, as a run does.
        limits: of decoding.

    Raises:
        ClipError: there is no clip at `path`, or it cannot be decoded.
        InputError: no metric can run, or the folder cannot be written.
        PluginError: a named metric is unknown or does not load.
    """
    clip = find_clip(path)
    registry = metrics_registry()
    comparing = {name for name, kind in registry.load_all().items() if kind.granularity != "clip"}
    refused = [name for name in metrics if name in comparing]
    if refused:
        raise InputError(
            f"{wording.listed(refused)}: one clip by itself has no reference to be compared with; "
            "use vidbench run CLIPS --reference FOLDER"
        )
    if fps is not None:
        clip = replace(clip, fps=fps)
    selection = select(
        ClipFolder(clip.path.parent, (clip,)),
        has_reference=False,
        names=tuple(dict.fromkeys(metrics)),
        limits=limits,
        cache_folder=default_folder() if cache else None,
        cache_limit=default_limit(),
        media=False,
    )
    evaluator = Evaluator(selection.plan)
    outcome, look = evaluator.evaluate(clip)
    if look is None:
        raise ClipError(outcome.row.reason or "it cannot be read", path)
    if evaluator.cache is not None:
        evaluator.cache.prune()
    panels, tracks, troubles = _shown(look, {identity: e.name for identity, e in evaluator.extractors.items()})
    inspection = Inspection(
        clip=clip,
        row=outcome.row,
        metrics=selection.facts,
        scores=outcome.scores,
        findings=tuple(sorted(outcome.findings, key=lambda f: (f.start, f.end, f.metric))),
        left_out=tuple(
            LeftOut(left.metric, _COMPARES) if left.metric in comparing else left for left in selection.left_out
        ),
        missing=tuple(row for row in outcome.scores if row.value is None and row.metric in selection.required),
        warnings=(*outcome.row.warnings, *troubles),
        folder=out if out is not None else default_out(path),
    )
    _write(inspection, look.facts, panels, tracks, selection.plan.limits)
    return inspection


def _shown(look: Look, names: Mapping[str, str]) -> tuple[list[curves.Panel], list[Track], list[str]]:
    """What the observations offer to look at, and what of it cannot be shown."""
    panels: list[curves.Panel] = []
    tracks: list[Track] = []
    troubles: list[str] = []
    frames = look.facts.frames
    for identity, observation in look.observations.items():
        name = names[identity]
        offered, followed = _offered(name, observation, troubles)
        for title, values in offered.items():
            fault = curve_fault(values, frames)
            if fault is None:
                panels.append(curves.Panel(str(title), name, {"": values}))
            else:
                troubles.append(f"{name}: its curve '{title}' {fault}")
        own: list[Track] = []
        for track in followed:
            fault = track_fault(track, frames)
            if fault is None:
                own.append(track)
            else:
                troubles.append(f"{name}: one of its tracks {fault}")
        panels += curves.track_panels(own, look.facts, name)
        tracks += own
    return panels, tracks, [wording.plain(trouble) for trouble in troubles]


def _offered(name: str, observation: Observation, troubles: list[str]) -> tuple[Mapping[str, Any], tuple[Any, ...]]:
    """Curves and tracks as the observation gives them; a stranger's may raise anything, and the scores stand anyway."""
    curves_of: Mapping[str, Any] = {}
    tracks_of: tuple[Any, ...] = ()
    try:
        curves_of = dict(observation.curves())
    except Exception as error:
        troubles.append(told(f"{name}.curves", error))
    try:
        tracks_of = tuple(observation.tracks())
    except Exception as error:
        troubles.append(told(f"{name}.tracks", error))
    return curves_of, tracks_of


def _write(
    inspection: Inspection, facts: ClipFacts, panels: Sequence[curves.Panel], tracks: Sequence[Track], limits: Limits
) -> None:
    video, text, picture = inspection.files
    try:
        inspection.folder.mkdir(parents=True, exist_ok=True)
        write_annotated(video, inspection.clip, facts, inspection.findings, tracks, limits)
        title = f"{inspection.clip.id}, {wording.count(facts.frames, 'frame')}"
        drawn = curves.render(title, panels, inspection.findings, facts)
        write_atomic(picture, drawn.encode("utf-8", "replace"))
        write_atomic(text, in_words(inspection).encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(
            f"cannot write into {inspection.folder} ({error.strerror or error}); choose another folder with -o"
        ) from None


def in_words(inspection: Inspection) -> str:
    """`findings.md`: scores and findings in plain sentences. Whatever comes from outside stands in it as text."""
    row, escape = inspection.row, wording.in_markdown
    facts = [
        wording.count(row.frames or 0, "frame"),
        f"{row.fps:g} fps" if row.fps is not None else "frame rate unknown",
        f"{row.width} x {row.height} pixels",
        *([f"{row.duration:.2f} s"] if row.duration is not None else []),
    ]
    lines = [f"# {escape(inspection.clip.id)}", "", f"{', '.join(facts)}; sha256 `{row.sha256}`.", ""]
    lines += [f"See [{VIDEO}]({VIDEO}) and [{CURVES}]({CURVES}).", ""]
    lines += [f"## {wording.count(len(inspection.findings), 'finding')}", ""]
    for finding in inspection.findings:
        sure = "" if finding.confidence is None else f", confidence {finding.confidence:.0%}"
        lines.append(
            f"- **{escape(finding.kind)}**, {wording.span(finding)}{sure}: {escape(finding.message)} "
            f"({escape(finding.metric)}{'; boxed in the video' if finding.boxes else ''})"
        )
        if finding.limitation:
            lines.append(f"  Can't tell: {escape(finding.limitation)}")
    lines += [] if inspection.findings else ["None of these metrics found anything to point at.", ""]
    lines += ["", "## Scores", "", "| metric | value | unit, or why there is none |", "| --- | --: | --- |"]
    lines += [f"| {' | '.join(map(escape, cells))} |" for cells in table(inspection)]
    lines += ["", "↑ higher is better, ↓ lower is better; without an arrow: described, not judged."]
    for title, told_of in (
        ("Left out", [f"{left.metric}: {left.reason}" for left in inspection.left_out]),
        ("Warnings", inspection.warnings),
    ):
        if told_of:
            lines += ["", f"## {title}", "", *(f"- {escape(line)}" for line in told_of)]
    return "\n".join(lines) + "\n"


def table(inspection: Inspection) -> list[tuple[str, str, str]]:
    """Rows of metric with arrow, value, and unit or the reason why there is no value; text from outside as it is."""
    facts = {metric.name: metric for metric in inspection.metrics}
    rows = []
    for score in inspection.scores:
        metric = facts[score.metric]
        name = f"{score.metric} {wording.arrow(metric)}".rstrip()
        if score.value is None:
            rows.append((name, "–", f"unscored: {score.reason}"))
        else:
            value = wording.number(score.value, wording.decimals([score.value]))
            rows.append((name, value, "" if metric.unit == "1" else metric.unit))
    return rows
