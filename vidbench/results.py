"""Typed results: what a run says, and nothing about how it is shown.

A run folder is read with `load_run`; reports, gates and comparisons start from the `Run` it returns.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from vidbench.errors import RunFolderError

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
"""Raised whenever a file of the run folder changes in a way that an older reader would misread."""

BASELINE_PREFIX = "baseline:"
"""Models whose names begin so are broken on purpose (`vidbench.baselines`): shown, never ranked."""

Status = Literal["scored", "skipped", "failed"]


def is_baseline(model: str) -> bool:
    """Whether it is a broken baseline, which no metric should place above a real model."""
    return model.startswith(BASELINE_PREFIX)


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """How one metric's numbers were made; a row of `run.json`."""

    name: str
    version: str
    summary: str
    reference: str
    protocol: str
    higher_is_better: bool
    unit: str
    value_range: tuple[float | None, float | None]
    """Smallest and largest possible value; None where there is no bound."""
    granularity: str
    aggregation: str
    diagnostic: bool
    """True where the number describes and does not judge: not in the overall ranking."""
    parameters: Mapping[str, Any]
    extractors: tuple[str, ...]
    """Identities: name, version and a hash of parameters and weights."""
    weights: Mapping[str, str]
    """Checksum of the weights by extractor name; empty where there are none."""
    distribution: str = "vidbench"
    """The installed package the metric comes from."""
    needs: tuple[str, ...] = ()
    """What it reads besides pixels: `prompt`, `actions`. Empty in runs of older versions."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A metric that did not run, why, and how to add it."""

    metric: str
    reason: str


@dataclass(frozen=True, slots=True)
class ClipRow:
    """One file that was met; a row of `clips.jsonl`."""

    clip: str
    model: str | None
    status: Status
    reason: str | None = None
    sha256: str | None = None
    frames: int | None = None
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    """Seconds."""
    prompt: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds per stage."""
    warnings: tuple[str, ...] = ()
    media: str | None = None
    """Stem of the preview files in the run folder: `media/<stem>.mp4` plays in browsers, `media/<stem>.jpg` is a
    filmstrip of `strip_frames` frames side by side."""
    media_frames: int | None = None
    """How many frames the preview shows, from the first; the clip may have more."""
    strip_frames: tuple[int, ...] = ()
    """Which frames the filmstrip shows, from left to right."""
    findings: int | None = None
    """How many rows of `findings.jsonl` are this clip's; None in runs of older versions."""
    key: str | None = None
    """Hash of the clip's content, metadata and reference clip: a resumed run keeps the row while it is the same."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One score or the reason why there is none; a row of `scores.jsonl`."""

    model: str
    clip: str | None
    """None for a set metric."""
    metric: str
    value: float | None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One located violation; a row of `findings.jsonl`."""

    model: str
    clip: str
    metric: str
    kind: str
    start: int
    """First frame, from 0."""
    end: int
    """Last frame, inclusive."""
    start_time: float | None
    """Seconds; None where the clip's frame rate is unknown."""
    end_time: float | None
    message: str
    confidence: float | None = None
    limitation: str = ""
    boxes: tuple[Mapping[str, Any], ...] = ()
    """`{"frame": n, "box": [x0, y0, x1, y1]}` in pixels; empty where the whole frame is meant."""
    evidence: str | None = None
    """A picture of it: the name of a JPEG file relative to the run folder, `evidence/<stem>-<n>.jpg`."""
    evidence_frames: tuple[int, ...] = ()
    """Which frames the picture shows, from left to right."""
    no_evidence: str | None = None
    """Why there is no picture; None where there is one, or where none was asked for."""


@dataclass(frozen=True, slots=True)
class ModelScore:
    """One metric's value for one model, with its uncertainty and coverage; a row of `summary.json`."""

    model: str
    metric: str
    value: float | None
    reason: str | None
    """Why there is no value."""
    low: float | None
    """95 % interval, lower end; None where no interval can be given."""
    high: float | None
    interval: str
    """How the interval was made, or why there is none."""
    n_scored: int
    n_unscored: int
    """n_scored + n_unscored = the model's clips."""
    reasons: Mapping[str, int]
    """Why clips are unscored, with counts."""
    rank: int | None = None
    """1 is best; ties share a rank."""
    rank_low: int | None = None
    """Best rank that the intervals allow."""
    rank_high: int | None = None
    """Worst rank that the intervals allow."""
    note: str | None = None
    """What a reader must know before believing the value, e.g. that this model is the reference set itself or that most
    of the value is sampling error; such a value is shown and not ranked."""
    remark: str | None = None
    """What else belongs beside the value, e.g. how it departs from a published protocol; it is ranked all the same."""

    @property
    def footnote(self) -> str | None:
        """All that must be said of the value, or None."""
        return "; ".join(said for said in (self.note, self.remark) if said) or None


@dataclass(frozen=True, slots=True)
class OverallRank:
    """A model's place over all metrics that judge."""

    model: str
    rank: int | None
    """By mean rank; 1 is best; ties share a rank. None where no judging metric has a value."""
    mean_rank: float | None
    metrics: int
    """How many metrics entered."""
    note: str | None = None
    """Why the model is not ranked, e.g. that it is the reference set itself."""
    low: float | None = None
    """95 % interval of the mean rank, lower end."""
    high: float | None = None
    rank_low: int | None = None
    """Best rank that the certain differences of mean ranks allow."""
    rank_high: int | None = None
    """Worst rank that they allow."""
    pareto: bool | None = None
    """No other ranked model is at least as good in every metric and better in one; None in runs of older versions."""


@dataclass(frozen=True, slots=True)
class TotalScore:
    """The weighted total of a suite for one model: see `vidbench.suite.Total`."""

    model: str
    name: str
    value: float | None
    """Weighted mean of the normalised values; None where one is missing: an absent value is not a zero."""
    clamped: float | None
    """The same with each normalised value cut to 0 … 1; None where one is missing."""
    partial: float | None
    """The same as `value` over those that are there; None where there is none, equal to it where none is missing."""
    terms: Mapping[str, float]
    """Metric to its normalised value, not cut."""
    missing: Mapping[str, str]
    """Metric to the reason why it has no value."""
    rule: str
    """The rule in words."""


@dataclass(frozen=True, slots=True)
class BaselineFlag:
    """A metric that judges and puts a broken baseline above a model: it does not see that failure."""

    metric: str
    baseline: str
    """The baseline's name, without its prefix."""
    above: tuple[str, ...]
    """Models with a worse value than the baseline."""
    certain: tuple[str, ...]
    """Those of them whose difference over prompts is certain."""


@dataclass(frozen=True, slots=True)
class Summary:
    """`summary.json`: what the run says about models."""

    models: tuple[str, ...]
    """In order of overall rank."""
    scores: tuple[ModelScore, ...]
    overall: tuple[OverallRank, ...]
    rule: str
    """The rule of the overall ranking, in words."""
    warnings: tuple[str, ...] = ()
    totals: tuple[TotalScore, ...] = ()
    """One a model where the suite has a weighted total, in order of `models`."""
    flags: tuple[BaselineFlag, ...] = ()
    """Metrics that put broken baselines above models, where the run has baselines."""

    def score(self, model: str, metric: str) -> ModelScore | None:
        """The value of one model and metric."""
        return next((s for s in self.scores if s.model == model and s.metric == metric), None)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """`run.json`: how the run was made."""

    schema_version: int
    vidbench: str
    command: str
    created: str
    """UTC, ISO 8601."""
    complete: bool
    folder: str
    """The clip folder, as the user gave it."""
    reference: str | None
    """The reference set, as the user gave it."""
    suite: str | None
    suite_hash: str | None
    settings_hash: str
    """Two runs with the same hash computed the same things in the same way (the clips may differ)."""
    metrics: tuple[MetricFacts, ...]
    left_out: tuple[LeftOut, ...]
    plugin_failures: tuple[str, ...]
    seed: int
    platform: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    """sha256 of metadata and action files, by path relative to the clip folder."""

    def metric(self, name: str) -> MetricFacts | None:
        """The facts of one metric."""
        return next((m for m in self.metrics if m.name == name), None)


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder, read."""

    path: Path
    info: RunInfo
    clips: tuple[ClipRow, ...]
    scores: tuple[ScoreRow, ...]
    findings: tuple[FindingRow, ...]
    summary: Summary | None
    """None while the run is not complete."""
    references: tuple[ClipRow, ...] = ()
    """Clips of the reference set that are not among `clips`."""

    def clips_frame(self) -> pd.DataFrame:
        """One row a file that was met: the columns of `ClipRow`."""
        return _frame(ClipRow, self.clips)

    def scores_frame(self) -> pd.DataFrame:
        """One row a score: the columns of `ScoreRow`; unscored values are missing, with their reason beside them."""
        return _frame(ScoreRow, self.scores)

    def findings_frame(self) -> pd.DataFrame:
        """One row a finding: the columns of `FindingRow`."""
        return _frame(FindingRow, self.findings)

    def summary_frame(self) -> pd.DataFrame:
        """One row a model and metric: the columns of `ModelScore`; empty while the run is not complete."""
        return _frame(ModelScore, self.summary.scores if self.summary else ())

    def __str__(self) -> str:
        counts = {status: sum(row.status == status for row in self.clips) for status in ("scored", "failed", "skipped")}
        told = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
        state = "" if self.info.complete else ", not complete"
        return f"vidbench run {self.path.name}: {told or 'no clips'}, {len(self.info.metrics)} metrics{state}"

    def _repr_html_(self) -> str:
        """What a notebook shows: a line and a small table, models by metrics that judge, all text escaped."""
        from vidbench.notebook import run_table

        return run_table(self)


def _frame(kind: type[Any], rows: tuple[Any, ...]) -> pd.DataFrame:
    import pandas as pd

    columns = [f.name for f in dataclasses.fields(kind)]
    return pd.DataFrame([{c: getattr(row, c) for c in columns} for row in rows], columns=columns)


R = TypeVar("R")

_TUPLES = frozenset(
    {
        "value_range",
        "extractors",
        "warnings",
        "strip_frames",
        "boxes",
        "evidence_frames",
        "models",
        "plugin_failures",
        "needs",
        "above",
        "apart",
    }
)


def to_json(row: Any) -> dict[str, Any]:
    """A result as plain JSON values.

    Raises:
        ValueError: a number is NaN or infinite; results never hold one.
    """

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{type(row).__name__} holds {value}")
        return value

    result = plain(row)
    if not isinstance(result, dict):
        raise TypeError(f"{type(row).__name__} is not a result")
    return result


def from_json(kind: type[R], values: Mapping[str, Any]) -> R:
    """A result from plain JSON values; keys that this version does not know are left aside.

    Raises:
        ValueError: a required key is missing.
    """
    known: dict[str, Any] = {}
    for f in dataclasses.fields(kind):  # type: ignore[arg-type]
        if f.name in values:
            value = values[f.name]
            known[f.name] = tuple(value) if isinstance(value, list) and f.name in _TUPLES else value
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ValueError(f"{kind.__name__} lacks '{f.name}'")
    return kind(**known)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file. A last line without its newline is what a killed run left: it is passed over.

    Raises:
        RunFolderError: another line is not a JSON object; names file and line.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except ValueError as error:
                raise RunFolderError(
                    f"{path} line {number} is not JSON ({error}); the file was changed by hand?"
                ) from None
            if not isinstance(row, dict):
                raise RunFolderError(f"{path} line {number} is not a JSON object")
            yield row


class _Shared:
    """One object for all equal strings: names of models, clips and metrics stand in thousands of rows."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        for key in ("model", "clip", "metric", "prompt", "reason", "kind", "limitation"):
            value = row.get(key)
            if isinstance(value, str):
                row[key] = self._known.setdefault(value, value)
        return row


def read_info(folder: Path) -> RunInfo:
    """Read `run.json`.

    Raises:
        RunFolderError: there is none, or it is of another schema version.
    """
    path = folder / "run.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values["schema_version"]
    except FileNotFoundError:
        raise RunFolderError(
            f"{folder} is not a run folder: it has no run.json; make one with `vidbench run CLIPS --out {folder}`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} cannot be read ({error})") from None
    if version != SCHEMA_VERSION:
        raise RunFolderError(f"{path} has schema version {version}; this vidbench reads {SCHEMA_VERSION}")
    try:
        values["metrics"] = tuple(from_json(MetricFacts, m) for m in values["metrics"])
        values["left_out"] = tuple(from_json(LeftOut, m) for m in values["left_out"])
        return from_json(RunInfo, values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(f"{path} is not the record of a vidbench run ({error})") from None


def read_summary(folder: Path) -> Summary | None:
    """Read `summary.json`; None where the run is not complete."""
    path = folder / "summary.json"
    if not path.exists():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    values["scores"] = tuple(from_json(ModelScore, s) for s in values["scores"])
    values["overall"] = tuple(from_json(OverallRank, o) for o in values["overall"])
    values["totals"] = tuple(from_json(TotalScore, t) for t in values.get("totals", ()))
    values["flags"] = tuple(from_json(BaselineFlag, f) for f in values.get("flags", ()))
    return from_json(Summary, values)


def load_run(path: str | Path) -> Run:
    """Read a run folder.

    Raises:
        RunFolderError: it is not a run folder, or one of its files is damaged; names the file.
    """
    folder = Path(path)
    info = read_info(folder)
    shared = _Shared()
    try:
        return Run(
            path=folder,
            info=info,
            clips=tuple(
                sorted(
                    (from_json(ClipRow, r) for r in map(shared, read_lines(folder / "clips.jsonl"))),
                    key=lambda r: r.clip,
                )
            ),
            scores=tuple(
                sorted(
                    (from_json(ScoreRow, r) for r in map(shared, read_lines(folder / "scores.jsonl"))),
                    key=lambda r: (r.model, r.clip or "", r.metric),
                )
            ),
            findings=tuple(
                sorted(
                    (from_json(FindingRow, r) for r in map(shared, read_lines(folder / "findings.jsonl"))),
                    key=lambda r: (r.model, r.clip, r.start, r.metric),
                )
            ),
            summary=read_summary(folder) if info.complete else None,
            references=tuple(
                sorted(
                    (from_json(ClipRow, r) for r in map(shared, read_lines(folder / "references.jsonl"))),
                    key=lambda r: r.clip,
                )
            ),
        )
    except (ValueError, TypeError) as error:
        raise RunFolderError(f"{folder} is damaged: {error}") from None
