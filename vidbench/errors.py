"""Every error vidbench raises on purpose.

A `VidbenchError` is the user's to mend: its message is one line that says what is wrong, in which file, and what to
do. The command line prints it without a traceback and exits with `exit_code`. Anything else that escapes is a bug and
keeps its traceback.

    VidbenchError
    ├── InputError        a folder, file or option that cannot be used
    │   ├── MetadataError a metadata file that cannot be used
    │   └── PolicyError   a gate policy that cannot be read or cannot be meant
    ├── ClipError         one clip that cannot be read; it fails, the run goes on
    ├── MissingExtraError an optional package is not installed
    ├── PluginError       a plug-in that cannot be found or loaded
    ├── RunFolderError    a run folder that cannot be written or read
    └── WeightsError      a weight file that is missing, wrong or cannot be fetched
"""

from __future__ import annotations

from pathlib import Path

EXIT_DONE = 0
EXIT_GATE_FAILED = 1
EXIT_USAGE = 2
EXIT_INCOMPLETE = 3
EXIT_INTERRUPTED = 130


class VidbenchError(Exception):
    """Something the user can mend; the message is one line without a traceback."""

    exit_code: int = EXIT_USAGE


class InputError(VidbenchError):
    """A folder, file or option that cannot be used."""


class MetadataError(InputError):
    """A metadata file that cannot be used as a whole."""


class PolicyError(InputError):
    """A gate policy that cannot be read or says what cannot be meant; names the file and, where known, the line."""


class ClipError(VidbenchError):
    """One clip that cannot be read. The engine turns it into a *failed* row with this reason.

    Args:
        reason: what is wrong with the file and, where there is one, the remedy; no path in it (the row names it).
        path: the file, for callers outside the engine.
    """

    def __init__(self, reason: str, path: Path | None = None) -> None:
        super().__init__(f"{path}: {reason}" if path is not None else reason)
        self.reason = reason
        self.path = path


class MissingExtraError(VidbenchError):
    """An optional package is needed and not installed; names the pip line that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install 'vidbench[{extra}]'")
        self.extra = extra


class PluginError(VidbenchError):
    """A plug-in that is unknown, ambiguous or fails to load; names the distribution and the cause."""


class RunFolderError(VidbenchError):
    """A run folder that is in use, holds another run, or cannot be written or read."""


class WeightsError(VidbenchError):
    """A weight file that is missing, has the wrong checksum or cannot be fetched; names the command that mends it."""
