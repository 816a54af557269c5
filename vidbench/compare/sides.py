"""The two sides of a comparison: run folders or models of them, and which clips stand beside which.

Clips are paired by what they were made for: equal prompt and equal name first, then equal prompts in order of name,
then equal names where a side has no prompt. A name that was used for another prompt is no pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vidbench.errors import InputError, RunFolderError
from vidbench.results import ClipRow, Run, load_run


@dataclass(frozen=True, slots=True)
class Side:
    """One side: a complete run, and those of its models that take part."""

    run: Run
    models: tuple[str, ...]
    chosen: bool
    """Whether the user named the model."""
    given: str
    """As the user wrote it."""


@dataclass(frozen=True, slots=True)
class ClipPair:
    """Two clips that were made for the same thing."""

    name: str
    """Name of the clip without its model and suffix, as on the second side."""
    prompt: str | None
    before: ClipRow
    after: ClipRow


@dataclass(frozen=True, slots=True)
class Pairing:
    """All of two models' clips, in pairs or alone."""

    pairs: tuple[ClipPair, ...]
    only_before: tuple[ClipRow, ...]
    only_after: tuple[ClipRow, ...]


def read_side(given: str) -> Side:
    """Read `RUN` or `RUN:MODEL`; a path that is a run folder as it stands goes before a model.

    Raises:
        RunFolderError: no run folder is there, it is damaged, or the run is not complete.
        InputError: the run has no such model, or no model at all.
    """
    folder, model = _split(given)
    run = load_run(folder)
    if not run.info.complete:
        raise RunFolderError(
            f"{folder} is not complete: its last values are missing; finish it with the command that began it "
            f"({run.info.command or 'see run.json'})"
        )
    models = tuple(sorted({row.model for row in run.clips if row.model is not None and row.status != "skipped"}))
    if not models:
        raise InputError(f"{folder} holds no clip of any model: there is nothing to compare")
    if model is None:
        return Side(run, models, chosen=False, given=given)
    if model not in models:
        raise InputError(f"{folder} has no model '{model}'; its models are {', '.join(models)}")
    return Side(run, (model,), chosen=True, given=given)


def _split(given: str) -> tuple[Path, str | None]:
    """The run folder and the model; colons may stand in both."""
    if not (Path(given) / "run.json").exists():
        for place in (i for i, character in enumerate(given) if character == ":" and i > 0):
            folder, model = Path(given[:place]), given[place + 1 :]
            if model and (folder / "run.json").exists():
                return folder, model
    return Path(given), None


def model_pairs(before: Side, after: Side) -> tuple[tuple[str, str], ...]:
    """Which models are compared: the named ones, those of equal name, or the only ones.

    Raises:
        InputError: it can't be told, or a model would be compared with itself.
    """
    same_run = before.run.path.resolve() == after.run.path.resolve()
    if before.chosen or after.chosen:
        if not before.chosen:
            before = _follow(before, after)
        if not after.chosen:
            after = _follow(after, before)
        if same_run and before.models == after.models:
            raise InputError(
                f"{before.given} and {after.given} are the same model of the same run; name two models, as in "
                f"{before.run.path}:MODEL {before.run.path}:OTHER"
            )
        return ((before.models[0], after.models[0]),)
    if same_run:
        raise InputError(
            f"both sides are the run {before.run.path}; name two of its models ({', '.join(before.models)}), as in "
            f"{before.run.path}:{before.models[0]} {before.run.path}:{before.models[-1]}"
        )
    common = [model for model in before.models if model in after.models]
    if common:
        return tuple((model, model) for model in common)
    if len(before.models) == len(after.models) == 1:
        return ((before.models[0], after.models[0]),)
    raise InputError(
        f"{before.run.path} ({', '.join(before.models)}) and {after.run.path} ({', '.join(after.models)}) have no "
        f"model in common; name one on each side, as in {before.run.path}:{before.models[0]} "
        f"{after.run.path}:{after.models[0]}"
    )


def _follow(side: Side, other: Side) -> Side:
    """The model of `side` that belongs to the one named on the other side."""
    if len(side.models) == 1:
        return side
    if other.models[0] in side.models and side.run.path.resolve() != other.run.path.resolve():
        return Side(side.run, other.models, chosen=True, given=side.given)
    raise InputError(f"{side.given} has several models; name one, as in {side.run.path}:{side.models[0]}")


def clip_name(row: ClipRow) -> str:
    """The clip's path without its suffix and, where it lies in one, without the model's folder."""
    path = PurePosixPath(row.clip)
    path = path.with_suffix("") if path.suffix else path
    parts = path.parts
    return "/".join(parts[1:]) if len(parts) > 1 else path.name


def pair_clips(before: Iterable[ClipRow], after: Iterable[ClipRow]) -> Pairing:
    """Pair the clips of two models; each clip is in one pair at most."""
    left = {row.clip: row for row in sorted(before, key=lambda row: row.clip)}
    right = {row.clip: row for row in sorted(after, key=lambda row: row.clip)}
    pairs: list[ClipPair] = []

    def match(key: Callable[[ClipRow], tuple[str, ...] | None]) -> None:
        """Pair what shares a key; None keeps a clip out."""
        waiting: dict[tuple[str, ...], list[ClipRow]] = {}
        for row in right.values():
            if (k := key(row)) is not None:
                waiting.setdefault(k, []).append(row)
        for row in list(left.values()):
            k = key(row)
            if k is None or not waiting.get(k):
                continue
            partner = waiting[k].pop(0)
            pairs.append(ClipPair(clip_name(partner), partner.prompt or row.prompt, row, partner))
            del left[row.clip], right[partner.clip]

    match(lambda row: (row.prompt, clip_name(row)) if row.prompt else None)
    match(lambda row: (row.prompt,) if row.prompt else None)
    # By name alone only where it can't hide another prompt: one of the two has none.
    bare = {clip_name(row) for row in left.values() if not row.prompt} | {
        clip_name(row) for row in right.values() if not row.prompt
    }
    match(lambda row: (clip_name(row),) if clip_name(row) in bare else None)
    return Pairing(
        tuple(sorted(pairs, key=lambda pair: (pair.after.clip, pair.before.clip))),
        tuple(left.values()),
        tuple(right.values()),
    )
