"""Where in a run folder, and in its clip folder, the files of a clip are; and that they are nowhere else.

Every name comes from a file that may have been edited: a name that could lead out of its folder is no name.
"""

from __future__ import annotations

import re
from pathlib import Path

from vidbench.files import folder_id
from vidbench.results import ClipRow, Run, is_baseline

PLAYED = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".mov": "video/quicktime"}
"""Suffixes of clips that browsers play, with their types."""

_STEM = re.compile(r"[A-Za-z0-9_-]+")
_EVIDENCE = re.compile(r"evidence/[A-Za-z0-9_-]+\.jpg")


def is_stem(name: str) -> bool:
    """Whether it can be the stem of a clip's preview files."""
    return _STEM.fullmatch(name) is not None


def is_evidence(name: str) -> bool:
    """Whether it can be the picture of a finding, relative to the run folder."""
    return _EVIDENCE.fullmatch(name) is not None


class Originals:
    """The clips themselves, where the folder that was scored is still there."""

    def __init__(self, run: Run) -> None:
        self._baselines = run.path / "baselines"
        folder = Path(run.info.folder)
        # The run says what the folder was called where it was made; another folder of that name is another folder.
        known = folder.exists() and folder_id(folder) == run.info.settings.get("folder_id")
        self._folder = (folder.parent if folder.is_file() else folder) if known else None

    def path(self, row: ClipRow) -> Path | None:
        """The clip's file, if it is one that browsers play and lies in its folder."""
        root, name = self._folder, row.clip
        if row.model is not None and is_baseline(row.model) and row.clip.startswith(f"{row.model}/"):
            root, name = self._baselines, row.clip.partition(":")[2]
        if root is None or row.status != "scored" or Path(name).suffix.lower() not in PLAYED:
            return None
        try:
            target = (root / name).resolve()
            inside = target.is_relative_to(root.resolve()) and target.is_file()
        except (OSError, ValueError):
            return None
        return target if inside else None
