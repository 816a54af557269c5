"""Every weight file we can use: where it is, its checksum and licence; fetching, checking and finding it.

Nothing is downloaded unless `fetch` is called. A file is used only after its checksum was compared: with the published
one, or, where nobody published one, with the one that was recorded when the file first came here. What is known of the
files stands in `weights.toml`; what was recorded stands in `weights.lock.json` beside the files.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import functools
import hashlib
import http.client
import json
import os
import shutil
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from vidbench import __version__
from vidbench.errors import InputError, WeightsError
from vidbench.files import default_folder, write_json

LOCK_FILE = "weights.lock.json"
CHUNK = 1 << 20
TIMEOUT = 30.0
"""Seconds without a byte."""
ATTEMPTS = 3
"""How often a broken download is taken up again before the next address is tried."""
PAUSE = 1.0
"""Seconds before the first new attempt; doubled each time."""
SPARE = 16 << 20
"""Bytes that must stay free on the disk."""

Commercial = Literal["yes", "no", "unknown"]
Origin = Literal["published", "recorded", "unpublished"]
"""How a file's bytes are vouched for: by the published checksum; by the one recorded when it first came here; by
nobody, where the user insisted on another file than the published one."""
Progress = Callable[[int, int | None], None]
"""Told bytes at hand, and bytes in all where known."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One row of the table; see `weights.toml` for what the fields mean."""

    name: str
    file: str
    urls: tuple[str, ...]
    licence: str
    commercial: Commercial
    used_for: str
    source: str
    sha256: str | None = None
    git_sha1: str | None = None
    bytes: int | None = None
    about_bytes: int | None = None

    @property
    def published(self) -> str | None:
        """The published checksum with its kind, or None."""
        if self.sha256:
            return f"sha256:{self.sha256}"
        return f"git-sha1:{self.git_sha1}" if self.git_sha1 else None

    @property
    def size(self) -> str:
        """In words."""
        if self.bytes:
            return megabytes(self.bytes)
        return f"about {megabytes(self.about_bytes)}" if self.about_bytes else "size unknown"


@dataclass(frozen=True, slots=True)
class Digests:
    """Checksums of a file's content."""

    sha256: str
    git_sha1: str
    """As `git hash-object` prints it."""

    def are_published(self, weight: WeightFile) -> bool:
        """Whether the content is the published one; False where no checksum is published."""
        if weight.sha256:
            return self.sha256 == weight.sha256
        return weight.git_sha1 is not None and self.git_sha1 == weight.git_sha1


@dataclass(frozen=True, slots=True)
class Status:
    """What is in the weights folder under a file's name."""

    weight: WeightFile
    path: Path
    state: Literal["present", "missing", "wrong"]
    sha256: str | None = None
    origin: Origin | None = None
    reason: str | None = None
    """One line that says what is wrong and the command that mends it; None if present."""

    def checksum(self) -> str:
        """`sha256:…` of a present file, with a remark where it is not the published one."""
        remark = " (not the published weights: the checksum differs)" if self.origin == "unpublished" else ""
        return f"sha256:{self.sha256}{remark}"


@functools.lru_cache(maxsize=1)
def table() -> dict[str, WeightFile]:
    """Every weight file by name."""
    rows = tomllib.loads(resources.files("vidbench").joinpath("weights.toml").read_text(encoding="utf-8"))
    return {name: WeightFile(name=name, **{**row, "urls": tuple(row["urls"])}) for name, row in rows.items()}


def find(name: str) -> WeightFile:
    """A row of the table, by its name or its file's.

    Raises:
        InputError: there is none; names close ones.
    """
    rows = table()
    for row in rows.values():
        if name in (row.name, row.file):
            return row
    close = difflib.get_close_matches(name, rows, n=2)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(rows)}"
    raise InputError(f"no weights are called '{name}'; {hint}")


def folder() -> Path:
    """Where weight files are: `$VIDBENCH_WEIGHTS`, else `weights` in vidbench's cache folder."""
    given = os.environ.get("VIDBENCH_WEIGHTS")
    return Path(given) if given else default_folder() / "weights"


def offline() -> bool:
    """Whether `$VIDBENCH_OFFLINE` forbids the network."""
    return os.environ.get("VIDBENCH_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def status(weight: WeightFile) -> Status:
    """Look into the weights folder; the file is hashed where its size or time changed since it was last hashed.

    A file without a published checksum that is seen for the first time is recorded.
    """
    path = folder() / weight.file
    try:
        found = path.stat()
    except OSError:
        return Status(weight, path, "missing", reason=_missing(weight))
    if not path.is_file():
        return Status(weight, path, "wrong", reason=f"{path} is not a file; remove it and run: {fetch_command(weight)}")
    try:
        digests = _digests(path, found.st_size, found.st_mtime_ns)
    except OSError as error:
        return Status(weight, path, "wrong", reason=f"{path} cannot be read ({error.strerror or error})")
    return _judged(weight, path, digests)


def _judged(weight: WeightFile, path: Path, digests: Digests) -> Status:
    sha256 = digests.sha256
    if digests.are_published(weight):
        return Status(weight, path, "present", sha256, "published")
    known = _read_lock().get(weight.file, {})
    agrees = known.get("sha256") == sha256
    if weight.published is None:
        if known.get("origin") and not agrees:
            why = f"{path} changed: sha256 {sha256[:16]}…, recorded was {str(known.get('sha256'))[:16]}…"
            return Status(weight, path, "wrong", sha256, reason=f"{why}; remove it and run: {fetch_command(weight)}")
        if not known.get("origin"):
            _record(path, digests, origin="recorded", came_from="found in the folder")
        return Status(weight, path, "present", sha256, "recorded")
    if agrees and known.get("origin") == "unpublished":
        return Status(weight, path, "present", sha256, "unpublished")
    why = f"{path} has the wrong checksum: {_difference(weight, digests)}"
    return Status(weight, path, "wrong", sha256, reason=f"{why}; remove it and run: {fetch_command(weight)}")


def missing(name: str) -> str | None:
    """Why weights cannot be used, with the command that brings them; None if they can.

    Names that the table doesn't have are somebody else's and never missing.
    """
    weight = table().get(name)
    return None if weight is None else status(weight).reason


def require(name: str) -> Status:
    """The status of weights that are present.

    Raises:
        WeightsError: they are missing or wrong; the message holds the command that mends it.
    """
    found = status(find(name))
    if found.reason is not None:
        raise WeightsError(found.reason)
    return found


def read(name: str) -> tuple[bytes, Status]:
    """The content of weights, checked: these very bytes have the checksum of the status.

    Raises:
        WeightsError: they are missing, wrong or unreadable.
    """
    found = require(name)
    try:
        data = found.path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{found.path} cannot be read ({error.strerror or error})") from None
    if hashlib.sha256(data).hexdigest() != found.sha256:  # its size and time stayed, its content did not
        raise WeightsError(f"{found.path} changed since its checksum was taken; run: vidbench weights verify")
    return data, found


def verify(weight: WeightFile) -> Status:
    """As `status`, but hashes the file again whatever is recorded of it."""
    _digests.cache_clear()
    with contextlib.suppress(OSError), _locked():
        lock = _read_lock()
        if lock.get(weight.file, {}).pop("mtime_ns", None) is not None:
            write_json(folder() / LOCK_FILE, lock)
    return status(weight)


def fetch(
    weight: WeightFile,
    *,
    no_network: bool = False,
    accept_non_commercial: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> Status:
    """Download a file unless it is here already; an interrupted download is taken up where it stopped.

    Args:
        weight: what to fetch.
        no_network: refuse to download; so does `$VIDBENCH_OFFLINE`.
        accept_non_commercial: the user has read that the licence forbids commercial use.
        progress: told after every chunk.

    Raises:
        WeightsError: one line: licence, offline, no network, not there, wrong checksum, disk full, folder not writable.
    """
    here = status(weight)
    if here.state == "present" and here.origin != "unpublished":
        return here
    if no_network or offline():
        raise WeightsError(f"offline, and {weight.file} is not in {folder()}; {_by_hand(weight)}")
    if weight.commercial == "no" and not accept_non_commercial:
        raise WeightsError(
            f"the licence of {weight.name} forbids commercial use: {weight.licence}; if your use is not commercial, "
            f"run: {fetch_command(weight)} --accept-non-commercial"
        )
    with _writing(), _locked():
        here = status(weight)
        if here.state == "present" and here.origin != "unpublished":
            return here  # another process brought it while this one waited
        part = folder() / f"{weight.file}.part"
        reasons = []
        for url in _addresses(weight):
            try:
                digests = _download_checked(weight, url, part, progress)
            except _AddressError as error:
                reasons.append(str(error))
                continue
            return _place(weight, part, digests, came_from=url)
    raise WeightsError(f"{weight.name}: {'; '.join(reasons)}; {_by_hand(weight)}")


def import_file(weight: WeightFile, source: Path, *, unpublished: bool = False) -> Status:
    """Take a file that came here by other means; it is copied, checked and placed.

    Args:
        weight: what it is.
        source: the file.
        unpublished: take it although its checksum is not the published one; every result will say so.

    Raises:
        WeightsError: wrong checksum, disk full, folder not writable; nothing is placed then.
        InputError: `source` cannot be read.
    """
    if not source.is_file():
        raise InputError(f"{source} is not a file; give the weight file {weight.file}")
    with _writing(), _locked():
        part = folder() / f"{weight.file}.import"
        try:
            try:
                size = source.stat().st_size
                opened = source.open("rb")
            except OSError as error:
                raise InputError(f"{source} cannot be read ({error.strerror or error})") from None
            with opened as file, part.open("wb") as out:
                _check_room(size)
                shutil.copyfileobj(file, out, CHUNK)
            digests = _hash(part)
            if weight.published is not None and not digests.are_published(weight):
                if not unpublished:
                    raise WeightsError(
                        f"{source} is not the published {weight.name}: {_difference(weight, digests)}; nothing was "
                        "imported. To use it all the same, with a remark in every result: --unpublished"
                    )
                return _place(weight, part, digests, came_from=str(source), origin="unpublished")
            return _place(weight, part, digests, came_from=str(source))
        finally:
            part.unlink(missing_ok=True)


class _AddressError(Exception):
    """This address does not give the file; another one may."""


class _BrokenError(Exception):
    """The connection broke; what came is kept."""


def _download_checked(weight: WeightFile, url: str, part: Path, progress: Progress) -> Digests:
    """Download to `part` and check; a file put together from two downloads that is wrong is fetched once more whole."""
    while True:
        resumed = _download(weight, url, part, progress)
        digests = _hash(part)
        known = _read_lock().get(weight.file, {})
        if weight.published is not None:
            right = digests.are_published(weight)
            difference = _difference(weight, digests)
        else:
            right = not known.get("origin") or known.get("sha256") == digests.sha256
            difference = f"sha256 {digests.sha256[:16]}…, recorded was {str(known.get('sha256'))[:16]}…"
        if right:
            return digests
        _forget(part)
        if not resumed:
            raise _AddressError(f"wrong checksum from {_host(url)}: {difference}; nothing was kept")


def _download(weight: WeightFile, url: str, part: Path, progress: Progress) -> bool:
    """Bring `part` to completion; whether it began with what an earlier download left."""
    if not _may_continue(weight, url, part):
        _forget(part)
    began_with = part.stat().st_size if part.exists() else 0
    pause = PAUSE
    for attempt in range(ATTEMPTS):
        try:
            _stream(url, part, progress)
        except _BrokenError as error:
            have = part.stat().st_size if part.exists() else 0
            if attempt == ATTEMPTS - 1:
                told = f"the connection to {_host(url)} broke after {megabytes(have)} ({error})"
                raise _AddressError(f"{told}; the same command goes on from there") from None
            began_with = began_with or have
            time.sleep(pause)
            pause *= 2
        else:
            break
    return began_with > 0


def _stream(url: str, part: Path, progress: Progress) -> None:
    """One request; appends to `part` where the server goes on from there, else begins again."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": f"vidbench/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        validator = _validator(part)
        if validator:
            headers["If-Range"] = validator
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  # _addresses lets http and https through only
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
            _take(url, answer, part, have, progress)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                if error.headers.get("Content-Range", "").endswith(f"/{have}"):
                    return  # all of it is here already
                _forget(part)
                raise _BrokenError("the file changed on the server") from None
            if error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
                raise _BrokenError(f"it answers {error.code} {error.reason}") from None
        gone = error.code in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE)
        said = f"{url} is not there ({error.code})" if gone else f"{url} answers {error.code} {error.reason}"
        raise _AddressError(said) from None
    except urllib.error.URLError as error:
        raise _AddressError(f"no network: {_host(url)} cannot be reached ({error.reason})") from None
    except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
        raise _BrokenError(str(error) or type(error).__name__) from None


def _take(url: str, answer: Any, part: Path, have: int, progress: Progress) -> None:
    if answer.headers.get_content_type() == "text/html":
        raise _AddressError(f"{url} answers with a web page instead of the file")
    continued = answer.status == http.HTTPStatus.PARTIAL_CONTENT
    if continued and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        _forget(part)
        raise _BrokenError("the server went on from another place")
    have = have if continued else 0
    length = answer.headers.get("Content-Length")
    total = have + int(length) if length is not None and length.isdigit() else None
    if total is not None:
        _check_room(total - have)
    validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    write_json(_notes(part), {"url": url, "validator": "" if validator.startswith("W/") else validator})
    with part.open("ab" if continued else "wb") as file:
        progress(have, total)
        while True:
            data = answer.read(CHUNK)
            if not data:
                break
            file.write(data)
            have += len(data)
            progress(have, total)
        file.flush()
        os.fsync(file.fileno())
    if total is not None and have < total:
        raise _BrokenError(f"{megabytes(have)} of {megabytes(total)} came")


def _may_continue(weight: WeightFile, url: str, part: Path) -> bool:
    """Whether what an earlier download left can be the beginning of what `url` gives."""
    try:
        notes = json.loads(_notes(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    # With a published checksum any mixture is found out; without one, only the same unchanged file may be continued.
    return weight.published is not None or (notes.get("url") == url and bool(notes.get("validator")))


def _validator(part: Path) -> str | None:
    try:
        return str(json.loads(_notes(part).read_text(encoding="utf-8")).get("validator") or "") or None
    except (OSError, ValueError):
        return None


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _place(weight: WeightFile, part: Path, digests: Digests, *, came_from: str, origin: Origin | None = None) -> Status:
    path = folder() / weight.file
    part.replace(path)
    _notes(part).unlink(missing_ok=True)
    origin = origin or ("published" if weight.published is not None else "recorded")
    _record(path, digests, origin=origin, came_from=came_from)
    return Status(weight, path, "present", digests.sha256, origin)


def _addresses(weight: WeightFile) -> list[str]:
    """Where to look, in order: `$VIDBENCH_WEIGHTS_MIRROR/<file>` first, where that is set."""
    mirror = os.environ.get("VIDBENCH_WEIGHTS_MIRROR")
    urls = [f"{mirror.rstrip('/')}/{urllib.parse.quote(weight.file)}"] if mirror else []
    urls += weight.urls
    for url in urls:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise WeightsError(f"{url} is neither http nor https; correct VIDBENCH_WEIGHTS_MIRROR")
    return urls


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Make the folder; say in one line why it cannot be written."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WeightsError(_full()) from None
        raise WeightsError(
            f"the weights folder {folder()} cannot be written ({error.strerror or error}); set VIDBENCH_WEIGHTS to a "
            "folder that can"
        ) from None


def _check_room(needed: int) -> None:
    free = shutil.disk_usage(folder()).free
    if needed + SPARE > free:
        raise WeightsError(f"{_full()}: {megabytes(needed)} are needed, {megabytes(free)} are free")


def _full() -> str:
    return f"the disk of {folder()} is full; make room, or set VIDBENCH_WEIGHTS to a folder on another one"


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """One process at a time changes the folder."""
    from filelock import FileLock

    # Re-entrant within a process through `is_singleton`: `_record` runs inside `fetch`.
    with FileLock(str(folder() / ".weights.lock"), is_singleton=True):
        yield


def _read_lock() -> dict[str, dict[str, Any]]:
    try:
        lock = json.loads((folder() / LOCK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in lock.items() if isinstance(v, dict)} if isinstance(lock, dict) else {}


def _record(path: Path, digests: Digests, *, origin: Origin | None = None, came_from: str | None = None) -> None:
    """Note checksums beside the file, with the size and time for which they hold.

    A folder that may only be read stays without.
    """
    facts = path.stat()
    entry: dict[str, Any] = {
        "sha256": digests.sha256,
        "git_sha1": digests.git_sha1,
        "size": facts.st_size,
        "mtime_ns": facts.st_mtime_ns,
    }
    if origin is not None:
        entry |= {"origin": origin, "from": came_from, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    with contextlib.suppress(OSError), _locked():
        lock = _read_lock()
        before = lock.get(path.name, {})
        if origin is None and before.get("sha256") not in (None, digests.sha256):
            return  # what was recorded speaks of other bytes; it stays as the witness
        lock[path.name] = {**before, **entry}
        write_json(folder() / LOCK_FILE, lock)


@functools.lru_cache(maxsize=64)
def _digests(path: Path, size: int, mtime_ns: int) -> Digests:
    known = _read_lock().get(path.name, {})
    if (known.get("size"), known.get("mtime_ns")) == (size, mtime_ns) and path.parent == folder():
        return Digests(str(known["sha256"]), str(known["git_sha1"]))
    digests = _hash(path)
    _record(path, digests)
    return digests


def _hash(path: Path) -> Digests:
    sha256, git = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    git.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            sha256.update(data)
            git.update(data)
    return Digests(sha256.hexdigest(), git.hexdigest())


def _difference(weight: WeightFile, digests: Digests) -> str:
    if weight.sha256:
        return f"sha256 {digests.sha256[:16]}…, published is {weight.sha256[:16]}…"
    return f"git sha1 {digests.git_sha1[:16]}…, published is {(weight.git_sha1 or '')[:16]}…"


def _missing(weight: WeightFile) -> str:
    return f"weights {weight.name} ({weight.size}) are not here: {fetch_command(weight)}"


def fetch_command(weight: WeightFile) -> str:
    """What the user types to get it."""
    return f"vidbench weights fetch {weight.name}"


def _by_hand(weight: WeightFile) -> str:
    return f"get the file elsewhere ({weight.urls[0]}) and run: vidbench weights import {weight.name} FILE"


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc


def megabytes(count: int) -> str:
    """Bytes in words."""
    if count < 1_000_000:
        return f"{count / 1000:.1f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1_000_000_000 else f"{count / 1e9:.2f} GB"
