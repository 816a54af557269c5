"""Discovery: every file met is a clip, an input, or a row with a reason; nothing outside the folder is opened."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pickle
import re
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidbench.clips import Clip, ClipFolder, content_hash, discover, find_clip, frame_files, load_actions, pair_by_name
from vidbench.errors import ClipError, InputError, MetadataError
from vidbench.survey import utf8

MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(17) + b"\x00\x00\x00\x00IDAT"
ANIMATED_PNG = PNG.replace(b"\x00\x00\x00\x00IDAT", b"\x00\x00\x00\x08acTL" + bytes(12) + b"\x00\x00\x00\x00IDAT")
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(20)
ANIMATED_WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02" + bytes(20)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="file names and symlinks as on POSIX systems")


def build(root: Path, files: Mapping[str, bytes | str | None]) -> Path:
    """Make a folder; None makes an empty sub-folder, `-> target` a symlink."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir()
        elif isinstance(content, str) and content.startswith("-> "):
            path.symlink_to(content[3:])
        else:
            path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return root


def ids(found: ClipFolder) -> list[str]:
    return [clip.id for clip in found.clips]


def reasons(found: ClipFolder) -> dict[str, tuple[str, str]]:
    rows: dict[str, tuple[str, str]] = {other.id: (other.status, other.reason) for other in found.others}
    assert len(rows) == len(found.others)
    return rows


# ---- real clips


def test_fetv(fetv: Path) -> None:
    found = discover(fetv)
    assert Counter(clip.model for clip in found.clips) == dict.fromkeys(
        ("cogvideo", "ground-truth", "modelscope", "text2video-zero", "zeroscope"), 12
    )
    assert all(clip.prompt and clip.kind == "video" and clip.path.is_file() for clip in found.clips)
    assert {clip.prompt for clip in found.clips if clip.id.endswith("/2.mp4")} == {"people are dancing"}
    assert reasons(found) == {"ratings.csv": ("skipped", "not a clip: a .csv file")}
    assert found.inputs == (fetv.resolve() / "metadata.csv",)
    assert ids(found) == sorted(ids(found))


def test_real_and_videophy(real_clips: Path) -> None:
    for folder, count in ((real_clips, 45), (real_clips.parent / "videophy", 7)):
        found = discover(folder)
        assert len(found.clips) == count
        assert {clip.model for clip in found.clips} == {folder.name}
        assert all(clip.prompt for clip in found.clips)
        assert found.others == ()


def test_folder_of_all_real_clips_uses_the_metadata_of_sub_folders(fetv: Path) -> None:
    found = discover(fetv.parent)
    assert len(found.clips) == 112
    assert all(clip.prompt for clip in found.clips)
    assert {other.id for other in found.others} == {"SOURCE.md", "fetv/ratings.csv"}


def test_pair_by_name_on_fetv(fetv: Path) -> None:
    paired = pair_by_name(discover(fetv), discover(fetv / "ground-truth"))
    true = fetv.resolve() / "ground-truth"
    for clip in paired.clips:
        expected = None if clip.model == "ground-truth" else true / Path(clip.id).name
        assert clip.reference == expected


# ---- layouts and models


def test_models_by_layout(tmp_path: Path) -> None:
    files = {"a/1.mp4": MP4, "a/deep/er/2.mp4": MP4, "b/1.mov": MP4, "top.mp4": MP4, "named.mp4": MP4}
    build(tmp_path / "set", {**files, "metadata.jsonl": '{"file_name": "named.mp4", "model": "m"}'})
    found = discover(tmp_path / "set")
    assert {clip.id: clip.model for clip in found.clips} == {
        "a/1.mp4": "a",
        "a/deep/er/2.mp4": "a",
        "b/1.mov": "b",
        "named.mp4": "m",
        "top.mp4": "set",
    }
    assert discover(tmp_path / "set", model="mine").clips[-1].model == "mine"


def test_root_may_be_relative_or_a_symlink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, {"set/1.mp4": MP4, "link": "-> set"})
    monkeypatch.chdir(tmp_path / "set")
    for folder in (Path(), tmp_path / "link", Path("..", "set")):
        [clip] = discover(folder).clips
        assert clip.model == "set"
        assert clip.path == tmp_path.resolve() / "set" / "1.mp4"


def test_model_option_that_nothing_uses_is_refused(tmp_path: Path) -> None:
    build(tmp_path / "set", {"a/1.mp4": MP4, "b/1.mp4": MP4})
    with pytest.raises(InputError, match="the models are a, b"):
        discover(tmp_path / "set", model="mine")
    with pytest.raises(InputError, match="empty"):
        discover(tmp_path / "set", model=" ")


def test_single_clip(tmp_path: Path) -> None:
    build(tmp_path, {"m/2.mp4": MP4, "m/3.mp4": MP4, "m/2.actions.json": "[1]", "m/f/0001.png": PNG, "m/n.txt": "x"})
    found = discover(tmp_path / "m" / "2.mp4")
    assert [(clip.id, clip.model) for clip in found.clips] == [("2.mp4", "m")]
    assert found.clips[0].actions == found.inputs[0] == tmp_path.resolve() / "m/2.actions.json"
    [frames] = discover(tmp_path / "m" / "f", model="mine").clips
    assert (frames.id, frames.model, frames.kind) == ("f", "mine", "frames")
    with pytest.raises(InputError, match=r"neither a folder nor a clip: not a clip: a \.txt file"):
        discover(tmp_path / "m" / "n.txt")


def test_fps_of_the_user_fills_in_for_metadata(tmp_path: Path) -> None:
    build(tmp_path, {f"{n}.mp4": MP4 for n in (1, 2, 3)})
    build(tmp_path, {"metadata.csv": "file_name,fps\n1.mp4,24\n2.mp4,\n"})
    assert [clip.fps for clip in discover(tmp_path, fps=8).clips] == [24, 8, 8]
    assert [clip.fps for clip in discover(tmp_path).clips] == [24, None, None]
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="frame rate"):
            discover(tmp_path, fps=fps)


def test_clips_travel_to_other_processes(tmp_path: Path) -> None:
    build(tmp_path, {"1.mp4": MP4, "metadata.csv": 'file_name,actions,x\n1.mp4,"[1, 2]",3\n'})
    found = discover(tmp_path)
    assert pickle.loads(pickle.dumps(found)) == found
    assert found.clips[0].extra == {"x": "3"}


# ---- what is a clip


def test_clip_kinds(tmp_path: Path) -> None:
    videos = [f"a.{suffix}" for suffix in ("mp4", "M4V", "mov", "mkv", "webm", "avi", "gif", "mpg", "ts", "apng")]
    videos += [f"a.{suffix}" for suffix in ("3gp", "mpeg", "ogv", "wmv", "flv", "y4m", "m2ts", "mxf")]
    build(tmp_path, dict.fromkeys(videos, b""))
    build(tmp_path, {"o.png": ANIMATED_PNG, "p.webp": ANIMATED_WEBP, "q.npy": b"", "r.npz": b"", "s/0.jpg": b""})
    found = discover(tmp_path)
    assert {clip.id: clip.kind for clip in found.clips} == {
        **dict.fromkeys([*videos, "o.png", "p.webp"], "video"),
        **dict.fromkeys(["q.npy", "r.npz"], "array"),
        "s": "frames",
    }
    assert found.others == ()


def test_animated_png_and_still_png_written_by_ffmpeg_and_opencv(tmp_path: Path) -> None:
    import av
    import cv2

    pixels = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    with av.open(str(tmp_path / "moving.png"), "w", format="apng") as container:
        stream = container.add_stream("apng", rate=8)
        stream.width = stream.height = 16
        stream.pix_fmt = "rgb24"
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    cv2.imwrite(str(tmp_path / "still.png"), pixels[0])
    cv2.imwrite(str(tmp_path / "still.webp"), pixels[0])
    found = discover(tmp_path)
    assert ids(found) == ["moving.png"]
    assert reasons(found) == dict.fromkeys(["still.png", "still.webp"], ("skipped", "a still image, not a clip"))


def test_not_clips_by_name_or_content(tmp_path: Path) -> None:
    build(
        tmp_path,
        {
            "ok.mp4": b"text named as a video is left to the decoder",
            "notes.txt": "hello",
            "README": "hello",
            "movie.txt": MP4,
            "noext": b"\x1a\x45\xdf\xa3 webm",
            "anim.jpg": b"GIF89a...",
            "pixels.bin": b"\x93NUMPY",
            "stream.dat": (b"G" + bytes(187)) * 3,
            "still.png": PNG,
            "still.webp": WEBP,
            "alpha.webp": ANIMATED_WEBP.replace(b"\x02", b"\x10"),
            "photo.jpg": b"\xff\xd8\xff",
            "broken.png": b"",
            "song.m4a": MP4.replace(b"isom", b"M4A "),
            "run/run.json": "{}",
            "run/clips.jsonl": "",
            "run/media/1.mp4": MP4,
            "empty": None,
            "hollow/empty": None,
            ".DS_Store": b"",
            ".cache/1.mp4": MP4,
        },
    )
    found = discover(tmp_path)
    rename = "not a clip by its name, but its content looks like {}: rename it to end in {}"
    assert ids(found) == ["ok.mp4"]
    assert reasons(found) == {
        "notes.txt": ("skipped", "not a clip: a .txt file"),
        "README": ("skipped", "not a clip: a file without extension"),
        "movie.txt": ("skipped", rename.format("an MP4 or QuickTime video", ".mp4")),
        "noext": ("skipped", rename.format("a Matroska or WebM video", ".mkv")),
        "anim.jpg": ("skipped", rename.format("a GIF", ".gif")),
        "pixels.bin": ("skipped", rename.format("a NumPy array", ".npy")),
        "stream.dat": ("skipped", rename.format("an MPEG transport stream", ".ts")),
        "still.png": ("skipped", "a still image, not a clip"),
        "still.webp": ("skipped", "a still image, not a clip"),
        "alpha.webp": ("skipped", "a still image, not a clip"),
        "photo.jpg": ("skipped", "a still image, not a clip"),
        "broken.png": ("failed", "not a PNG image"),
        "song.m4a": ("skipped", "not a clip: a .m4a file"),
        "run": ("skipped", "a vidbench run folder, the result of a run"),
        "empty": ("skipped", "an empty folder"),
        "hollow/empty": ("skipped", "an empty folder"),
        ".DS_Store": ("skipped", "a hidden file"),
        ".cache": ("skipped", "a hidden folder"),
    }


def test_real_video_under_a_wrong_name_is_recognised(real_clips: Path, tmp_path: Path) -> None:
    source = next(real_clips.glob("*.mp4")).read_bytes()
    build(tmp_path, {"a.mp4": source, "b.dat": source})
    assert "rename it to end in .mp4" in reasons(discover(tmp_path))["b.dat"][1]


# ---- folders of frames


def test_frames_are_in_natural_order(tmp_path: Path) -> None:
    build(tmp_path, {f"m/clip/f{n}.png": PNG for n in (10, 9, 8, 11, 12)})
    build(
        tmp_path, {"m/clip/notes.txt": "x", "m/clip/cover.png": PNG, "m/clip/metadata.csv": "x", "m/one/0001.tif": b""}
    )
    found = discover(tmp_path)
    assert [(clip.id, clip.model, clip.kind) for clip in found.clips] == [
        ("m/clip", "m", "frames"),
        ("m/one", "m", "frames"),
    ]
    assert [path.name for path in frame_files(found.clips[0].path)] == [f"f{n}.png" for n in range(8, 13)]
    assert reasons(found) == {
        "m/clip/notes.txt": ("skipped", "not a clip: a .txt file"),
        "m/clip/cover.png": ("skipped", "a still image, not a clip"),
        "m/clip/metadata.csv": ("skipped", "metadata inside a folder of frames, which is not read"),
    }


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["0.png", "1.png", "3.png", "7.png"], "frames are missing between 0 and 7: 2, 4 to 6; add them"),
        (["1.png", "2.jpg", "3.JPEG"], r"several formats \(2 JPEG, 1 PNG\): keep one"),
        (["a1.png", "a2.png", "b1.png"], "2 series, which begin with 'a', 'b'"),
        (["1.png", "01.png"], "two of its frames have the number 1: '(1|01).png', '(1|01).png'"),
    ],
)
def test_frames_that_are_no_single_series_fail(tmp_path: Path, names: list[str], reason: str) -> None:
    build(tmp_path, {"m/ok.mp4": MP4, **{f"m/clip/{name}": PNG for name in names}})
    found = discover(tmp_path)
    assert ids(found) == ["m/ok.mp4"]
    [row] = found.others
    assert (row.id, row.status, row.model) == ("m/clip", "failed", "m")
    assert re.search(reason, row.reason)
    with pytest.raises(ClipError, match=reason):
        frame_files(tmp_path / "m" / "clip")


def test_numbered_stills_beside_clips_are_no_frames(tmp_path: Path) -> None:
    build(tmp_path, {"m/1.mp4": MP4, "m/1.png": PNG, "m/2.png": PNG, "n/1.npy": b"", "n/1.jpg": b"", "0.png": PNG})
    build(tmp_path, {"w/1.webp": ANIMATED_WEBP, "w/2.webp": ANIMATED_WEBP})
    found = discover(tmp_path)
    assert ids(found) == ["m/1.mp4", "n/1.npy", "w/1.webp", "w/2.webp"]
    assert set(reasons(found).values()) == {("skipped", "a still image, not a clip")}
    assert len(found.others) == 4


def test_frame_that_leaves_the_folder_fails_its_clip(tmp_path: Path) -> None:
    build(tmp_path, {"outside.png": PNG, "set/ok.mp4": MP4, "set/f/1.png": PNG, "set/f/2.png": "-> ../../outside.png"})
    found = discover(tmp_path / "set")
    assert ids(found) == ["ok.mp4"]
    assert reasons(found)["f"][1].startswith("its frame '2.png' is unusable: a symlink that leaves")


# ---- symlinks, special files, permissions


def test_symlinks(tmp_path: Path) -> None:
    build(
        tmp_path,
        {
            "outside/x.mp4": MP4,
            "set/a/1.mp4": MP4,
            "set/a/self": "-> .",
            "set/a/up": "-> ..",
            "set/b": "-> a",
            "set/in.mp4": "-> a/1.mp4",
            "set/out.mp4": "-> ../outside/x.mp4",
            "set/outdir": "-> ../outside",
            "set/broken.mp4": "-> nowhere.mp4",
            "set/loop.mp4": "-> loop.mp4",
            "set/pass.mp4": "-> /etc/passwd",
        },
    )
    found = discover(tmp_path / "set")
    assert ids(found) == ["a/1.mp4", "b/1.mp4", "in.mp4"]
    leaves = ("failed", "a symlink that leaves the clip folder: put the file or folder itself there")
    loop = ("failed", "a symlink to a folder that holds it, a loop")
    assert reasons(found) == {
        "a/self": loop,
        "a/up": loop,
        "b/self": loop,
        "b/up": loop,
        "broken.mp4": ("failed", "a broken symlink"),
        "loop.mp4": ("failed", "a symlink that leads back to itself"),
        "out.mp4": leaves,
        "outdir": leaves,
        "pass.mp4": leaves,
    }


def test_folders_that_link_to_each_other_do_not_unfold_without_end(tmp_path: Path) -> None:
    names = [f"d{n}" for n in range(7)]
    build(tmp_path, {f"{name}/1.mp4": MP4 for name in names})
    build(tmp_path, {f"{a}/to-{b}": f"-> ../{b}" for a, b in itertools.permutations(names, 2)})
    start = time.perf_counter()
    found = discover(tmp_path)
    assert time.perf_counter() - start < 5
    assert len(found.clips) == 7 + 7 * 6


def test_pipes_and_sockets_are_not_opened(tmp_path: Path) -> None:
    build(tmp_path, {"ok.mp4": MP4, "link.mp4": "-> pipe.mp4"})
    os.mkfifo(tmp_path / "pipe.mp4")
    os.mkfifo(tmp_path / "metadata.csv")
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/s")
        Path(short, "s").rename(tmp_path / "s.mp4")
        found = discover(tmp_path)
    assert ids(found) == ["ok.mp4"]
    special = ("skipped", "neither a file nor a folder (a pipe, socket or device)")
    assert reasons(found) == {
        **dict.fromkeys(["pipe.mp4", "metadata.csv", "s.mp4"], special),
        "link.mp4": ("skipped", "a symlink to a pipe, socket or device"),
    }
    with pytest.raises(ClipError, match="a pipe, socket or device"):
        find_clip(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="a pipe, socket or device"):
        discover(tmp_path / "pipe.mp4")


@pytest.fixture
def without_root() -> Iterator[Path]:
    """A folder that an unprivileged user can reach, and that user's rights; root may read everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        if os.geteuid() != 0:
            yield folder
            return
        nobody = 65534
        os.chown(folder, nobody, nobody)
        os.setresuid(nobody, nobody, 0)
        try:
            yield folder
        finally:
            os.setresuid(0, 0, 0)


def test_unreadable_files_and_folders_fail(without_root: Path) -> None:
    root = without_root
    build(root, {"ok.mp4": MP4, "secret.mp4": MP4, "secret.txt": "x", "locked/1.mp4": MP4, "m/1.mp4": MP4})
    build(root, {"m/metadata.csv": "file_name\n1.mp4\n"})
    closed = [root / name for name in ("secret.mp4", "secret.txt", "locked")]
    for path in closed:
        path.chmod(0)
    try:
        found = discover(root)
        (root / "m" / "metadata.csv").chmod(0)
        with pytest.raises(MetadataError, match=r"m/metadata\.csv cannot be read: Permission denied"):
            discover(root)
        with pytest.raises(InputError, match="cannot be read: Permission denied"):
            discover(root / "locked")
        with pytest.raises(ClipError, match="cannot be read: Permission denied"):
            content_hash(Clip("s", root / "secret.mp4", "m"))
    finally:
        for path in closed:
            path.chmod(stat.S_IRWXU)
    assert ids(found) == ["m/1.mp4", "ok.mp4"]
    assert reasons(found) == {
        "secret.mp4": ("failed", "cannot be read: permission denied"),
        "secret.txt": ("failed", "cannot be read: permission denied"),
        "locked": ("failed", "cannot be read: Permission denied"),
    }


# ---- names


STRANGE = [
    "with space.mp4",
    "quo\"te's.mp4",
    "new\nline.mp4",
    "emoji 🐻.mp4",
    "-leading.mp4",
    "comma,semi;.mp4",
    "per%cent.mp4",
    "back\\slash.mp4",
    "é.mp4",
    "x" * 251 + ".mp4",
]


def test_strange_names_are_clips_and_metadata_finds_them(tmp_path: Path) -> None:
    build(tmp_path, dict.fromkeys(STRANGE, MP4))
    lines = [json.dumps({"file_name": name, "prompt": f"p{n}"}) for n, name in enumerate(STRANGE)]
    build(tmp_path, {"metadata.jsonl": "\n".join(lines)})
    found = discover(tmp_path)
    assert {clip.id: clip.prompt for clip in found.clips} == {name: f"p{n}" for n, name in enumerate(STRANGE)}
    assert found.others == ()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux file systems hold any bytes as a name")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    for name in (b"\xff.mp4", b"\\xff.mp4", b"m\xe9del/1.mp4"):
        build(tmp_path, {os.fsdecode(name): MP4})
    found = discover(tmp_path)
    assert ids(found) == ["\\x5cxff.mp4", "\\xff.mp4", "m\\xe9del/1.mp4"]
    assert [clip.model for clip in found.clips][2] == "m\\xe9del"
    for clip in found.clips:
        clip.id.encode("utf-8")
        assert content_hash(clip) == hashlib.sha256(MP4).hexdigest()


@given(st.sets(st.binary(min_size=1, max_size=12), min_size=2, max_size=8))
def test_different_names_have_different_ids(names: set[bytes]) -> None:
    texts = {utf8(os.fsdecode(name)) for name in names}
    assert len(texts) == len(names)
    for text in texts:
        text.encode("utf-8")


@given(st.sets(st.text(alphabet="\\xf0a5c", min_size=1, max_size=8), min_size=2, max_size=8))
def test_different_names_with_backslashes_have_different_ids(names: set[str]) -> None:
    assert len({utf8(name) for name in names} | {utf8("\udcff")}) == len(names) + 1


def test_metadata_matches_names_that_differ_by_unicode_normalisation(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café.mp4") for form in ("NFC", "NFD"))
    build(tmp_path, {decomposed: MP4, f"m/{composed}": MP4, f"m/{decomposed}": MP4})
    build(
        tmp_path,
        {
            "metadata.csv": f"file_name,prompt\n{composed},flat\nm/{composed},composed\nm/{decomposed},decomposed\n",
            unicodedata.normalize("NFC", "café.actions.json"): "[1]",
        },
    )
    if len(list((tmp_path / "m").iterdir())) == 1:
        pytest.skip("this file system normalises names itself")
    found = discover(tmp_path)
    assert {clip.id: clip.prompt for clip in found.clips} == {
        decomposed: "flat",
        f"m/{composed}": "composed",
        f"m/{decomposed}": "decomposed",
    }
    assert [clip.actions is not None for clip in found.clips] == [True, False, False]


# ---- metadata


def test_metadata_covers_some_clips_and_empty_prompts_are_none(tmp_path: Path) -> None:
    build(tmp_path, {"1.mp4": MP4, "2.mp4": MP4, "3.mp4": MP4, "metadata.csv": "file_name,prompt\n1.mp4,cat\n2.mp4,\n"})
    assert [clip.prompt for clip in discover(tmp_path).clips] == ["cat", None, None]


def test_two_metadata_files_are_an_error_that_names_both(tmp_path: Path) -> None:
    build(tmp_path, {"1.mp4": MP4, "metadata.csv": "file_name\n", "metadata.jsonl": ""})
    with pytest.raises(MetadataError, match=r"metadata\.csv and metadata\.jsonl: keep one"):
        discover(tmp_path)
    build(tmp_path / "set", {"a/1.mp4": MP4, "a/metadata.csv": "file_name\n", "a/metadata.jsonl": ""})
    with pytest.raises(MetadataError, match=r"in 'a': keep one"):
        discover(tmp_path / "set")


def test_missing_column_names_file_columns_and_remedy(tmp_path: Path) -> None:
    build(tmp_path, {"a/1.mp4": MP4, "a/metadata.csv": "path,prompt\n1.mp4,cat\n"})
    with pytest.raises(MetadataError, match=r"a/metadata\.csv has no column 'file_name'.*'path', 'prompt'.*: name the"):
        discover(tmp_path)


REFUSED = {
    "../../etc/passwd": "a path that leaves the clip folder",
    "a/../../secret.mp4": "a path that leaves the clip folder",
    "..": "a path that leaves the clip folder",
    "/etc/passwd": "an absolute path",
    "C:\\clips\\1.mp4": "an absolute path",
    "\\\\server\\1.mp4": "an absolute path",
    "..\\..\\1.mp4": "a path with backslashes",
    "1.mp4\0.txt": "a path with a NUL character",
}


@pytest.mark.parametrize("column", ["file_name", "reference", "actions"])
@pytest.mark.parametrize("path", REFUSED)
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, column: str, path: str) -> None:
    build(tmp_path, {"secret.mp4": MP4, "set/1.mp4": MP4, "set/2.mp4": MP4})
    row = {"file_name": "1.mp4", column: path}
    build(tmp_path / "set", {"metadata.jsonl": json.dumps(row)})
    found = discover(tmp_path / "set")
    [other] = found.others
    assert other.status == "failed"
    assert REFUSED[path] in other.reason
    assert "metadata.jsonl line 1" in other.reason
    if column == "file_name":
        assert other.id == "metadata.jsonl line 1"
        assert ids(found) == ["1.mp4", "2.mp4"]
    else:
        assert (other.id, other.model) == ("1.mp4", "set")
        assert ids(found) == ["2.mp4"]


def test_nothing_outside_the_folder_is_opened(tmp_path: Path) -> None:
    build(tmp_path, {"outside/x.mp4": MP4, "outside/metadata.csv": "file_name\n", "outside/a.json": "[1]"})
    names = ["../outside/x.mp4", "link.mp4", "linked/x.mp4", str(tmp_path / "outside/x.mp4")]
    rows = [{"file_name": name} for name in names]
    for n, name in enumerate(["../outside/a.json", "a.json", "linked/a.json", str(tmp_path / "outside/a.json")]):
        rows += [{"file_name": f"{n}.mp4", "actions": name}, {"file_name": f"{n + 4}.mp4", "reference": names[n]}]
    build(
        tmp_path / "set",
        {
            **{f"{n}.mp4": MP4 for n in range(9)},
            "link.mp4": "-> ../outside/x.mp4",
            "a.json": "-> ../outside/a.json",
            "8.actions.json": "-> ../outside/a.json",
            "linked": "-> ../outside",
            "sub/metadata.csv": "-> ../../outside/metadata.csv",
            "metadata.jsonl": "\n".join(map(json.dumps, rows)),
        },
    )
    script = """
        import sys
        from pathlib import Path
        from vidbench.clips import content_hash, discover, load_actions
        opened = []
        sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event in ("open", "os.scandir") else None)
        found = discover(Path(sys.argv[1]) / "set")
        for clip in found.clips:
            content_hash(clip), load_actions(clip)
        print([clip.id for clip in found.clips], len(found.others))
        print(sorted({name.rstrip("/") for name in opened if name.startswith(sys.argv[1])}))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path.resolve())]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    root = tmp_path.resolve() / "set"
    opened = sorted(str(path) for path in (root, root / "sub", root / "metadata.jsonl", root / "8.mp4"))
    assert result.stdout.splitlines() == ["['8.mp4'] 16", str(opened)]


def test_rows_without_a_clip(tmp_path: Path) -> None:
    rows = [
        "m/1.mp4",
        "gone.mp4",
        "x/gone.mp4",
        "notes.txt",
        "m",
        "f/0.png",
        ".hid/1.mp4",
        "out.mp4",
        "./m//1.mp4",
        ".",
    ]
    build(tmp_path, {"outside.mp4": MP4})
    build(
        tmp_path / "set",
        {
            "m/1.mp4": MP4,
            "notes.txt": "x",
            "f/0.png": PNG,
            ".hid/1.mp4": MP4,
            "out.mp4": "-> ../outside.mp4",
            "1.actions.json": "[]",
            "metadata.csv": "file_name,prompt\n" + "".join(f"{row},p\n" for row in rows) + ",orphan\n",
        },
    )
    found = discover(tmp_path / "set")
    assert ids(found) == ["f", "m/1.mp4"]
    named = "metadata.csv line {} names it, but {}".format
    leaves = "a symlink that leaves the clip folder: put the file or folder itself there"
    again = "metadata.csv line 10 names 'm/1.mp4' again; metadata.csv line 2 is used"
    assert reasons(found) == {
        "gone.mp4": ("failed", named(3, "there is no such file")),
        "x/gone.mp4": ("failed", named(4, "there is no such file")),
        "notes.txt": ("failed", named(5, "it is unusable: not a clip: a .txt file")),
        "m": ("failed", named(6, "it is a folder without numbered frames")),
        "f/0.png": ("failed", named(7, "there is no such clip; 'f' is one clip, a folder of frames")),
        ".hid/1.mp4": ("failed", named(8, "'.hid' is unusable: a hidden folder")),
        ".hid": ("skipped", "a hidden folder"),
        "out.mp4": ("failed", named(9, f"it is unusable: {leaves}")),
        "metadata.csv line 10": ("skipped", again),
        ".": ("failed", named(11, "it is a folder without numbered frames")),
        "metadata.csv line 12": ("failed", "metadata.csv line 12 has no file_name"),
        "1.actions.json": ("skipped", "an action file, but no clip beside it has its name and no other actions"),
    }
    assert {other.id: other.model for other in found.others}["x/gone.mp4"] == "x"


def test_bad_value_fails_its_clip_only(tmp_path: Path) -> None:
    build(tmp_path, {"a/1.mp4": MP4, "a/2.mp4": MP4, "metadata.csv": "file_name,fps\na/1.mp4,abc\na/2.mp4,8\n"})
    found = discover(tmp_path)
    assert ids(found) == ["a/2.mp4"]
    [row] = found.others
    assert (row.id, row.model, row.status) == ("a/1.mp4", "a", "failed")
    assert row.reason == "metadata.csv line 2: fps must be a number above 0, got 'abc'"


def test_metadata_in_sub_folders_is_relative_to_them_and_the_root_comes_first(tmp_path: Path) -> None:
    build(
        tmp_path,
        {
            "metadata.csv": "file_name,prompt\na/1.mp4,from the root\n",
            "a/1.mp4": MP4,
            "a/2.mp4": MP4,
            "a/metadata.jsonl": '{"file_name": "1.mp4"}\n{"file_name": "2.mp4", "reference": "../t/2.mp4"}',
            "t/2.mp4": MP4,
        },
    )
    found = discover(tmp_path)
    first, second, _ = found.clips
    assert first.prompt == "from the root"
    assert second.reference == tmp_path.resolve() / "t/2.mp4"
    reason = "a/metadata.jsonl line 1 names 'a/1.mp4' again; metadata.csv line 2 is used"
    assert reasons(found) == {"a/metadata.jsonl line 1": ("skipped", reason)}
    assert [path.name for path in found.inputs] == ["metadata.jsonl", "metadata.csv"]


def test_reference_column(tmp_path: Path) -> None:
    rows = "1.mp4,true/1.mp4\n2.mp4,gone.mp4\n3.mp4,notes.txt\n4.mp4,true/f/\n5.mp4,5.mp4\n"
    build(tmp_path, {f"{n}.mp4": MP4 for n in range(1, 6)})
    build(
        tmp_path,
        {"true/1.mp4": MP4, "true/f/1.png": PNG, "notes.txt": "x", "metadata.csv": "file_name,reference\n" + rows},
    )
    found = discover(tmp_path)
    root = tmp_path.resolve()
    assert {clip.id: clip.reference for clip in found.clips if "/" not in clip.id} == {
        "1.mp4": root / "true/1.mp4",
        "4.mp4": root / "true/f",
        "5.mp4": None,
    }
    assert reasons(found)["2.mp4"][1] == (
        "metadata.csv line 3: its reference 'gone.mp4' is no clip: there is no such file"
    )
    assert "its reference 'notes.txt' is no clip: it is unusable" in reasons(found)["3.mp4"][1]


# ---- actions


def test_actions_beside_clips_and_from_metadata(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.ones((3, 2)))
    build(
        tmp_path,
        {
            **{f"{name}.mp4": MP4 for name in "abcdefg"},
            "a.actions.json": "[1, 2]",
            "b.actions.json": "[1]",
            "b.actions.csv": "1\n",
            "c.actions.json": "[1]",
            "acts/c.json": '["left", "right"]',
            "fr/1.png": PNG,
            "fr.actions.CSV": "1,2\n",
            "x.actions.npy": b"",
            "metadata.jsonl": "\n".join(
                json.dumps(row)
                for row in [
                    {"file_name": "c.mp4", "actions": "acts/c.json"},
                    {"file_name": "d.mp4", "actions": [[0, 1], [1, 0]]},
                    {"file_name": "e.mp4", "actions": "e.npy"},
                    {"file_name": "f.mp4", "actions": "gone.json"},
                    {"file_name": "g.mp4", "actions": "a.mp4"},
                ]
            ),
        },
    )
    found = discover(tmp_path)
    clips = {clip.id: clip for clip in found.clips}
    assert set(clips) == {"a.mp4", "c.mp4", "d.mp4", "e.mp4", "fr"}
    loaded = {name: load_actions(clip) for name, clip in clips.items()}
    for name, expected in [
        ("a.mp4", [[1], [2]]),
        ("d.mp4", [[0, 1], [1, 0]]),
        ("e.mp4", np.ones((3, 2))),
        ("fr", [[1, 2]]),
    ]:
        np.testing.assert_array_equal(np.asarray(loaded[name]), expected)
    assert loaded["c.mp4"] == ("left", "right")
    unused = ("skipped", "an action file, but no clip beside it has its name and no other actions")
    two = "it has 2 action files, 'b.actions.csv' and 'b.actions.json': keep one"
    read_from = "they are read from .json, .csv, .npy"
    assert reasons(found) == {
        "b.mp4": ("failed", two),
        "c.actions.json": unused,
        "x.actions.npy": unused,
        "f.mp4": (
            "failed",
            "metadata.jsonl line 4: its actions 'gone.json' cannot be used: there is no such file",
        ),
        "g.mp4": ("failed", f"metadata.jsonl line 5: its actions 'a.mp4' cannot be used: {read_from}"),
    }
    names = [
        "a.actions.json",
        "acts/c.json",
        "b.actions.csv",
        "b.actions.json",
        "e.npy",
        "fr.actions.CSV",
        "metadata.jsonl",
    ]
    assert found.inputs == tuple(sorted(tmp_path.resolve() / name for name in names))


def test_load_actions_without_and_with_bad_ones(tmp_path: Path) -> None:
    clip = Clip("1.mp4", tmp_path / "1.mp4", "m")
    assert load_actions(clip) is None
    with pytest.raises(ClipError, match="between 1 and 2"):
        load_actions(Clip("1.mp4", tmp_path / "1.mp4", "m", actions=([1], [1, 2])))
    (tmp_path / "1.actions.json").write_text("{")
    with pytest.raises(ClipError, match=r"1\.actions\.json"):
        load_actions(Clip("1.mp4", tmp_path / "1.mp4", "m", actions=tmp_path / "1.actions.json"))


# ---- nothing usable


def test_unusable_folders(tmp_path: Path) -> None:
    build(
        tmp_path, {"empty": None, "run/run.json": "{}", "run/clips.jsonl": "", "run/1.mp4": MP4, "broken": "-> nowhere"}
    )
    with pytest.raises(InputError, match=r"^no such folder: '.*gone'$"):
        discover(tmp_path / "gone")
    with pytest.raises(InputError, match="no such folder"):
        discover(tmp_path / "broken")
    with pytest.raises(InputError, match="is a vidbench run folder, the result of a run: give the folder"):
        discover(tmp_path / "run")
    with pytest.raises(InputError, match=r"no clips in .*looked for videos \(\.mp4, .*found 1 × an empty folder"):
        discover(tmp_path / "empty")
    for odd in ("a\0b", "x" * 5000):
        with pytest.raises(InputError):
            discover(tmp_path / odd)


def test_folder_of_other_files_says_what_it_found(tmp_path: Path) -> None:
    build(tmp_path, {**{f"{n}.txt": "x" for n in range(3)}, "a.PDF": b"", "README": "x", "e": None, "still.png": PNG})
    build(tmp_path, {"metadata.csv": "file_name\ngone.mp4\n"})
    with pytest.raises(InputError) as caught:
        discover(tmp_path)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    for part in ("3 × .txt", "1 × .pdf", "1 × a still image", "1 × an empty folder", "1 × metadata.csv", "1 failed"):
        assert part in message
    assert "'gone.mp4': metadata.csv line 2 names it, but there is no such file" in message
    assert "\n" not in message


# ---- one clip, hashes, pairs


def test_find_clip(tmp_path: Path) -> None:
    build(
        tmp_path, {"m/1.mp4": MP4, "m/f/1.png": PNG, "m/a.npy": b"", "m/t.txt": "x", "m/g/1.png": PNG, "m/g/3.png": PNG}
    )
    build(tmp_path, {"m/link.mp4": "-> ../store/blob", "store/blob": MP4})
    root = tmp_path.resolve() / "m"
    for name, kind in (("1.mp4", "video"), ("f", "frames"), ("a.npy", "array"), ("link.mp4", "video")):
        clip = find_clip(tmp_path / "m" / name)
        assert (clip.id, clip.model, clip.kind, clip.path) == (name, "m", kind, root / name)
    for name, message in (
        ("t.txt", "not a clip: a .txt file"),
        ("gone.mp4", "there is no such file"),
        ("g", "frames are missing between 1 and 3: 2"),
        (".", "a folder without numbered frames"),
        ("1.mp4/x", "there is no such file|Not a directory"),
    ):
        with pytest.raises(ClipError, match=message):
            find_clip(tmp_path / "m" / name)


def test_content_hash_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(3_000_001)
    build(tmp_path, {"a/1.mp4": content, "b/2.npy": content, "gone.mp4": b""})
    found = discover(tmp_path)
    assert {content_hash(clip) for clip in found.clips[:2]} == {hashlib.sha256(content).hexdigest()}
    (tmp_path / "gone.mp4").unlink()
    with pytest.raises(ClipError, match="No such file"):
        content_hash(found.clips[2])


def test_content_hash_of_frames_covers_names_contents_and_nothing_else(tmp_path: Path) -> None:
    frames = {"0.png": b"a", "1.png": b"b", "10.png": b"c"}

    def digest(name: str, files: Mapping[str, bytes]) -> str:
        build(tmp_path / name, files)
        return content_hash(Clip(name, tmp_path / name, "m", "frames"))

    series = {f"{n}.png": bytes([n]) for n in range(12)}
    base = digest("base", series)
    total = hashlib.sha256()
    for name in sorted(series):
        total.update(name.encode() + b"\0" + hashlib.sha256(series[name]).digest())
    assert base == total.hexdigest()
    assert digest("copy", {**series, "notes.txt": b"x"}) == base
    others = [
        digest("changed", {**series, "3.png": b"z"}),
        digest("longer", {**series, "12.png": b""}),
        digest("swapped", {**series, "3.png": b"\x04", "4.png": b"\x03"}),
        digest("renamed", {f"f{name}": content for name, content in series.items()}),
    ]
    assert len({base, *others}) == 5
    with pytest.raises(ClipError, match="frames are missing"):
        digest("gap", frames)


def _pairs(generated: Path, reference: Path) -> dict[str, str | None]:
    root = reference.resolve()
    paired = pair_by_name(discover(generated), discover(reference))
    return {
        clip.id: clip.reference.relative_to(root).as_posix() if clip.reference is not None else None
        for clip in paired.clips
    }


def test_pair_by_name(tmp_path: Path) -> None:
    build(
        tmp_path / "gen",
        {"a/1.mp4": MP4, "a/x/2.mp4": MP4, "b/1.gif": b"", "b/9.mp4": MP4, "b/v1.5/0.png": PNG, "3.mp4": MP4},
    )
    flat = build(tmp_path / "flat", {"1.mov": MP4, "x/2.mp4": MP4, "v1.5/7.jpg": b"", "3.npy": b""})
    expected = {"3.mp4": "3.npy", "a/1.mp4": "1.mov", "a/x/2.mp4": "x/2.mp4", "b/1.gif": "1.mov", "b/9.mp4": None}
    assert _pairs(tmp_path / "gen", flat) == {**expected, "b/v1.5": "v1.5"}
    nested = build(tmp_path / "nested", {"true/1.mp4": MP4, "true/x/2.mp4": MP4})
    assert _pairs(tmp_path / "gen", nested) == {
        **dict.fromkeys(["3.mp4", "b/9.mp4", "b/v1.5"]),
        "a/1.mp4": "true/1.mp4",
        "a/x/2.mp4": "true/x/2.mp4",
        "b/1.gif": "true/1.mp4",
    }
    own = build(tmp_path / "own", {"a/1.mp4": MP4, "b/1.mp4": MP4})
    assert _pairs(tmp_path / "gen", own)["b/1.gif"] == "b/1.mp4"


def test_pair_by_name_keeps_metadata_and_never_pairs_a_clip_with_itself(tmp_path: Path) -> None:
    build(
        tmp_path,
        {
            "m/1.mp4": MP4,
            "m/2.mp4": MP4,
            "t/1.mp4": MP4,
            "t/2.mp4": MP4,
            "metadata.csv": "file_name,reference\nm/1.mp4,t/2.mp4\n",
        },
    )
    assert _pairs(tmp_path, tmp_path / "t") == {
        "m/1.mp4": "2.mp4",
        "m/2.mp4": "2.mp4",
        "t/1.mp4": None,
        "t/2.mp4": None,
    }


def test_pair_by_name_refuses_to_choose(tmp_path: Path) -> None:
    build(tmp_path, {"gen/m/1.mp4": MP4, "ref/1.mp4": MP4, "ref/1.gif": b""})
    with pytest.raises(InputError, match=r"'m/1\.mp4' has several reference clips of its name, '1\.gif' and '1\.mp4'"):
        _pairs(tmp_path / "gen", tmp_path / "ref")


# ---- the whole


_NAME = st.sampled_from(
    [
        *("a", "b", "1", "2", "clip", ".hid", "é", "new\nline.mp4", "1.mp4", "2.gif", "a.npy", "notes.txt"),
        *("1.png", "2.png", "3.jpg", "x.webp", "1.actions.json", "metadata.csv", "run.json", "clips.jsonl"),
    ]
)
_CONTENT = st.sampled_from(
    [b"", MP4, PNG, ANIMATED_PNG, WEBP, b"file_name,prompt\n1.mp4,cat\n../x,y\n2.gif,d\n", b"[1, 2]"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.dictionaries(st.lists(_NAME, min_size=1, max_size=3).map(tuple), _CONTENT, max_size=14))
def test_every_file_is_accounted_for_once(tmp_path: Path, files: dict[tuple[str, ...], bytes]) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path)).resolve()
    (root / "sure.mp4").write_bytes(MP4)
    for parts, content in files.items():
        path = root.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                path.write_bytes(content)
        except OSError:
            continue  # a file stands where this one needs a folder
    if {"run.json", "clips.jsonl"} <= {path.name for path in root.iterdir()}:
        with pytest.raises(InputError, match="run folder"):
            discover(root)
        return
    try:
        found = discover(root)
    except MetadataError:
        return  # metadata.csv without the column
    assert found == discover(root)
    assert ids(found) == sorted(ids(found))
    assert [other.id for other in found.others] == sorted(other.id for other in found.others)
    seen = Counter([*ids(found), *(other.id for other in found.others if " line " not in other.id)])
    inputs = {path.relative_to(root).as_posix() for path in found.inputs}
    assert max(seen.values()) == 1
    assert not inputs & seen.keys()
    for path in root.rglob("*"):
        if path.is_file():
            name = path.relative_to(root).as_posix()
            parents = {parent.as_posix() for parent in Path(name).parents}
            assert name in seen or name in inputs or parents & seen.keys(), name


def test_ten_thousand_files_are_quick(tmp_path: Path) -> None:
    for m in range(10):
        folder = tmp_path / f"model{m}"
        folder.mkdir()
        for n in range(1000):
            (folder / f"{n}.mp4").touch()
    rows = [f"model{m}/{n}.mp4,prompt {n}" for m in range(10) for n in range(1000)]
    build(tmp_path, {"metadata.csv": "file_name,prompt\n" + "\n".join(rows)})
    start = time.process_time()
    found = discover(tmp_path)
    assert time.process_time() - start < 3
    assert len(found.clips) == 10_000
    assert all(clip.prompt for clip in found.clips)


def test_clips_imports_stay_light() -> None:
    heavy = ("torch", "cv2", "pandas", "av", "pyarrow")
    code = f"import sys, vidbench.clips; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
