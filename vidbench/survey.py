"""Walking a clip folder: every file met is sorted into clips, inputs and others, before any metadata is read.

Names are *ids*: paths relative to the folder with forward slashes, as text that UTF-8 can hold.
"""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Literal

from vidbench.errors import ClipError, MetadataError
from vidbench.metadata import ACTION_SUFFIXES, METADATA_NAMES

ClipKind = Literal["video", "frames", "array"]
Status = Literal["skipped", "failed"]

VIDEO_SUFFIXES = frozenset(
    [
        *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".gif", ".apng"),
        *(".mpg", ".mpeg", ".m2v", ".vob", ".ts", ".mts", ".m2ts", ".ogv", ".wmv", ".asf", ".flv", ".mxf", ".y4m"),
    ]
)
ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
IMAGE_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
}
"""Images that can be frames, by suffix."""
RUN_FOLDER = "a vidbench run folder, the result of a run"

_SIDECAR = re.compile(r"(?P<stem>.+)\.actions\.(json|csv|npy)", re.DOTALL | re.IGNORECASE)
_HEAD = 1024
"""Bytes read to tell a file's content."""


class Survey:
    """Everything that lies in a folder."""

    def __init__(self, root: str) -> None:
        self.root = root
        """Absolute and free of symlinks."""
        self.clips: dict[str, tuple[Path, ClipKind]] = {}
        self.others: dict[str, tuple[Status, str]] = {}
        """Files and folders that are no clips: status and reason."""
        self.metadata: dict[str, Path] = {}
        """Metadata tables; at most one in each folder."""
        self.sidecars: dict[str, Path] = {}
        """`<stem>.actions.{json,csv,npy}`."""
        self.files: dict[str, Path] = {}
        """Readable files among `others`: what metadata may name as actions."""
        self.folders: set[str] = set()

    def walk(self, relative: str = "") -> None:
        """Survey a folder and all below it; `relative` is its path as the system spells it.

        Raises:
            MetadataError: several metadata files in one folder.
        """
        pending = [(relative, False)]
        while pending:
            pending += self.folder(*pending.pop())

    def folder(self, relative: str, linked: bool = False) -> list[tuple[str, bool]]:
        """Survey one folder; returns its sub-folders, each with whether it is reached through a symlink."""
        try:
            with os.scandir(os.path.join(self.root, relative)) as listing:  # noqa: PTH118
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            self._other(relative, ("failed", f"cannot be read: {error.strerror or error}"))
            return []
        if {"run.json", "clips.jsonl"} <= {entry.name for entry in entries}:
            self._other(relative, ("skipped", RUN_FOLDER))
            return []
        if not entries:
            self._other(relative, ("skipped", "an empty folder"))
            return []
        self.folders.add(utf8(relative) or ".")
        folders: list[tuple[str, bool]] = []
        files: dict[str, str] = {}
        refused: dict[str, tuple[Status, str]] = {}
        for entry in entries:
            kind = self._sort(entry, linked)
            if kind == "folder":
                folders.append((_join(relative, entry.name), linked or entry.is_symlink()))
            elif kind == "file":
                files[entry.name] = entry.path
            else:
                refused[entry.name] = kind
        self._files(relative, files, refused)
        for name, verdict in refused.items():
            self._other(_join(relative, name), verdict)
        return folders

    def file(self, relative: str, path: str) -> None:
        """Survey one file that is neither metadata, nor actions, nor a frame."""
        suffix = _suffix(relative)
        name, where = utf8(relative), Path(path)
        if not os.access(path, os.R_OK):
            self.others[name] = ("failed", "cannot be read: permission denied")
        elif suffix in VIDEO_SUFFIXES:
            self.clips[name] = (where, "video")
        elif suffix in ARRAY_SUFFIXES:
            self.clips[name] = (where, "array")
        else:
            what, right_suffix = _content(path)
            if right_suffix is not None and right_suffix == suffix:
                self.clips[name] = (where, "video")
            else:
                self.files[name] = where
                self.others[name] = _why_no_clip(suffix, what, right_suffix)

    def _other(self, relative: str, verdict: tuple[Status, str]) -> None:
        self.others[utf8(relative) or "."] = verdict

    def _sort(self, entry: os.DirEntry[str], linked: bool) -> Literal["folder", "file"] | tuple[Status, str]:
        """What an entry is; pipes, sockets and devices are never opened."""
        try:
            if entry.name.startswith("."):
                return "skipped", "a hidden folder" if entry.is_dir(follow_symlinks=False) else "a hidden file"
            if entry.is_symlink():
                return self._sort_symlink(entry, linked)
            if entry.is_dir():
                return "folder"
            if entry.is_file():
                return "file"
        except OSError as error:
            return "failed", f"cannot be read: {error.strerror or error}"
        return "skipped", "neither a file nor a folder (a pipe, socket or device)"

    def _sort_symlink(self, entry: os.DirEntry[str], linked: bool) -> Literal["folder", "file"] | tuple[Status, str]:
        try:
            target = os.path.realpath(entry.path, strict=True)
        except OSError as error:
            return "failed", (
                "a symlink that leads back to itself" if error.errno == errno.ELOOP else "a broken symlink"
            )
        if not _inside(target, self.root):
            return "failed", "a symlink that leaves the clip folder: put the file or folder itself there"
        if not entry.is_dir():
            return "file" if entry.is_file() else ("skipped", "a symlink to a pipe, socket or device")
        if _inside(os.path.realpath(os.path.dirname(entry.path)), target):  # noqa: PTH120
            return "failed", "a symlink to a folder that holds it, a loop"
        if linked:
            # Following these too would let a few folders that link to each other unfold without end.
            return "skipped", "a symlink inside a symlinked folder, which is not followed"
        return "folder"

    def _files(self, relative: str, files: Mapping[str, str], refused: dict[str, tuple[Status, str]]) -> None:
        tables = [name for name in METADATA_NAMES if name in files]
        sidecars = {name for name in files if _SIDECAR.fullmatch(name)}
        images = [name for name in (*files, *refused) if is_frame(name)]
        rest = [name for name in files if name not in sidecars and name not in tables]
        self.sidecars.update((utf8(_join(relative, name)), Path(files[name])) for name in sorted(sidecars))
        # Numbered images in the clip folder itself are a clip only where that folder is asked for as one.
        if images and relative and _is_frame_folder(rest, images, files):
            self._frames(relative, images, refused)
            rest = [name for name in rest if not is_frame(name)]
            for name in tables:
                self._other(_join(relative, name), ("skipped", "metadata inside a folder of frames, which is not read"))
        elif len(tables) > 1:
            where = f" in {utf8(relative)!r}" if relative else ""
            raise MetadataError(f"there are {' and '.join(tables)}{where}: keep one metadata file")
        else:
            self.metadata.update((utf8(_join(relative, name)), Path(files[name])) for name in tables)
        for name in rest:
            self.file(_join(relative, name), files[name])

    def _frames(self, relative: str, images: list[str], refused: dict[str, tuple[Status, str]]) -> None:
        bad = [name for name in images if name in refused]
        if bad:
            self._other(relative, ("failed", f"its frame {utf8(bad[0])!r} is unusable: {refused[bad[0]][1]}"))
            for name in bad:
                del refused[name]
            return
        try:
            in_order(images)
        except ClipError as error:
            self._other(relative, ("failed", error.reason))
        else:
            self.clips[utf8(relative)] = (Path(self.root, relative), "frames")


def is_one_clip(root: str) -> bool:
    """Whether a folder holds numbered images, no folder, and nothing else that is a clip or metadata by its name."""
    with os.scandir(root) as entries:
        seen = [entry for entry in entries if not entry.name.startswith(".")]
    return any(is_frame(entry.name) for entry in seen) and not any(
        entry.is_dir() or is_clip_name(entry.name) or entry.name in METADATA_NAMES for entry in seen
    )


def survey_one(path: Path) -> tuple[Survey, str]:
    """A survey of one file or folder alone, with the actions beside it, and its id."""
    # A symlink that the user gives by hand is meant; its own name, not its target's, says what it is.
    place = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
    survey = Survey(str(place.parent))
    if place.is_dir():
        survey.folder(place.name)
    elif place.is_file():
        survey.file(place.name, str(place))
    elif os.path.lexists(place):
        broken = place.is_symlink() and not place.exists()
        survey.others[utf8(place.name)] = ("failed", "a broken symlink" if broken else "a pipe, socket or device")
    else:
        survey.others[utf8(place.name)] = ("failed", "there is no such file")
    stem = place.name if place.is_dir() else place.stem
    for suffix in ACTION_SUFFIXES:
        sidecar = place.with_name(f"{stem}.actions{suffix}")
        if sidecar.is_file() and _inside(os.path.realpath(sidecar), survey.root):
            survey.sidecars[utf8(sidecar.name)] = sidecar
    return survey, utf8(place.name)


def utf8(name: str) -> str:
    r"""A file name as text that UTF-8 can hold: each byte that is not UTF-8 becomes `\xNN`.

    Different names stay different: a backslash that could be taken for such an escape is itself escaped.
    """
    if name.isascii() and "\\" not in name:
        return name
    return os.fsencode(re.sub(r"\\(?=x[0-9a-f]{2})", r"\\x5c", name)).decode("utf-8", "backslashreplace")


def sidecar_stem(name: str) -> str:
    """`2` for `2.actions.json`; the name itself where it is no action file's."""
    match = _SIDECAR.fullmatch(name)
    return match["stem"] if match else name


def is_frame(name: str) -> bool:
    """Whether a file name is that of a numbered image."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    return suffix.lower() in IMAGE_FORMATS and stem[-1:] in _DIGITS and not name.startswith(".")


def is_clip_name(name: str) -> bool:
    """Whether a file name is that of a video or array."""
    return _suffix(name) in VIDEO_SUFFIXES or _suffix(name) in ARRAY_SUFFIXES


def in_order(images: Iterable[str]) -> list[str]:
    """Names of numbered images in the order of their numbers.

    Raises:
        ClipError: there are none, or they are no single unbroken series.
    """
    names = sorted(images, key=_number)
    formats = Counter(IMAGE_FORMATS[_suffix(name)] for name in names)
    if not formats:
        raise ClipError("a folder without numbered frames, not a clip")
    if len(formats) > 1:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(formats.items()))
        raise ClipError(f"its frames have several formats ({counts}): keep one")
    series = sorted({_prefix(name) for name in names})
    if len(series) > 1:
        shown = ", ".join(repr(utf8(prefix)) for prefix in series[:3])
        raise ClipError(
            f"its numbered images belong to {len(series)} series, which begin with {shown}"
            f"{', …' if len(series) > 3 else ''}: give each its own folder"
        )
    numbers = [_number(name) for name in names]
    for n, (before, after) in enumerate(pairwise(numbers)):
        if before == after:
            raise ClipError(f"two of its frames have the number {after}: {utf8(names[n])!r}, {utf8(names[n + 1])!r}")
    gaps = [(a + 1, b - 1) for a, b in pairwise(numbers) if b > a + 1]
    if gaps:
        shown = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in gaps[:8])
        raise ClipError(
            f"frames are missing between {numbers[0]} and {numbers[-1]}: {shown}{', …' if len(gaps) > 8 else ''}; "
            "add them, or number the frames without gaps"
        )
    return names


_DIGITS = frozenset("0123456789")


def _number(name: str) -> int:
    stem = os.path.splitext(name)[0]  # noqa: PTH122
    return int(stem[len(_prefix(name)) :])


def _prefix(name: str) -> str:
    return os.path.splitext(name)[0].rstrip("0123456789")  # noqa: PTH122


def _is_frame_folder(rest: Iterable[str], images: list[str], files: Mapping[str, str]) -> bool:
    if any(is_clip_name(name) for name in rest):
        return False
    # One image tells animated clips called 1.webp, 2.webp from frames, without opening thousands.
    first = min(images, key=_number)
    return first not in files or _content(files[first])[1] is None


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _why_no_clip(suffix: str, what: str | None, right_suffix: str | None) -> tuple[Status, str]:
    if right_suffix is not None:
        return (
            "skipped",
            f"not a clip by its name, but its content looks like {what}: rename it to end in {right_suffix}",
        )
    if what is not None or suffix in IMAGE_FORMATS.keys() - {".png", ".webp"}:
        return "skipped", "a still image, not a clip"
    if suffix in IMAGE_FORMATS:
        # Both may be animated, so it may have been meant as a clip.
        return "failed", f"not a {IMAGE_FORMATS[suffix]} image"
    return "skipped", f"not a clip: {f'a {utf8(suffix)} file' if suffix else 'a file without extension'}"


_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM video", ".mkv"),
    (0, b"GIF87a", "a GIF", ".gif"),
    (0, b"GIF89a", "a GIF", ".gif"),
    (8, b"AVI LIST", "an AVI video", ".avi"),
    (28, b"\x80theora", "an Ogg video", ".ogv"),
    (0, b"FLV\x01", "a Flash video", ".flv"),
    (0, b"\x00\x00\x01\xba", "an MPEG video", ".mpg"),
    (0, b"\x00\x00\x01\xb3", "an MPEG video", ".mpg"),
    (0, b"YUV4MPEG2 ", "a YUV4MPEG video", ".y4m"),
    (0, b"\x93NUMPY", "a NumPy array", ".npy"),
    (4, b"moov", "a QuickTime video", ".mov"),
    (4, b"mdat", "a QuickTime video", ".mov"),
)
"""Where, which bytes, what they say, and the suffix that goes with it."""

_STILL_BRANDS = frozenset({b"avif", b"heic", b"heix", b"mif1", b"M4A ", b"M4B "})
"""Brands of the MP4 family that hold images or sound."""


def _content(path: str) -> tuple[str | None, str | None]:
    """What a file's first bytes say it is, and the suffix that makes it a clip (None where nothing does)."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            head = file.read(_HEAD)
            if head.startswith(b"\x89PNG\r\n\x1a\n"):
                return ("an animated PNG", ".png") if _is_animated_png(file) else ("a PNG image", None)
    except OSError:
        return None, None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        animated = head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 2)
        return ("an animated WebP", ".webp") if animated else ("a WebP image", None)
    if head[4:8] == b"ftyp" and head[8:12] not in _STILL_BRANDS:
        return "an MP4 or QuickTime video", ".mov" if head[8:12] == b"qt  " else ".mp4"
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "an MPEG transport stream", ".ts"
    return next(((what, to) for at, start, what, to in _SIGNATURES if head.startswith(start, at)), (None, None))


def _is_animated_png(file: BinaryIO) -> bool:
    """An animated PNG has an acTL chunk before its first IDAT chunk."""
    file.seek(8)
    for _ in range(64):
        header = file.read(8)
        if len(header) < 8 or header[4:] == b"IDAT":
            return False
        if header[4:] == b"acTL":
            return True
        file.seek(int.from_bytes(header[:4], "big") + 4, os.SEEK_CUR)
    return False
