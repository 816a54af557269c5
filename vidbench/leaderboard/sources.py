"""Run folders for a leaderboard: found, their models named, their settings held against each other."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vidbench.errors import InputError, RunFolderError
from vidbench.results import ClipRow, MetricFacts, Run, load_run
from vidbench.summary import YARDSTICK


@dataclass(frozen=True, slots=True)
class Source:
    """One run on the board."""

    label: str
    """How it is called: the shortest end of its path that no other run shares."""
    run: Run
    names: Mapping[str, str]
    """The run's models that enter, with their names on the board."""
    yardsticks: frozenset[str]
    """Names on the board of models that are the reference set itself."""

    @property
    def models(self) -> list[str]:
        """Names on the board."""
        return sorted(self.names.values())


@dataclass(frozen=True, slots=True)
class Setting:
    """Something in which runs differ."""

    what: str
    values: tuple[str, ...]
    """One a run, in their order."""


class MixedRunsError(InputError):
    """Runs whose numbers must not stand in one table; carries the table of what differs."""

    def __init__(self, labels: Sequence[str], settings: Sequence[Setting]) -> None:
        what = ", ".join(dict.fromkeys(setting.what for setting in settings))
        super().__init__(
            f"the runs differ in {what}: score them alike with `vidbench run`, choose metrics that they share with "
            "--metrics, or give --allow-mixed for one table a setting"
        )
        self.labels = tuple(labels)
        self.settings = tuple(settings)


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """The run folders among `paths`; a folder without `run.json` stands for the run folders in it.

    Raises:
        InputError: a path does not exist or holds no run.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise InputError(f"{path} is not a folder; give run folders that `vidbench run` wrote, or a folder of them")
        if (path / "run.json").is_file():
            found.append(path)
            continue
        inside = sorted(child for child in path.iterdir() if (child / "run.json").is_file())
        if not inside:
            raise InputError(f"{path} holds no run folder; make one with `vidbench run CLIPS --out {path}/NAME`")
        found += inside
    return list({path.resolve(): path for path in found}.values())


def load_sources(paths: Sequence[Path], names: Mapping[str, str] | None = None) -> tuple[list[Source], list[str]]:
    """Read runs and settle what their models are called.

    Args:
        paths: run folders.
        names: new names, by `RUN` where the run has one model or by `RUN::MODEL`; RUN is the path as given, its label
            or its folder's name.

    Returns:
        The sources, and what was noticed on the way.

    Raises:
        RunFolderError: a run cannot be read or is not complete.
        InputError: two runs have a model of one name but not of the same clips and scores, or a name fits nothing.
    """
    runs = [load_run(path) for path in paths]
    for run in runs:
        if run.summary is None:
            raise RunFolderError(
                f"{run.path} is not complete, so it can't be ranked; the command that made it goes on from where it "
                "stopped"
            )
    labels = _labels([run.path for run in runs])
    renamed = _renamed(runs, labels, names or {})
    owners: dict[str, tuple[int, str]] = {}
    kept: list[dict[str, str]] = [{} for _ in runs]
    notes: list[str] = []
    for i, run in enumerate(runs):
        for model in sorted({row.model for row in run.clips if row.model is not None and row.status != "skipped"}):
            name = renamed.get((i, model), model)
            if name not in owners:
                owners[name] = (i, model)
                kept[i][model] = name
                continue
            j, other = owners[name]
            if _same_clips(runs[j], other, run, model):
                notes.append(f"{name} is in {labels[j]} and {labels[i]} with the same clips: taken from {labels[j]}")
                continue
            raise InputError(
                f"the model '{name}' is in both {labels[j]} and {labels[i]} with different clips; tell them apart with "
                f"--name {labels[i]}::{model}=NEW_NAME"
            )
    sources = [
        Source(label, run, mine, frozenset(mine[model] for model in _yardsticks(run) if model in mine))
        for label, run, mine in zip(labels, runs, kept, strict=True)
    ]
    return [source for source in sources if source.names], notes


def group(sources: Sequence[Source], metrics: Collection[str] = ()) -> tuple[list[list[Source]], list[Setting]]:
    """Put runs together whose numbers may be compared.

    Args:
        sources: the runs.
        metrics: only these count, and the suite does not; empty takes all.

    Returns:
        Groups in order, and everything in which not all runs agree.
    """
    aspects = _aspects(sources, metrics)
    differing = [(what, values) for what, values in aspects.items() if len(set(values)) > 1]
    rates = [_rates(source.run) for source in sources]
    groups: list[list[int]] = []
    for i in range(len(sources)):
        mine = [
            members
            for members in groups
            if any(all(v[i] == v[j] for _, v in differing) and _compatible(rates[i], rates[j]) for j in members)
        ]
        merged = [j for members in mine for j in members]
        groups = [members for members in groups if members not in mine] + [sorted([*merged, i])]
    groups.sort()
    settings = [Setting(what, tuple(values)) for what, values in differing]
    if any(not _compatible(a, b) for a in rates for b in rates):
        settings.append(Setting("frame rate of the clips", tuple(_told_rates(r) for r in rates)))
    return [[sources[i] for i in members] for members in groups], settings if len(groups) > 1 else []


def _labels(paths: Sequence[Path]) -> list[str]:
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(len(p) for p in parts) + 1):
        labels = ["/".join(p[-length:]) for p in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [str(path) for path in paths]


def _renamed(runs: Sequence[Run], labels: Sequence[str], names: Mapping[str, str]) -> dict[tuple[int, str], str]:
    new: dict[tuple[int, str], str] = {}
    for key, name in names.items():
        called, _, model = key.partition("::")
        fitting = [
            i
            for i, (run, label) in enumerate(zip(runs, labels, strict=True))
            if called in (str(run.path), label, run.path.resolve().name)
        ]
        if len(fitting) != 1:
            number = "no" if not fitting else "more than one"
            raise InputError(f"--name {key}: '{called}' is {number} run here; there are: {', '.join(labels)}")
        run = runs[fitting[0]]
        models = sorted({row.model for row in run.clips if row.model is not None and row.status != "skipped"})
        if not model and len(models) != 1:
            raise InputError(
                f"--name {key}: {called} has {len(models)} models; say which with --name {called}::MODEL={name}, MODEL "
                f"being one of {', '.join(models)}"
            )
        if model and model not in models:
            raise InputError(f"--name {key}: {called} has no model '{model}'; it has {', '.join(models)}")
        new[fitting[0], model or models[0]] = name
    return new


def _yardsticks(run: Run) -> list[str]:
    return [place.model for place in run.summary.overall if place.note == YARDSTICK] if run.summary is not None else []


def _same_clips(one: Run, its: str, other: Run, theirs: str) -> bool:
    """Whether two models are one: the same contents, with the same prompts."""

    def contents(rows: Iterable[ClipRow], model: str) -> list[tuple[str, str]]:
        return sorted((r.sha256 or r.reason or "", r.prompt or "") for r in rows if r.model == model)

    return contents(one.clips, its) == contents(other.clips, theirs)


def _aspects(sources: Sequence[Source], metrics: Collection[str]) -> dict[str, list[str]]:
    """By what may differ, what each run has."""
    runs = [source.run for source in sources]
    aspects: dict[str, list[str]] = {}
    if not metrics:
        aspects["suite"] = [
            f"{run.info.suite} {run.info.suite_hash}" if run.info.suite_hash is not None else "none" for run in runs
        ]
    for what, key in (("--fps", "fps"), ("--max-pixels", "max_pixels"), ("--max-frames", "max_frames")):
        aspects[what] = [_told(run.info.settings.get(key)) for run in runs]
    named = list(dict.fromkeys(f.name for run in runs for f in run.info.metrics if not metrics or f.name in metrics))
    granularities = set()
    for name in named:
        facts = [run.info.metric(name) for run in runs]
        granularities |= {f.granularity for f in facts if f is not None}
        if any(f is None for f in facts):
            aspects[name] = ["missing" if f is None else "there" for f in facts]
        for what, read in _FACTS.items():
            aspects[f"{name}: {what}"] = [read(f) if f is not None else "missing" for f in facts]
    if "set" in granularities:
        aspects["reference set"] = [_reference(source.run) for source in sources]
    if "pair" in granularities:
        aspects["--pair-by-name"] = [_told(run.info.settings.get("pair_by_name")) for run in runs]
    return {what: values for what, values in aspects.items() if not _only_missing(values)}


def _only_missing(values: Sequence[str]) -> bool:
    """A metric that a run lacks is said once, not for each of its facts."""
    return "missing" in values and len(set(values) - {"missing"}) == 1 and "there" not in values


_FACTS: Mapping[str, Callable[[MetricFacts], str]] = {
    "version": lambda f: f.version,
    "protocol": lambda f: f.protocol,
    "parameters": lambda f: json.dumps(dict(f.parameters), sort_keys=True, default=str),
    "aggregation": lambda f: f.aggregation,
    "better": lambda f: "higher" if f.higher_is_better else "lower",
    "unit": lambda f: f.unit,
    "extractor": lambda f: ", ".join(sorted(f.extractors)) or "none",
    "weights": lambda f: ", ".join(f"{name} {checksum}" for name, checksum in sorted(f.weights.items())) or "none",
}


def _reference(run: Run) -> str:
    """The reference set by its contents; by its identity where the run did not read its clips."""
    import hashlib

    shared = set(_yardsticks(run))
    contents = sorted(
        {row.sha256 for row in run.references if row.sha256 is not None}
        | {row.sha256 for row in run.clips if row.model in shared and row.sha256 is not None}
    )
    if contents:
        digest = hashlib.sha256("".join(contents).encode()).hexdigest()[:12]
        return f"{len(contents)} clips, contents {digest}"
    if run.info.reference is None:
        return "none"
    return f"{run.info.reference} ({run.info.settings.get('reference_id')})"


def _rates(run: Run) -> frozenset[float | None]:
    """Frame rates of its clips; the reference set itself plays no part."""
    aside = set(_yardsticks(run))
    return frozenset(
        None if row.fps is None else round(row.fps, 3)
        for row in run.clips
        if row.status == "scored" and row.model not in aside
    )


def _compatible(a: frozenset[float | None], b: frozenset[float | None]) -> bool:
    """Runs of several models may hold several rates: those of one must be among those of the other."""
    return a <= b or b <= a


def _told_rates(rates: frozenset[float | None]) -> str:
    known = ", ".join(f"{rate:g}" for rate in sorted(r for r in rates if r is not None))
    return f"{known or 'unknown'} fps"


def _told(value: object) -> str:
    return "not set" if value is None else str(value)
