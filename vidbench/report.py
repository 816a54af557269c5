"""The report contracts: a report reads a run, or a board of runs, and writes a file. It never computes a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from vidbench.results import Run

if TYPE_CHECKING:
    from vidbench.leaderboard import Board


class Report(ABC):
    """One way of showing a run."""

    name: ClassVar[str]
    """Unique, lower_snake_case; the entry point has the same name."""
    file_name: ClassVar[str]
    """The file it writes in the run folder, e.g. `report.html`."""
    summary: ClassVar[str]
    """One line."""

    @abstractmethod
    def write(self, run: Run, path: Path) -> None:
        """Write `run` to `path`, aside and renamed, escaping all text that came from outside."""


class LeaderboardView(ABC):
    """One way of showing a leaderboard."""

    name: ClassVar[str]
    """Unique; the entry point has the same name."""
    file_name: ClassVar[str]
    """The file it writes, e.g. `leaderboard.html`."""
    summary: ClassVar[str]
    """One line."""

    @abstractmethod
    def write(self, board: Board, path: Path, *, copy_clips: bool = False) -> None:
        """Write `board` to `path`, aside and renamed, escaping all text that came from outside.

        Args:
            board: what to show.
            path: the file.
            copy_clips: put copies of what the view plays beside it, so that it can be taken elsewhere; a view that
                plays nothing passes over it.
        """
