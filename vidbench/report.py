"""The report contract: a report reads a run and writes a file. It never computes a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from vidbench.results import Run


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
