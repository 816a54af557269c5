"""How good the learned layer is on clips with known truth, beside baselines that know nothing of physics.

A clip that no check group can judge counts as the least suspicious of all: abstaining is never rewarded with a
detection, and never a false alarm. Intervals are 95 % percentiles of resampled groups (pairs; shots of one video).
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidbench.errors import InputError
from vidbench.files import write_atomic, write_json
from vidbench.stats import wilson_interval
from vidbench_metrics.physics.event import GROUPS, group_of
from vidbench_metrics.physics.model import Floats, PhysicsModel
from vidbench_suites.physics.baselines import BASELINES
from vidbench_suites.physics.labels import located
from vidbench_suites.physics.learn import HASH_DIGITS, Recipe, deal, train
from vidbench_suites.physics.tables import ClipTable

DRAWS = 1000
FALSE_ALARMS = 0.05
"""At this rate of false alarms, on the clips scored, detection is given."""
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Row:
    """One clip, scored."""

    clip: str
    look: str
    group: str
    possible: bool
    kind: str | None
    variant: str | None
    control: str | None
    nuisance: str
    basis: str | None
    """Which score decided; None for a clip that could not be judged."""
    suspicion: float | None
    """Log-odds above the threshold; above 0 is an alarm."""
    plausible: float | None
    alarm: bool
    not_judged: Mapping[str, str]
    """Reason by check group."""
    top1: bool | None
    """Whether the most suspicious event points at the violation; None for possible clips."""
    top3: bool | None
    trained_on: bool
    """Whether the model saw this clip in training."""
    baselines: Mapping[str, float]


@dataclass(frozen=True)
class Figure:
    """One number of a report."""

    section: str
    """`kind`, `look`, `overall`, `control`, `nuisance`, `unseen_kind`."""
    name: str
    measure: str
    scorer: str
    """`plausibility`, or a baseline."""
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Clips that the value is about: impossible ones, but possible ones for false alarms, all for abstentions."""


def score_tables(
    pairs: Sequence[tuple[ClipTable, PhysicsModel]], baselines: Mapping[str, Mapping[str, float]] | None = None
) -> list[Row]:
    """Judge every clip by the model that stands beside it."""
    known = {id(model): frozenset(model.training.get("clips", ())) for _, model in pairs}
    rows = []
    for table, model in pairs:
        verdict = model.judge(table.events, table.context)
        truth = table.truth
        ranked = [
            i for i in np.argsort(-verdict.events, kind="stable") if group_of(table.events[i].type) in verdict.groups
        ]
        hits = [located(table.events[i], truth) for i in ranked[:3]]
        rows.append(
            Row(
                clip=table.id,
                look=truth.look,
                group=truth.group,
                possible=truth.possible,
                kind=truth.kind,
                variant=truth.variant,
                control=truth.control,
                nuisance=truth.nuisance,
                basis=verdict.basis,
                suspicion=verdict.suspicion,
                plausible=verdict.plausible,
                alarm=bool(verdict.alarm),
                not_judged=verdict.not_judged,
                top1=None if truth.possible else any(hits[:1]),
                top3=None if truth.possible else any(hits),
                trained_on=table.sha256[:HASH_DIGITS] in known[id(model)],
                baselines=(baselines or {}).get(table.id, {}),
            )
        )
    return rows


def leave_out(
    tables: Sequence[ClipTable], look: str, recipe: Recipe, *, without: str | None = None
) -> list[tuple[ClipTable, PhysicsModel]]:
    """The clips of one look beside a model that saw none of that look, nor any clip with the violation `without`.

    Raises:
        InputError: no such look, or too few other clips.
    """
    looks = sorted({table.truth.look for table in tables})
    if look not in looks:
        raise InputError(f"no look is called '{look}'; there are: {', '.join(looks)}")
    rest = [table for table in tables if table.truth.look != look and (without is None or table.truth.kind != without)]
    model = train(rest, recipe, unseen=False)
    return [(table, model) for table in tables if table.truth.look == look]


def out_of_fold(
    tables: Sequence[ClipTable], recipe: Recipe, *, without: str | None = None
) -> list[tuple[ClipTable, PhysicsModel]]:
    """Every clip beside a model that saw nothing of its pair or source video, nor of the violation `without`."""
    fold = deal(tables, recipe.folds, recipe.seed)
    models = {}
    for k in range(recipe.folds):
        rest = [
            table
            for table, where in zip(tables, fold, strict=True)
            if where != k and (without is None or table.truth.kind != without)
        ]
        models[k] = train(rest, recipe, unseen=False)
    return [(table, models[int(where)]) for table, where in zip(tables, fold, strict=True)]


def unseen_kinds(
    tables: Sequence[ClipTable],
    pairs: Callable[[str], Sequence[tuple[ClipTable, PhysicsModel]]],
) -> list[Figure]:
    """How well each kind is told by models that never saw one of it.

    Args:
        tables: the clips to score.
        pairs: clips and models for a kind to be left out of training, e.g. by `leave_out`.
    """
    found: list[Figure] = []
    for kind in sorted({table.truth.kind for table in tables if table.truth.kind}):
        rows = [row for row in score_tables(pairs(kind)) if row.possible or row.kind == kind]
        found += _ranking("unseen_kind", kind, rows, [row for row in rows if not row.possible], "plausibility")
    return found


def auroc(wrong: Floats, innocent: Floats) -> float:
    """Probability that a wrong clip scores above an innocent one, ties counting half."""
    return float(_wins(wrong, innocent).mean())


def _wins(wrong: Floats, innocent: Floats) -> Floats:
    """(P, Q) 1 where the wrong clip scores above the innocent one, 0.5 where it ties."""
    above = (wrong[:, None] > innocent[None]).astype(np.float64)
    return np.asarray(above + 0.5 * (wrong[:, None] == innocent[None]), np.float64)


def detection(
    wrong: Floats,
    innocent: Floats,
    false_alarms: float,
    wrong_weight: Floats | None = None,
    innocent_weight: Floats | None = None,
) -> float:
    """Share of wrong clips above the lowest threshold that at most `false_alarms` of the innocent clips exceed.

    Args:
        wrong: (P,) scores.
        innocent: (Q,) scores.
        false_alarms: rate.
        wrong_weight: (P,) how often each counts.
        innocent_weight: (Q,)
    """
    p = np.ones(len(wrong)) if wrong_weight is None else wrong_weight
    q = np.ones(len(innocent)) if innocent_weight is None else innocent_weight
    order = np.argsort(-innocent, kind="stable")
    falling, weight = innocent[order], q[order]
    # Weight of innocent clips strictly above a threshold that stands at each score.
    above = np.concatenate([[0.0], np.cumsum(weight)])[np.searchsorted(-falling, -falling, side="left")]
    allowed = falling[above <= false_alarms * weight.sum() + 1e-9]
    return float(p @ (wrong > allowed.min()) / p.sum())


def _numbers(rows: Sequence[Row], scorer: str) -> Floats:
    """(N,) scores, higher is more suspicious; the least of all for what has none."""
    if scorer == "plausibility":
        found = [-math.inf if row.suspicion is None else row.suspicion for row in rows]
    else:
        found = [row.baselines.get(scorer, math.nan) for row in rows]
    values = np.array(found, np.float64)
    return np.where(np.isnan(values), -math.inf, values)


def _ranking(
    section: str, name: str, rows: Sequence[Row], wrong: Sequence[Row], scorer: str, seed: int = 0
) -> Iterator[Figure]:
    """AUROC and detection of some impossible clips against all possible ones, with intervals."""
    innocent = [row for row in rows if row.possible]
    if not wrong or not innocent:
        return
    a, b = _numbers(wrong, scorer), _numbers(innocent, scorer)
    if scorer != "plausibility" and auroc(a, b) < 0.5:
        # A baseline is given the direction that suits it; what it lacks stays the least suspicious.
        a, b = np.where(np.isfinite(a), -a, a), np.where(np.isfinite(b), -b, b)
    wins = _wins(a, b)
    groups = {g: i for i, g in enumerate(dict.fromkeys(row.group for row in (*wrong, *innocent)))}
    of_a = np.array([groups[row.group] for row in wrong])
    of_b = np.array([groups[row.group] for row in innocent])
    rng = np.random.default_rng(seed)
    areas: list[float] = []
    found: list[float] = []
    for _ in range(DRAWS):
        times = np.bincount(rng.integers(len(groups), size=len(groups)), minlength=len(groups)).astype(np.float64)
        p, q = times[of_a], times[of_b]
        if p.sum() > 0 and q.sum() > 0:
            areas.append(float(p @ wins @ q / (p.sum() * q.sum())))
            found.append(detection(a, b, FALSE_ALARMS, p, q))
    for measure, value, draws in (
        ("auroc", float(wins.mean()), areas),
        ("detection", detection(a, b, FALSE_ALARMS), found),
    ):
        low, high = (float(v) for v in np.percentile(draws, [2.5, 97.5])) if draws else (None, None)
        yield Figure(section, name, measure, scorer, value, low, high, len(wrong))


def _share(section: str, name: str, measure: str, hits: Sequence[bool]) -> Figure:
    if not hits:
        return Figure(section, name, measure, "plausibility", None)
    between = wilson_interval(sum(hits), len(hits))
    return Figure(section, name, measure, "plausibility", sum(hits) / len(hits), between.low, between.high, len(hits))


def figures(rows: Sequence[Row]) -> list[Figure]:
    """All that a report says."""
    found: list[Figure] = []
    scorers = ("plausibility", *(name for name in BASELINES if any(name in row.baselines for row in rows)))
    wrong = [row for row in rows if not row.possible]
    kinds = sorted({row.kind for row in wrong if row.kind})
    looks = sorted({row.look for row in rows})
    for scorer in scorers:
        for kind in kinds:
            found += _ranking("kind", kind, rows, [row for row in wrong if row.kind == kind], scorer)
        for look in looks:
            here = [row for row in rows if row.look == look]
            found += _ranking("look", look, here, [row for row in here if not row.possible], scorer)
        found += _ranking("overall", "all", rows, wrong, scorer)
        for measure in ("auroc", "detection"):
            of_kinds = [f for f in found if (f.section, f.measure, f.scorer) == ("kind", measure, scorer)]
            values = [f.value for f in of_kinds if f.value is not None]
            if values:
                mean = float(np.mean(values))
                found.append(Figure("overall", "mean over kinds", measure, scorer, mean, n=len(values)))
    found += _shares("overall", "all", rows)
    for look in looks:
        found += _shares("look", look, [row for row in rows if row.look == look])
    for kind in kinds:
        found += _shares("kind", kind, [row for row in wrong if row.kind == kind])
    for control in sorted({row.control for row in rows if row.control and row.possible}):
        found += _shares("control", control, [row for row in rows if row.control == control])
    for nuisance in sorted({row.nuisance for row in rows}):
        found += _shares("nuisance", nuisance, [row for row in rows if row.nuisance == nuisance])
    return found


def _shares(section: str, name: str, rows: Sequence[Row]) -> Iterator[Figure]:
    """Alarms at the model's own threshold, localisation and abstention."""
    innocent = [row for row in rows if row.possible]
    wrong = [row for row in rows if not row.possible]
    if innocent:
        yield _share(section, name, "false_alarms", [row.alarm for row in innocent])
        judged = [row.alarm for row in innocent if row.basis is not None]
        if len(judged) < len(innocent):
            yield _share(section, name, "false_alarms_of_judged", judged)
    if wrong:
        yield _share(section, name, "alarms", [row.alarm for row in wrong])
        yield _share(section, name, "located_top1", [bool(row.top1) for row in wrong])
        yield _share(section, name, "located_top3", [bool(row.top3) for row in wrong])
    for group in GROUPS:
        yield _share(section, name, f"abstained_{group}", [group in row.not_judged for row in rows])
    yield _share(section, name, "abstained", [row.basis is None for row in rows])


def table_text(found: Sequence[Figure], rows: Sequence[Row], failed: Sequence[str] = ()) -> str:
    """The figures for a terminal."""
    by = {(f.section, f.name, f.measure, f.scorer): f for f in found}
    possible = sum(row.possible for row in rows)
    lines = [f"{len(rows)} clips: {possible} possible, {len(rows) - possible} impossible"]
    if failed:
        lines.append(f"{len(failed)} clips left aside, e.g. {failed[0]}")
    known = sum(row.trained_on for row in rows)
    if known:
        lines.append(f"{known} of these clips were in the model's training: their figures flatter it")

    def cell(section: str, name: str, measure: str, scorer: str = "plausibility", *, ends: bool = False) -> str:
        f = by.get((section, name, measure, scorer))
        if f is None or f.value is None:
            return "-"
        return f"{f.value:.3f}" + (f" [{f.low:.2f}, {f.high:.2f}]" if ends and f.low is not None else "")

    def names(section: str, measure: str) -> list[str]:
        return list(dict.fromkeys(f.name for f in found if (f.section, f.measure) == (section, measure)))

    at = f"found at {FALSE_ALARMS:.0%}"
    others = [name for name in BASELINES if any(f.scorer == name for f in found)]
    body = [
        [
            f"look {name}" if section == "look" else name,
            str(by[section, name, "auroc", "plausibility"].n),
            cell(section, name, "auroc", ends=True),
            cell(section, name, "detection", ends=True),
            *(cell(section, name, measure) for measure in ("alarms", "located_top1", "located_top3")),
            *(cell(section, name, "auroc", scorer) for scorer in others),
        ]
        for section in ("kind", "look", "overall")
        for name in names(section, "auroc")
    ]
    if body:
        lines += ["", *_columns([["", "n", "AUROC", at, "alarms", "top 1", "top 3", *others], *body])]
        lines += ["(baselines: AUROC, in the direction that suits them)"] if others else []
    body = [
        [name, *(cell("unseen_kind", name, measure, ends=True) for measure in ("auroc", "detection"))]
        for name in names("unseen_kind", "auroc")
    ]
    if body:
        lines += ["", *_columns([["never seen in training", "AUROC", at], *body])]
    body = [
        [
            f"{section} {name}" if section in ("look", "nuisance") else name,
            str(by[section, name, "false_alarms", "plausibility"].n),
            cell(section, name, "false_alarms", ends=True),
            *(cell(section, name, measure) for measure in ("abstained", *(f"abstained_{group}" for group in GROUPS))),
        ]
        for section in ("overall", "look", "control", "nuisance")
        for name in names(section, "false_alarms")
    ]
    if body:
        header = [
            "",
            "n",
            "false alarms",
            "not judged",
            *(f"not by {group.replace('_', '-')} checks" for group in GROUPS),
        ]
        lines += ["", *_columns([header, *body])]
    return "\n".join(lines)


def _columns(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column to the left and the others to the right."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in cells
    ]


def write_report(path: Path, found: Sequence[Figure], rows: Sequence[Row], facts: Mapping[str, Any]) -> None:
    """Write everything: `.json` figures and clips, `.csv` the figures alone, one a line.

    Raises:
        InputError: another suffix, or the file cannot be written.
    """
    try:
        if path.suffix == ".json":
            clips = [_plain(dataclasses.asdict(row)) for row in rows]
            told = [dataclasses.asdict(f) for f in found]
            write_json(path, {"schema_version": SCHEMA_VERSION, **facts, "figures": told, "clips": clips})
        elif path.suffix == ".csv":
            text = io.StringIO()
            writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(Figure)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(dataclasses.asdict(f) for f in found)
            write_atomic(path, text.getvalue())
        else:
            raise InputError(f"{path}: the report is written as .json or .csv; give one of these suffixes")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


def _plain(value: Any) -> Any:
    """For JSON: NaN and infinities become null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
