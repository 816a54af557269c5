"""Writing files so that a reader never meets half of one, and where files that outlive a run are kept."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write_atomic(path: Path, data: bytes | str | Iterable[bytes]) -> None:
    """Write beside `path`, flush to disk, rename over it.

    Args:
        path: what to write.
        data: the content; text is written as UTF-8, pieces one after the other.

    Raises:
        OSError: the folder is not writable or the disk is full; `path` is then as it was.
    """
    pieces = (data.encode("utf-8"),) if isinstance(data, str) else (data,) if isinstance(data, bytes) else data
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".tmp")
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(0o666 & ~_umask())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinities are refused with ValueError."""
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def json_line(value: Any) -> str:
    """`value` as one line of JSON with its newline; NaN and infinities are refused with ValueError."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"


def default_folder() -> Path:
    """The folder for what outlives a run: `$VIDBENCH_CACHE`, or the user's cache folder of this system."""
    given = os.environ.get("VIDBENCH_CACHE")
    if given:
        return Path(given)
    from platformdirs import user_cache_path

    return user_cache_path("vidbench")


def folder_id(path: Path) -> str:
    """16 hex digits that tell folders apart which were given by the same relative path."""
    return hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
