"""Making reference files, putting them together, and holding them against a run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vidbench import __version__
from vidbench.clips import Clip, discover
from vidbench.errors import InputError, VidbenchError
from vidbench.files import default_folder
from vidbench.metric import Metric, SetMetric
from vidbench.plugins import metrics
from vidbench.reference import ExtractorStamp, KeptMetric, ReferenceFile, read_reference, write_reference
from vidbench.results import ClipRow, LeftOut
from vidbench.run.cache import default_limit
from vidbench.run.feed import told
from vidbench.run.local import Task, evaluate, usable_cores
from vidbench.run.plan import PlannedMetric, make_extractor, make_metric, select
from vidbench.run.sets import Collector
from vidbench.run.shard import DECODER, Outcome
from vidbench.video import Limits

SPANS = ("frames", "fps", "width", "height")


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What the user asked for."""

    clips: Path
    out: Path
    metrics: tuple[str, ...] = ()
    """By name; empty for every set metric whose needs are met."""
    protocol: str | None = None
    """Of all metrics that have protocols."""
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    features: bool = True
    """False leaves out every row of a single clip, and with them the metrics that need rows."""
    fps: float | None = None
    jobs: int | None = None
    clip_timeout: float = 600.0
    limits: Limits = field(default_factory=Limits)
    cache: bool = True


@dataclass(frozen=True, slots=True)
class Built:
    """A file that was written."""

    reference: ReferenceFile
    left_out: tuple[LeftOut, ...]
    failed: tuple[ClipRow, ...]
    unscored: Mapping[str, Mapping[str, int]]
    """By metric: why clips are not in its state, with counts."""


def build(request: BuildRequest, begins: Callable[[int, int], None], done: Callable[[ClipRow], None]) -> Built:
    """Look at every clip of a folder and write what set metrics keep of it.

    Args:
        request: what to do.
        begins: told how many clips there are and how many processes look at them.
        done: told each clip, as it is finished.

    Raises:
        InputError: no usable clips, no metric, or the file cannot be written.
    """
    folder = discover(request.clips, fps=request.fps)
    selection = select(
        folder,
        has_reference=True,
        names=request.metrics,
        parameters=_with_protocol(request),
        limits=request.limits,
        cache_folder=default_folder() if request.cache else None,
        cache_limit=default_limit(),
        media=False,
    )
    chosen, left_out = _keepable(selection.plan.metrics, request)
    left_out += [item for item in selection.left_out if _is_set(item.metric)]
    if not chosen:
        reasons = "; ".join(f"{item.metric}: {item.reason}" for item in left_out) or "no set metrics are installed"
        raise InputError(f"no metric can keep statistics of this folder ({reasons})")
    plan = replace(selection.plan, metrics=tuple(chosen))
    tasks: list[Task] = [(clip, True) for clip in sorted(folder.clips, key=lambda clip: clip.id)]
    jobs = max(1, min(request.jobs or usable_cores(), len(tasks)))
    begins(len(tasks), jobs)
    seen = _Seen()
    states = [_State(planned, seen) for planned in chosen]
    clips = {clip.id: clip for clip in folder.clips}
    rows: list[ClipRow] = []
    for outcome in _in_order(tasks, evaluate(plan, tasks, jobs=jobs, clip_timeout=request.clip_timeout)):
        rows.append(outcome.row)
        seen.outcome = outcome
        for state in states:
            state.add(outcome.row, clips.get(outcome.row.clip))
        done(outcome.row)
    scored = [row for row in rows if row.status == "scored"]
    if not scored:
        why = rows[0].reason if rows else "it holds no clips"
        raise InputError(f"none of the {len(rows)} clips in {request.clips} could be read ({why})")
    kept = {}
    for state in states:
        try:
            kept[state.metric.name] = state.kept(features=request.features)
        except VidbenchError as error:
            left_out.append(LeftOut(state.metric.name, str(error)))
    if not kept:
        raise InputError("; ".join(f"{item.metric}: {item.reason}" for item in left_out))
    reference = ReferenceFile(
        vidbench=__version__,
        decoder=DECODER,
        features=request.features,
        clips=len(scored),
        spans=_spans(scored),
        metrics=kept,
        hashes=np.array([list(bytes.fromhex(row.sha256 or "")) for row in scored], np.uint8).reshape(-1, 32),
    )
    write_reference(request.out, reference)
    failed = tuple(row for row in rows if row.status == "failed")
    unscored = {state.metric.name: dict(state.unscored) for state in states if state.unscored}
    return Built(reference, tuple(left_out), failed, unscored)


def merge_files(paths: tuple[Path, ...], out: Path) -> ReferenceFile:
    """Put the statistics of disjoint sets together.

    Raises:
        InputError: the files differ in what their numbers depend on, share clips, or cannot be read or written.
    """
    files = [(path, read_reference(path)) for path in paths]
    if len(files) < 2:
        raise InputError("give at least two reference files to merge")
    (first_path, whole), *others = files
    states = unpacked(first_path, whole)
    for path, other in others:
        shared = whole.hexdigests() & other.hexdigests()
        if shared:
            raise InputError(f"{path} shares {len(shared)} clips with the files before it; a clip must count once")
        if set(other.metrics) != set(whole.metrics):
            odd = ", ".join(sorted(set(other.metrics) ^ set(whole.metrics)))
            raise InputError(f"{path} and {first_path} differ in their metrics ({odd}); build both with the same")
        if (other.decoder, other.vidbench, other.features) != (whole.decoder, whole.vidbench, whole.features):
            raise InputError(f"{path} and {first_path} were not built by the same vidbench, decoder and options")
        for name, kept in other.metrics.items():
            found = difference(kept, whole.metrics[name])
            if found is not None:
                raise InputError(f"{path} and {first_path} differ in {name}: {found}; build both alike")
        merged = {}
        for name, state in unpacked(path, other).items():
            metric = _made(whole.metrics[name])
            states[name] = metric.merge(states[name], state)
            packed = metric.pack(states[name], features=whole.features)
            if packed is None:
                raise InputError(f"{name} cannot be merged without features")
            clips = whole.metrics[name].clips + other.metrics[name].clips
            merged[name] = replace(whole.metrics[name], clips=clips, arrays=packed[0], values=packed[1])
        whole = replace(
            whole,
            clips=whole.clips + other.clips,
            spans=_joined(whole.spans, other.spans),
            metrics=merged,
            hashes=np.concatenate([whole.hashes, other.hashes]),
        )
    write_reference(out, whole)
    return whole


def unpacked(path: Path, reference: ReferenceFile, names: frozenset[str] | None = None) -> dict[str, Any]:
    """The states of a file, each looked over by its metric.

    Args:
        path: of the file, for messages.
        reference: the file.
        names: which metrics; None for all.

    Raises:
        InputError: a state is not one that its metric can have written.
        PluginError: a metric is not installed.
    """
    states = {}
    for name, kept in reference.metrics.items():
        if names is not None and name not in names:
            continue
        try:
            states[name] = _made(kept).unpack(kept.arrays, kept.values)
        except (ValueError, TypeError, np.linalg.LinAlgError) as error:
            raise InputError(f"{path}: the statistics of {name} are damaged: {error}; build the file again") from None
    return states


def stamped(planned: PlannedMetric) -> KeptMetric:
    """What a metric's numbers depend on, without a state.

    Raises:
        VidbenchError: an extractor or its weights are missing.
    """
    metric = make_metric(planned)
    made = [make_extractor(spec) for spec in metric.extractor_specs()]
    stamps = tuple(ExtractorStamp(e.name, e.version, e.parameter_values(), e.weights_checksum()) for e in made)
    return KeptMetric(metric.name, metric.version, metric.parameter_values(), stamps, 0, {})


def difference(kept: KeptMetric, ours: KeptMetric) -> str | None:
    """In words, what two stamps of one metric differ in; None where their numbers can be compared."""
    return next(_differences(kept, ours), None)


def _differences(kept: KeptMetric, ours: KeptMetric) -> Iterator[str]:
    if kept.version != ours.version:
        yield f"version {kept.version} of the metric against {ours.version}"
    yield from _parameters(kept.parameters, ours.parameters)
    theirs, mine = ({stamp.name: stamp for stamp in side.extractors} for side in (kept, ours))
    if set(theirs) != set(mine):
        yield f"extractors {', '.join(sorted(theirs))} against {', '.join(sorted(mine))}"
    for name in sorted(set(theirs) & set(mine)):
        stamp, other = theirs[name], mine[name]
        if stamp.version != other.version:
            yield f"version {stamp.version} of the extractor {name} against {other.version}"
        yield from (f"the extractor {name}: {found}" for found in _parameters(stamp.parameters, other.parameters))
        if stamp.weights != other.weights:
            yield f"weights of {name}: {_short(stamp.weights)} against {_short(other.weights)}"


def check(path: Path, reference: ReferenceFile, planned: PlannedMetric) -> str | None:
    """Hold a file against a metric of a run.

    Returns:
        Why the metric has to be left out: the file holds nothing of it. None where it can be used.

    Raises:
        InputError: the file holds the metric with other settings; names the difference and the remedy.
    """
    kept = reference.metrics.get(planned.name)
    if kept is None:
        without = " (it was built without features)" if not reference.features else ""
        return (
            f"{path.name} holds no statistics for it{without}: vidbench reference build FOLDER --metrics "
            f"{planned.name} -o FILE"
        )
    found = difference(kept, stamped(planned))
    if found is None:
        if reference.decoder.split(" ", 1)[0] != DECODER.split(" ", 1)[0]:
            found = f"frames decoded by {reference.decoder} against {DECODER}"
        else:
            return None
    settings = _settings(planned, kept)
    remedy = f"run with: {settings}" if settings else "build it again"
    raise InputError(f"{path} does not fit {planned.name} of this run (file against run): {found}; {remedy}")


def remarks(path: Path, reference: ReferenceFile) -> list[str]:
    """What belongs into every report that rests on the file."""
    said = [f"the reference set is {path.name}: statistics of {reference.clips} clips"]
    if reference.vidbench != __version__:
        said.append(f"{path.name} was built by vidbench {reference.vidbench}, this is {__version__}")
    if reference.decoder != DECODER:
        said.append(f"{path.name} was decoded by {reference.decoder}, this run by {DECODER}")
    return said


def _settings(planned: PlannedMetric, kept: KeptMetric) -> str:
    """The options that give the run the file's parameters, where that is all they differ in."""
    odd = {key: value for key, value in kept.parameters.items() if planned.parameters.get(key) != value}
    plain = all(re.fullmatch(r"[\w.-]+", str(value)) for value in odd.values()) and set(odd) <= set(planned.parameters)
    return " ".join(f"--set {planned.name}.{key}={value}" for key, value in odd.items()) if plain else ""


def _parameters(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(set(theirs) | set(ours)):
        if key not in theirs or key not in ours or theirs[key] != ours[key]:
            yield f"{key} {theirs.get(key, 'not set')} against {ours.get(key, 'not set')}"


def _short(checksum: str | None) -> str:
    return "none" if checksum is None else f"{checksum[:23]}…"


class _Seen:
    """The clip at hand, as `Collector` looks things up."""

    outcome: Outcome | None = None

    def __call__(self, _key: str, identity: str) -> bytes | str:
        if self.outcome is None:
            return "nothing was seen"
        return self.outcome.kept.get(identity) or self.outcome.unkept.get(identity, f"{identity} was not kept")


class _State:
    """A metric's state as it grows."""

    def __init__(self, planned: PlannedMetric, seen: _Seen) -> None:
        self.metric = _set_metric(make_metric(planned))
        self._planned = planned
        self._collector = Collector(self.metric, seen)
        self._state = self.metric.new_state()
        self._clips = 0
        self._trouble: str | None = None
        self.unscored: Counter[str] = Counter()

    def add(self, row: ClipRow, clip: Clip | None) -> None:
        if self._trouble is not None:
            return
        try:
            seen = self._collector.observations(row, clip)
            if isinstance(seen, str):
                self.unscored[seen] += 1
                return
            self._state = self.metric.observe(self._state, seen)
            self._clips += 1
        except (Exception, SystemExit) as error:  # a stranger's metric may raise anything
            self._trouble = told(self.metric.name, error)

    def kept(self, *, features: bool) -> KeptMetric:
        if self._trouble is not None:
            raise InputError(self._trouble)
        if not self._clips:
            reasons = ", ".join(self.unscored) or "there are no clips"
            raise InputError(f"no clip could be used ({reasons})")
        packed = self.metric.pack(self._state, features=features)
        if packed is None:
            raise InputError("it keeps no statistics")
        return replace(stamped(self._planned), clips=self._clips, arrays=packed[0], values=packed[1])


def _in_order(tasks: list[Task], outcomes: Iterator[tuple[Task, Outcome]]) -> Iterator[Outcome]:
    """Outcomes in the order of `tasks`, whoever finished first: sums in one order repeat bit for bit."""
    waiting: dict[str, Outcome] = {}
    wanted = iter(tasks)
    next_clip = next(wanted, None)
    for (clip, _), outcome in outcomes:
        waiting[clip.id] = outcome
        while next_clip is not None and next_clip[0].id in waiting:
            yield waiting.pop(next_clip[0].id)
            next_clip = next(wanted, None)


def _with_protocol(request: BuildRequest) -> dict[str, dict[str, Any]]:
    parameters = {name: dict(values) for name, values in request.parameters.items()}
    if request.protocol is None:
        return parameters
    registry = metrics()
    kinds = {name: registry.load(name) for name in request.metrics} if request.metrics else registry.load_all()
    having = [
        name for name, kind in kinds.items() if kind.granularity == "set" and "protocol" in kind().parameter_values()
    ]
    if not having:
        raise InputError(f"--protocol {request.protocol}: none of the metrics has protocols")
    for name in having:
        parameters.setdefault(name, {}).setdefault("protocol", request.protocol)
    return parameters


def _keepable(planned: tuple[PlannedMetric, ...], request: BuildRequest) -> tuple[list[PlannedMetric], list[LeftOut]]:
    """The metrics whose state can be written down, and why the others can't."""
    kept: list[PlannedMetric] = []
    left_out: list[LeftOut] = []
    for one in planned:
        metric = make_metric(one)
        why: str | None = one.unavailable
        if not isinstance(metric, SetMetric):
            why = "compares no sets, so it keeps no statistics of one"
        elif why is None and metric.pack(metric.new_state(), features=request.features) is None:
            whole = metric.pack(metric.new_state()) is not None
            why = "needs the rows of single clips, which --no-features leaves out" if whole else "keeps no statistics"
        if why is None:
            kept.append(one)
        elif one.name in request.metrics:
            raise InputError(f"{one.name}: {why}")
        elif isinstance(metric, SetMetric):
            left_out.append(LeftOut(one.name, why))
    return kept, left_out


def _is_set(name: str) -> bool:
    return metrics().load(name).granularity == "set"


def _made(kept: KeptMetric) -> SetMetric[Any, Any]:
    """The metric with the file's parameters."""
    return _set_metric(make_metric(PlannedMetric(kept.name, kept.parameters)))


def _set_metric(metric: Metric[Any]) -> SetMetric[Any, Any]:
    if not isinstance(metric, SetMetric):
        raise InputError(f"{metric.name} compares no sets")
    return metric


def _spans(rows: list[ClipRow]) -> dict[str, list[float | None]]:
    spans: dict[str, list[float | None]] = {}
    for name in SPANS:
        values = [value for row in rows if (value := getattr(row, name)) is not None]
        spans[name] = [min(values), max(values)] if values else [None, None]
    return spans


def _joined(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[float | None]]:
    joined: dict[str, list[float | None]] = {}
    for name in SPANS:
        ends = [end for side in (a, b) for end in side.get(name, (None, None)) if end is not None]
        joined[name] = [min(ends), max(ends)] if ends else [None, None]
    return joined
