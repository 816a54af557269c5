"""One run from beginning to end: discover, select, evaluate, finalise. The command line only asks and shows."""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol

from vidbench import __version__, baselines
from vidbench.clips import Clip, ClipFolder, NotScored, content_hash, discover, pair_by_name
from vidbench.errors import ClipError, InputError
from vidbench.files import default_folder, folder_id
from vidbench.metric import ClipMetric
from vidbench.plugins import extractors, metrics, reports, suites
from vidbench.reference import SUFFIX, ReferenceFile, read_reference
from vidbench.results import SCHEMA_VERSION, ClipRow, Run, RunInfo, load_run
from vidbench.run.cache import ObservationCache, default_limit
from vidbench.run.local import Task, usable_cores
from vidbench.run.plan import Plan, Selection, make_metric, select
from vidbench.run.reference import check, remarks, unpacked
from vidbench.run.sets import KeptReference, score_sets, set_identities
from vidbench.run.shard import Outcome, clip_key, failed_outcome
from vidbench.run.store import RunStore
from vidbench.summary import summarise
from vidbench.video import Limits

BASELINES = "baselines"
"""Where in the run folder the broken baselines lie."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for."""

    clips: Path
    out: Path
    reference: Path | None = None
    metrics: tuple[str, ...] = ()
    suite: str | None = None
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Metric name to parameter values."""
    model: str | None = None
    """Name of the model, for a flat folder."""
    fps: float | None = None
    """Frame rate of every clip whose metadata gives none, whatever its file says."""
    pair_by_name: bool = False
    jobs: int | None = None
    """Worker processes; None takes one a core."""
    engine: Literal["local", "ray"] = "local"
    clip_timeout: float = 600.0
    """Seconds a clip may take."""
    limits: Limits = field(default_factory=Limits)
    cache: bool = True
    media: bool = True
    seed: int = 0
    overwrite: bool = False
    retry_failed: bool = False
    baselines: tuple[str, ...] = ()
    """Broken baselines to score beside the models, by name."""
    command: str = ""


class Listener(Protocol):
    """Told what happens during a run."""

    def selected(self, folder: ClipFolder, selection: Selection) -> None:
        """The clips are found and the metrics chosen."""

    def begins(self, total: int, finished: int, jobs: int) -> None:
        """Evaluation begins: `total` clips, of which an earlier run finished some."""

    def clip_done(self, row: ClipRow) -> None:
        """One clip is evaluated and written."""

    def finalising(self, what: str) -> None:
        """A set metric is about to be computed."""


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run."""

    run: Run
    selection: Selection
    computed: int
    """Clips evaluated this time; the others were finished before."""


class _Evaluate(Protocol):
    def __call__(
        self, plan: Plan, tasks: Iterable[Task], *, jobs: int, clip_timeout: float
    ) -> Iterator[tuple[Task, Outcome]]: ...


def execute(request: Request, listener: Listener) -> Result:
    """Carry out a request.

    Raises:
        InputError: no usable input.
        PluginError: a named metric or suite cannot be used.
        RunFolderError: the output folder cannot be used.
        KeyboardInterrupt: passed on after what is finished has been written.
    """
    folder = discover(request.clips, model=request.model, fps=request.fps)
    file = _reference_file(request)
    reference = _reference(request) if file is None else None
    if request.pair_by_name:
        if file is not None:
            raise InputError("--pair-by-name needs clips: give --reference a folder, not a file of statistics")
        if reference is None:
            raise InputError("--pair-by-name needs --reference FOLDER: the true clips that carry the same names")
        folder = pair_by_name(folder, reference)
    broken = baselines.Plan((), {})
    if request.baselines:
        broken = baselines.plan(folder, request.out / BASELINES, request.baselines, avoid=_shared(folder, reference))
        folder = replace(folder, clips=(*folder.clips, *(item.clip for item in broken.clips)))
    cache_folder = default_folder() if request.cache else None
    cache_limit = default_limit()
    selection = select(
        folder,
        has_reference=reference is not None or file is not None,
        names=request.metrics,
        suite=suites().load(request.suite) if request.suite is not None else None,
        parameters=request.parameters,
        limits=request.limits,
        cache_folder=cache_folder,
        cache_limit=cache_limit,
        media=request.media,
        kept=None if file is None else functools.partial(check, *file),
    )
    kept = None if file is None else _kept(*file, selection)
    info = _info(request, folder, selection)
    evaluate = _engine(request.engine)
    with RunStore.open(request.out, info, overwrite=request.overwrite) as store:
        listener.selected(folder, selection)
        folder = _made(folder, broken, request)
        tasks, finished = _tasks(folder, reference, selection.plan, store, retry_failed=request.retry_failed)
        jobs = max(1, min(request.jobs or usable_cores(), len(tasks)))
        listener.begins(len(tasks) + finished, finished, jobs)
        if tasks:
            for (_, is_reference), outcome in evaluate(
                selection.plan, tasks, jobs=jobs, clip_timeout=request.clip_timeout
            ):
                store.append(outcome, reference=is_reference)
                listener.clip_done(outcome.row)
        clips, scores, references = store.rows()
        shared = _shared(folder, reference)
        known = {clip.id: clip for clip in folder.clips}
        known_references = {clip.id: clip for clip in reference.clips} if reference is not None else {}
        set_rows = score_sets(
            selection.plan,
            [(row, known.get(row.clip)) for row in clips],
            [
                *((row, known.get(row.clip)) for row in clips if row.clip in shared),
                *((row, known_references.get(row.clip)) for row in references),
            ],
            store.observation,
            listener.finalising,
            kept,
        )
        summary = summarise(
            clips,
            [*scores, *set_rows],
            selection.facts,
            yardsticks=_yardsticks(folder, shared),
            seed=request.seed,
            warnings=[
                *(remarks(*file) if file is not None and kept else ()),
                *(f"no baseline {name}: {reason}" for name, reason in broken.left_out.items()),
                *_warnings(reference, [*references, *(row for row in clips if row.clip in shared)]),
            ],
            total=selection.total,
            left_out={left.metric: left.reason for left in selection.left_out},
            weights=selection.rank_weights,
        )
        store.finish(replace(info, complete=True), summary, set_rows)
        del clips, scores, references  # the result reads them once more: for a moment there would be two of each
    if cache_folder is not None:
        ObservationCache(cache_folder, cache_limit).prune()
    return Result(load_run(request.out), selection, len(tasks))


def _made(folder: ClipFolder, broken: baselines.Plan, request: Request) -> ClipFolder:
    """The folder after its baselines have been written; those that could not be are failed clips."""
    if not broken.clips:
        return folder
    failed = baselines.make(broken, request.out / BASELINES, request.limits)
    return replace(
        folder,
        clips=tuple(clip for clip in folder.clips if clip.id not in failed),
        others=(
            *folder.others,
            *(NotScored(c.id, "failed", failed[c.id], c.model) for c in folder.clips if c.id in failed),
        ),
    )


def _engine(name: Literal["local", "ray"]) -> _Evaluate:
    if name == "ray":
        from vidbench.run.ray import evaluate as over_a_cluster

        return over_a_cluster
    from vidbench.run.local import evaluate as over_processes

    return over_processes


def _reference(request: Request) -> ClipFolder | None:
    if request.reference is None:
        return None
    try:
        return discover(request.reference, fps=request.fps)
    except InputError as error:
        raise InputError(f"--reference: {error}") from None


def _reference_file(request: Request) -> tuple[Path, ReferenceFile] | None:
    """The file of statistics that stands for the reference set, where it is one."""
    path = request.reference
    if path is None or not (path.is_file() or path.suffix == SUFFIX):
        return None
    return path, read_reference(path)


def _kept(path: Path, reference: ReferenceFile, selection: Selection) -> dict[str, KeptReference]:
    """The states of the file that the run needs."""
    registry = metrics()
    names = frozenset(
        planned.name
        for planned in selection.plan.metrics
        if planned.unavailable is None
        and registry.load(planned.name).granularity == "set"
        and registry.load(planned.name).needs.reference_set
    )
    hashes: set[str | None] = set(reference.hexdigests())
    states = unpacked(path, reference, names)
    return {name: KeptReference(state, reference.metrics[name].clips, hashes) for name, state in states.items()}


def _tasks(
    folder: ClipFolder, reference: ClipFolder | None, plan: Plan, store: RunStore, *, retry_failed: bool
) -> tuple[list[Task], int]:
    """What is still to be evaluated, and how many clips an earlier run finished."""
    clips = {clip.id: clip for clip in folder.clips}
    identities = set_identities(plan)
    reference_identities = set_identities(plan.for_reference())
    only_reference: dict[str, Clip] = {}
    if reference is not None and reference_identities:
        own = {clip.path.resolve() for clip in folder.clips}
        only_reference = {clip.id: clip for clip in reference.clips if clip.path.resolve() not in own}

    def still_valid(file: str, row: ClipRow) -> bool:
        clip = (clips if file == "clips.jsonl" else only_reference).get(row.clip)
        if clip is None or row.status == "skipped" or (row.status == "failed" and retry_failed):
            return False
        try:
            key = clip_key(clip, content_hash(clip))
        except (ClipError, OSError):
            return row.status == "failed" and row.key is None
        if row.key != key:
            return False
        wanted = identities if file == "clips.jsonl" else reference_identities
        return row.status == "failed" or store.has_observations(key, wanted)

    metrics_run = [make_metric(planned) for planned in plan.metrics]
    finished = store.resume(sum(isinstance(metric, ClipMetric) for metric in metrics_run), still_valid)
    for other in folder.others:
        store.append(
            failed_outcome(other.id, other.model, other.reason, metrics_run)
            if other.status == "failed"
            else Outcome(ClipRow(other.id, other.model, "skipped", other.reason))
        )
    tasks: list[Task] = [(clip, False) for clip in folder.clips if clip.id not in finished["clips.jsonl"]]
    tasks += [(clip, True) for clip in only_reference.values() if clip.id not in finished["references.jsonl"]]
    return tasks, len(finished["clips.jsonl"]) + len(finished["references.jsonl"])


def _shared(folder: ClipFolder, reference: ClipFolder | None) -> set[str]:
    """Ids of the clips that are themselves part of the reference set."""
    if reference is None:
        return set()
    paths = {clip.path.resolve() for clip in reference.clips}
    return {clip.id for clip in folder.clips if clip.path.resolve() in paths}


def _yardsticks(folder: ClipFolder, shared: set[str]) -> set[str]:
    """Models all of whose clips are reference clips."""
    models = {clip.model for clip in folder.clips}
    return models - {clip.model for clip in folder.clips if clip.id not in shared}


def _warnings(reference: ClipFolder | None, rows: Iterable[ClipRow]) -> list[str]:
    """What of the reference set could not be used."""
    others = reference.others if reference is not None else ()
    failed = {row.clip: row.reason for row in rows if row.status == "failed"}
    failed |= {other.id: other.reason for other in others if other.status == "failed"}
    return [f"reference clip {clip} failed: {reason}" for clip, reason in failed.items()]


def _info(request: Request, folder: ClipFolder, selection: Selection) -> RunInfo:
    failures = [str(f) for registry in (metrics(), extractors(), suites(), reports()) for f in registry.failures()]
    return RunInfo(
        schema_version=SCHEMA_VERSION,
        vidbench=__version__,
        command=request.command,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        complete=False,
        folder=str(request.clips),
        reference=str(request.reference) if request.reference is not None else None,
        suite=selection.suite,
        suite_hash=selection.suite_hash,
        settings_hash=selection.settings_hash(request.seed),
        metrics=selection.facts,
        left_out=selection.left_out,
        plugin_failures=tuple(failures),
        seed=request.seed,
        platform=_platform(),
        settings={
            "folder_id": folder_id(request.clips),
            "reference_id": _reference_id(request.reference),
            "pair_by_name": request.pair_by_name,
            "fps": request.fps,
            "max_pixels": request.limits.max_pixels,
            "max_frames": request.limits.max_frames,
            "clip_timeout": request.clip_timeout,
            **({"rank_weights": dict(selection.rank_weights)} if selection.rank_weights else {}),
            "baselines": list(request.baselines) or None,
        },
        inputs={_relative(path, folder.root): _file_hash(path) for path in folder.inputs},
    )


def _file_hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _relative(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.name


def _reference_id(path: Path | None) -> str | None:
    """A folder is known by its place, a file by its content."""
    if path is None:
        return None
    return _file_hash(path)[:16] if path.is_file() else folder_id(path)


def _platform() -> dict[str, str]:
    versions = {"python": platform.python_version(), "system": platform.platform(), "machine": platform.machine()}
    for package in ("numpy", "scipy", "av", "opencv-python-headless", "torch", "timm"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
