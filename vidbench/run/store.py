"""The run folder: append line by line, resume after a kill, one writer at a time.

A clip is finished when its line stands whole in `clips.jsonl`; its scores, findings, pictures and observations are
written before that line. So whatever rows a kill leaves behind belong to unfinished clips and are removed on resuming.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from vidbench.errors import RunFolderError
from vidbench.files import json_line, write_atomic, write_json
from vidbench.results import (
    ClipRow,
    RunInfo,
    ScoreRow,
    Summary,
    from_json,
    load_run,
    read_info,
    read_lines,
    to_json,
)
from vidbench.run.shard import Outcome

LINES = ("clips.jsonl", "references.jsonl", "scores.jsonl", "findings.jsonl")
_OURS = {"run.json", "summary.json", *LINES}


class RunStore:
    """A run folder, open for writing.

    with RunStore.open(out, info) as store:
        finished = store.resume(still_valid)
        store.append(outcome)
        store.finish(info, summary, set_rows)
    """

    def __init__(self, folder: Path, lock: FileLock) -> None:
        self.folder = folder
        self._lock = lock
        self._files: dict[str, BinaryIO] = {}

    @classmethod
    def open(cls, folder: Path, info: RunInfo, *, overwrite: bool = False) -> RunStore:
        """Lock `folder` for this run and write its `run.json`.

        An empty or missing folder begins a run; a folder that holds a run of the same settings on the same clip folder
        is resumed.

        Raises:
            RunFolderError: another process writes it, it holds another run or other files, or it cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"cannot make the output folder {folder} ({error.strerror}); choose another with --out"
            ) from None
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunFolderError(
                f"{folder} is being written by another vidbench run; wait for it or choose another --out"
            ) from None
        except OSError as error:
            raise _unwritable(folder, error) from None
        store = cls(folder, lock)
        try:
            store._begin(info, overwrite=overwrite)
        except OSError as error:
            store.close()
            raise _unwritable(folder, error) from None
        except BaseException:
            store.close()
            raise
        return store

    def _begin(self, info: RunInfo, *, overwrite: bool) -> None:
        present = {p.name for p in self.folder.iterdir() if p.name != ".lock" and not p.name.endswith(".tmp")}
        if "run.json" in present:
            difference = _difference(read_info(self.folder), info)
            if difference and not overwrite:
                raise RunFolderError(
                    f"{self.folder} holds another run ({difference}); choose another --out or pass --overwrite"
                )
            if difference:
                self._clear()
        elif present:
            raise RunFolderError(
                f"{self.folder} is not empty and holds no vidbench run ({', '.join(sorted(present)[:3])}…); "
                "choose another --out"
            )
        write_json(self.folder / "run.json", to_json(info))

    def _clear(self) -> None:
        """Remove another run. What says that clips are finished goes first; run.json is replaced, never missing."""
        for name in ("clips.jsonl", "references.jsonl", *sorted(_OURS - {"run.json"})):
            (self.folder / name).unlink(missing_ok=True)
        for name in ("media", "observations", "evidence", "baselines"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def __enter__(self) -> RunStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files and let others write the folder."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._lock.release()

    def resume(self, clip_metrics: int, still_valid: Callable[[str, ClipRow], bool]) -> dict[str, dict[str, ClipRow]]:
        """Read what an earlier run finished, and remove what it left half done.

        Args:
            clip_metrics: how many metrics score each clip; a row counts as finished only with as many scores.
            still_valid: whether a finished row (of file `clips.jsonl` or `references.jsonl`) still holds for today's
                input.

        Returns:
            For each of the two files, the finished rows by clip.
        """
        kept: dict[str, dict[str, ClipRow]] = {}
        found: Counter[str] = Counter()
        pictures: dict[str, set[str]] = {}
        for finding in read_lines(self.folder / "findings.jsonl"):
            clip = str(finding.get("clip"))
            found[clip] += 1
            if finding.get("evidence") is not None:
                pictures.setdefault(clip, set()).add(str(finding["evidence"]))
        drawn = {f"evidence/{path.name}" for path in (self.folder / "evidence").glob("*.jpg")}
        scored = Counter(row.get("clip") for row in read_lines(self.folder / "scores.jsonl"))
        for name in ("clips.jsonl", "references.jsonl"):
            rows = (from_json(ClipRow, row) for row in read_lines(self.folder / name))
            kept[name] = {
                row.clip: row
                for row in rows
                # After a power cut a later file can be on disk and an earlier one not.
                if (name != "clips.jsonl" or scored[row.clip] == clip_metrics)
                and (row.media is None or self._media(row.media, ".mp4").exists())
                and (name != "clips.jsonl" or row.findings in (None, found[row.clip]))
                and (name != "clips.jsonl" or pictures.get(row.clip, set()) <= drawn)
                and still_valid(name, row)
            }
            self._rewrite(name, (to_json(row) for row in kept[name].values()))
        for name in ("scores.jsonl", "findings.jsonl"):
            finished = kept["clips.jsonl"]
            self._rewrite(name, (row for row in read_lines(self.folder / name) if row.get("clip") in finished))
        held = {name for clip in kept["clips.jsonl"] for name in pictures.get(clip, ())}
        for name in drawn - held:
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "summary.json").unlink(missing_ok=True)
        return kept

    def _rewrite(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        path = self.folder / name
        content = "".join(json_line(row) for row in rows).encode("utf-8")
        if not path.exists() or path.read_bytes() != content:
            write_atomic(path, content)

    def has_observations(self, key: str, identities: Iterable[str]) -> bool:
        """Whether the observations that set metrics need of a clip are all kept, or known to be absent."""
        return all(
            self._observation(key, i).exists() or self._observation(key, i).with_suffix(".absent").exists()
            for i in identities
        )

    def observation(self, key: str, identity: str) -> bytes | str:
        """A kept observation, or why there is none."""
        path = self._observation(key, identity)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            absent = path.with_suffix(".absent")
            return absent.read_text(encoding="utf-8") if absent.exists() else f"{identity} was not kept"

    def _observation(self, key: str, identity: str) -> Path:
        return self.folder / "observations" / f"{key}-{identity}.observation"

    def _media(self, stem: str, suffix: str) -> Path:
        return self.folder / "media" / f"{stem}{suffix}"

    def append(self, outcome: Outcome, *, reference: bool = False) -> None:
        """Write all of one clip; its own line last, so that it counts as finished only when everything stands.

        Raises:
            RunFolderError: the folder cannot be written any more (full, read-only, gone).
        """
        try:
            self._write_outcome(outcome, reference=reference)
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def _write_outcome(self, outcome: Outcome, *, reference: bool) -> None:
        row = outcome.row
        if (outcome.kept or outcome.unkept) and row.key is not None:
            (self.folder / "observations").mkdir(exist_ok=True)
            for identity, data in outcome.kept.items():
                write_atomic(self._observation(row.key, identity), data)
            for identity, why in outcome.unkept.items():
                write_atomic(self._observation(row.key, identity).with_suffix(".absent"), why)
        if row.media is not None and not reference:
            (self.folder / "media").mkdir(exist_ok=True)
            for picture, suffix in ((outcome.strip, ".jpg"), (outcome.video, ".mp4")):
                if picture is not None:
                    write_atomic(self._media(row.media, suffix), picture)
        if outcome.evidence and not reference:
            (self.folder / "evidence").mkdir(exist_ok=True)
            for name, picture in outcome.evidence.items():
                write_atomic(self.folder / name, picture)
        if not reference:
            self._append("scores.jsonl", [to_json(score) for score in outcome.scores])
            self._append("findings.jsonl", [to_json(finding) for finding in outcome.findings])
        self._append("references.jsonl" if reference else "clips.jsonl", [to_json(row)])

    def _append(self, name: str, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        if name not in self._files:
            self._files[name] = (self.folder / name).open("ab", buffering=0)
        file = self._files[name]
        data = "".join(json_line(row) for row in rows).encode("utf-8")
        while data:  # a signal or a full disk can cut a raw write short
            data = data[file.write(data) :]

    def finish(self, info: RunInfo, summary: Summary, set_rows: Iterable[ScoreRow]) -> None:
        """Write the set metrics' rows, `summary.json`, and the final `run.json`.

        Raises:
            RunFolderError: the folder cannot be written.
        """
        try:
            self._append("scores.jsonl", [to_json(row) for row in set_rows])
            for file in self._files.values():
                os.fsync(file.fileno())
            write_json(self.folder / "summary.json", to_json(summary))
            write_json(self.folder / "run.json", to_json(info))
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def rows(self) -> tuple[list[ClipRow], list[ScoreRow], list[ClipRow]]:
        """All rows of clips, of their scores, and of reference clips so far.

        Their order does not depend on who finished first.
        """
        run = load_run(self.folder)
        return list(run.clips), [row for row in run.scores if row.clip is not None], list(run.references)


def _difference(previous: RunInfo, info: RunInfo) -> str | None:
    """In words, why the folder's run is not this one."""
    if previous.settings.get("folder_id") != info.settings.get("folder_id"):
        return f"of the clips in {previous.folder}"
    if previous.settings.get("reference_id") != info.settings.get("reference_id"):
        return f"with the reference {previous.reference}"
    if previous.settings.get("baselines") != info.settings.get("baselines"):
        return "with other baselines"
    if previous.vidbench != info.vidbench:
        return f"made by vidbench {previous.vidbench}"
    if previous.settings_hash != info.settings_hash:
        before, now = ({m.name: m for m in i.metrics} for i in (previous, info))
        changed = sorted(set(before) ^ set(now)) or [n for n in now if before[n] != now[n]]
        return f"with other settings: {', '.join(changed) or 'limits, seed or suite'}"
    return None


def _unwritable(folder: Path, error: OSError) -> RunFolderError:
    if error.errno == errno.ENOSPC:
        return RunFolderError(
            f"no space left for {folder}; free some and run the same command again: finished clips are kept"
        )
    return RunFolderError(f"cannot write {folder} ({error.strerror or error}); choose another folder with --out")
