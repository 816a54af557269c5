"""A run's clips, ready to be filtered, sorted and paged ten thousand at a time: what `vidbench serve` answers from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidbench import wording
from vidbench.results import ClipRow, Run
from vidbench_reports.clip_data import RunData
from vidbench_reports.clip_files import Originals, is_evidence, is_stem

SIBLINGS = 12
"""Other clips of the same prompt that a clip's panel shows."""

_NUMBERS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Query:
    """What of the clips is asked for."""

    words: tuple[str, ...] = ()
    """Each must stand in prompt, name, model, status or a finding's kind."""
    model: int | None = None
    status: str | None = None
    kind: str | None = None
    """Only clips with a finding of this kind."""
    found: bool = False
    """Only clips with findings."""
    column: int = 2
    """0 clip, 1 model, 2 findings, then the metrics."""
    direction: Literal["ascending", "descending"] = "descending"


class ClipIndex:
    """The clips of one run as columns."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.data = RunData(run)
        self.rows = run.clips
        self._originals = Originals(run)
        numbers = {model: i for i, model in enumerate(self.data.models)}
        kinds = [sorted({f.kind for f in self.data.findings(row.clip)}) for row in self.rows]
        self._models = np.array([numbers[row.model] if row.model is not None else -1 for row in self.rows], np.int64)
        self._found = np.array([len(self.data.findings(row.clip)) for row in self.rows], np.int64)
        self._status = np.array([row.status for row in self.rows], dtype=object)
        self._kinds = kinds
        self.kinds = sorted({kind for own in kinds for kind in own})
        self._texts = [
            "\n".join([row.clip, row.prompt or "", row.model or "", row.status, *own]).lower()
            for row, own in zip(self.rows, kinds, strict=True)
        ]
        self._columns = [
            _places([row.prompt or row.clip for row in self.rows]),
            np.where(self._models < 0, np.nan, _places([row.model or "" for row in self.rows])),
            self._found.astype(np.float64),
            *(self._values(facts.name) for facts in self.data.metrics),
        ]
        self._prompts: dict[str, list[int]] = {}
        for i, row in enumerate(self.rows):
            if row.prompt and row.status == "scored":
                self._prompts.setdefault(row.prompt, []).append(i)

    def _values(self, metric: str) -> NDArray[np.float64]:
        scores = (self.data.score(row.clip, metric) for row in self.rows)
        return np.array([np.nan if s is None or s.value is None else s.value for s in scores], np.float64)

    def head(self) -> dict[str, Any]:
        """What the page must know before it asks for clips."""
        return self.data.head() | {
            "total": len(self.rows),
            "counts": dict(Counter(row.status for row in self.rows)),
            "kinds": self.kinds,
        }

    def matching(self, query: Query) -> NDArray[np.int64]:
        """Numbers of the clips that match, in the order asked for; those without a value come last either way."""
        keep = np.ones(len(self.rows), bool)
        if query.model is not None:
            keep &= self._models == query.model
        if query.status is not None:
            keep &= self._status == query.status
        if query.found:
            keep &= self._found > 0
        if query.kind is not None:
            keep &= np.array([query.kind in own for own in self._kinds], bool)
        if query.words:
            keep &= np.array([all(word in text for word in query.words) for text in self._texts], bool)
        chosen = np.flatnonzero(keep)
        values = self._columns[query.column][chosen]
        order = np.argsort(values if query.direction == "ascending" else -values, kind="stable")
        return np.asarray(chosen[order], np.int64)

    @property
    def columns(self) -> int:
        """How many columns can be sorted by."""
        return len(self._columns)

    def page(self, query: Query, page: int, size: int) -> dict[str, Any]:
        """One page of the clips that match."""
        found = self.matching(query)
        page = min(page, max(0, -(-len(found) // size) - 1))
        return {
            "total": len(found),
            "page": page,
            "clips": [self.short(int(i)) for i in found[page * size : (page + 1) * size]],
        }

    def place(self, clip: int, query: Query) -> int:
        """The clip's place among those that match, or -1."""
        where = np.flatnonzero(self.matching(query) == clip)
        return int(where[0]) if where.size else -1

    def short(self, number: int) -> dict[str, Any]:
        """What a row of the list shows."""
        row = self.rows[number]
        return {
            "index": number,
            "id": wording.plain(row.clip),
            "model": int(self._models[number]) if row.model is not None else None,
            "status": row.status,
            "reason": row.reason,
            "prompt": row.prompt,
            "found": int(self._found[number]),
            "kinds": self._kinds[number],
            "media": self._media(number),
            "scores": [self._score(row, facts.name) for facts in self.data.metrics],
        }

    def _score(self, row: ClipRow, metric: str) -> tuple[float | None, str]:
        score = self.data.score(row.clip, metric)
        if score is None:
            return None, "not computed"
        return score.value, score.reason or ""

    def whole(self, number: int) -> dict[str, Any]:
        """What a clip's panel shows."""
        row = self.rows[number]
        names = (finding.evidence for finding in self.data.findings(row.clip))
        present = {
            name: name for name in names if name is not None and is_evidence(name) and (self.run.path / name).is_file()
        }
        same = [i for i in self._prompts.get(row.prompt or "", ()) if i != number][:SIBLINGS]
        media = self._media(number)
        whole = self.data.clip(row, media, present)
        if media["video"] is not None and media["video"] == self._original(number):
            whole["previewed"] = row.frames  # no preview, which may be shorter, but the clip
        return whole | {
            "index": number,
            "original": self._original(number),
            "siblings": [self.short(i) for i in same],
        }

    def _media(self, number: int) -> dict[str, Any]:
        """Addresses of filmstrip and preview; of the clip itself where the run kept no preview."""
        stem = self.rows[number].media
        found: dict[str, Any] = {"inside": False, "strip": None, "video": None}
        if stem is not None and is_stem(stem):
            for kind, suffix in (("strip", ".jpg"), ("video", ".mp4")):
                if (self.run.path / "media" / f"{stem}{suffix}").is_file():
                    found[kind] = f"media/{stem}{suffix}"
        if found["video"] is None:
            found["video"] = self._original(number)
        return found

    def _original(self, number: int) -> str | None:
        return f"clip/{number}" if self.clip_path(number) is not None else None

    def clip_path(self, number: int) -> Path | None:
        """The clip's own file, if browsers play it."""
        return self._originals.path(self.rows[number])


def _places(texts: Sequence[str]) -> NDArray[np.float64]:
    """Places of texts in the order of people, where 2 comes before 10; equal texts share one."""
    keys = [[int(part) if part.isdigit() else part for part in _NUMBERS.split(text.casefold())] for text in texts]
    places: dict[str, int] = {}
    for i in sorted(range(len(texts)), key=keys.__getitem__):
        places.setdefault(texts[i], len(places))
    return np.array([places[text] for text in texts], np.float64)
