"""Weight files: fetched from a local server that breaks, lies, changes its mind or is not there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidbench import weights
from vidbench.errors import InputError, WeightsError
from vidbench.extractor import Requires
from vidbench.weights import WeightFile, fetch, import_file, status, verify

CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GIT_SHA1 = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`; what it does wrong is set by the test."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/net.pt": CONTENT}
        self.breaks_after: list[int | None] = []
        """Bytes after which the next answers break, one an answer; None or nothing for a whole answer."""
        self.ranges = True
        self.etag = '"one"'
        self.html = False
        self.code: int | None = None
        self.asked: list[str | None] = []
        """The Range header of each request."""

    def url(self, path: str = "/net.pt") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:
        server, span = self.server, self.headers.get("Range")
        server.asked.append(span)
        content = server.files.get(self.path)
        self.close_connection = True
        if content is None or server.code is not None:
            self.send_response(server.code or 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(span.removeprefix("bytes=").rstrip("-")) if span and server.ranges else 0
        if self.headers.get("If-Range") not in (None, server.etag):
            start = 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if server.html else "application/octet-stream")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = server.breaks_after.pop(0) if server.breaks_after else None
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content[start:] if cut is None else content[start : start + cut])


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "weights"
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(place))
    for name in ("VIDBENCH_OFFLINE", "VIDBENCH_WEIGHTS_MIRROR", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(weights, "PAUSE", 0.0)
    return place


def _net(*urls: str, **facts: Any) -> WeightFile:
    given: dict[str, Any] = {
        "name": "net",
        "file": "net.pt",
        "urls": urls or ("http://127.0.0.1:9/net.pt",),
        "licence": "MIT",
        "commercial": "yes",
        "used_for": "tests",
        "source": "tests",
        "sha256": SHA256,
    }
    return WeightFile(**{**given, **facts})


def _files(place: Path) -> set[str]:
    """What is in the folder besides the lock that keeps two processes apart."""
    return {path.name for path in place.iterdir()} - {".weights.lock"} if place.is_dir() else set()


@pytest.mark.parametrize("checksum", [{}, {"sha256": None, "git_sha1": GIT_SHA1}, {"sha256": None}])
def test_a_download_is_checked_placed_and_recorded(server: Server, folder: Path, checksum: dict[str, Any]) -> None:
    net = _net(server.url(), **checksum)
    assert status(net).state == "missing"
    told: list[tuple[int, int | None]] = []
    found = fetch(net, progress=lambda done, total: told.append((done, total)))
    assert (folder / "net.pt").read_bytes() == CONTENT
    assert _files(folder) == {"net.pt", weights.LOCK_FILE}
    assert found.origin == ("published" if net.published else "recorded")
    assert found == status(net)
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    entry = json.loads((folder / weights.LOCK_FILE).read_text())["net.pt"]
    assert (entry["sha256"], entry["git_sha1"], entry["from"]) == (SHA256, GIT_SHA1, server.url())
    fetch(net)
    assert len(server.asked) == 1, "what is here is not downloaded again"


def test_git_sha1_is_what_git_says(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    said = subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=True).stdout.strip()
    assert weights._hash(path).git_sha1 == said


def test_a_broken_connection_is_taken_up_within_one_call(server: Server, folder: Path) -> None:
    server.breaks_after = [1_000_000, 500_000]
    fetch(_net(server.url()))
    assert server.asked == [None, "bytes=1000000-", "bytes=1500000-"]
    assert (folder / "net.pt").read_bytes() == CONTENT


def test_an_interrupted_download_goes_on_in_the_next_call(server: Server, folder: Path) -> None:
    server.breaks_after = [1_000_000, 0, 0]
    with pytest.raises(WeightsError, match=r"broke after 1\.0 MB .*; the same command goes on from there"):
        fetch(_net(server.url()))
    assert not (folder / "net.pt").exists()
    assert (folder / "net.pt.part").stat().st_size == 1_000_000
    server.asked.clear()
    fetch(_net(server.url()))
    assert server.asked == ["bytes=1000000-"]
    assert (folder / "net.pt").read_bytes() == CONTENT
    assert _files(folder) == {"net.pt", weights.LOCK_FILE}


def test_a_download_killed_at_its_last_byte_is_finished(server: Server, folder: Path) -> None:
    folder.mkdir()
    (folder / "net.pt.part").write_bytes(CONTENT)
    (folder / "net.pt.part.json").write_text(json.dumps({"url": server.url(), "validator": '"one"'}))
    fetch(_net(server.url()))
    assert server.asked == [f"bytes={len(CONTENT)}-"]
    assert (folder / "net.pt").read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_is_fetched_whole(server: Server, folder: Path) -> None:
    """If-Range: half of the old file and half of the new one never meet."""
    old = bytes(len(CONTENT))
    server.files["/net.pt"], server.breaks_after = old, [1_000_000, 0, 0]
    unknown = _net(server.url(), sha256=None)
    with pytest.raises(WeightsError):
        fetch(unknown)
    server.files["/net.pt"], server.etag = CONTENT, '"two"'
    assert fetch(unknown).sha256 == SHA256


def test_halves_that_do_not_fit_are_found_out_and_fetched_whole(server: Server, folder: Path) -> None:
    server.etag = ""
    folder.mkdir()
    (folder / "net.pt.part").write_bytes(bytes(1_000_000))
    (folder / "net.pt.part.json").write_text(json.dumps({"url": server.url(), "validator": ""}))
    fetch(_net(server.url()))
    assert server.asked == ["bytes=1000000-", None]
    assert (folder / "net.pt").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(server: Server, folder: Path) -> None:
    server.ranges, server.breaks_after = False, [1_000_000]
    fetch(_net(server.url()))
    assert (folder / "net.pt").read_bytes() == CONTENT


def test_a_wrong_checksum_places_nothing(server: Server, folder: Path) -> None:
    server.files["/net.pt"] = b"x" + CONTENT[1:]
    with pytest.raises(WeightsError, match=rf"wrong checksum from 127.0.0.1:\d+: sha256 .*{SHA256[:16]}…; nothing"):
        fetch(_net(server.url()))
    assert _files(folder) == set()


def test_the_mirror_is_tried_where_the_first_address_fails(server: Server, folder: Path) -> None:
    server.files["/bad.pt"] = b"not it"
    net = _net(server.url("/gone.pt"), server.url("/bad.pt"), server.url())
    fetch(net)
    assert (folder / "net.pt").read_bytes() == CONTENT


def test_an_own_mirror_comes_first(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDBENCH_WEIGHTS_MIRROR", server.url("/"))
    fetch(_net("http://127.0.0.1:9/never.pt"))
    assert (folder / "net.pt").read_bytes() == CONTENT
    monkeypatch.setenv("VIDBENCH_WEIGHTS_MIRROR", "file:///etc")
    (folder / "net.pt").unlink()
    with pytest.raises(WeightsError, match="neither http nor https"):
        fetch(_net())


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"files": {}}, r"/net\.pt is not there \(404\)"),
        ({"code": 403}, r"/net\.pt answers 403 Forbidden"),
        ({"code": 503}, r"it answers 503 Service Unavailable"),
        ({"html": True}, r"answers with a web page instead of the file"),
    ],
)
def test_what_the_server_answers_is_said_in_one_line(
    server: Server, folder: Path, setting: dict[str, Any], said: str
) -> None:
    for name, value in setting.items():
        setattr(server, name, value)
    with pytest.raises(WeightsError, match=said) as caught:
        fetch(_net(server.url()))
    assert re.search(r"run: vidbench weights import net FILE$", str(caught.value))
    assert "\n" not in str(caught.value)
    assert _files(folder) == set()


def test_no_network_is_said(folder: Path) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can open it
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(WeightsError, match=r"no network: 127\.0\.0\.1:\d+ cannot be reached \(.*refused"):
            fetch(_net(f"http://127.0.0.1:{taken.getsockname()[1]}/net.pt"))


def test_offline_downloads_nothing_but_uses_what_is_here(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = _net(server.url())
    with pytest.raises(WeightsError, match=r"^offline, and net\.pt is not in .*weights import net FILE$"):
        fetch(net, no_network=True)
    monkeypatch.setenv("VIDBENCH_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"^offline"):
        fetch(net)
    assert server.asked == []
    assert _files(folder) == set()
    monkeypatch.setenv("VIDBENCH_OFFLINE", "0")
    fetch(net)
    monkeypatch.setenv("VIDBENCH_OFFLINE", "1")
    assert fetch(net).state == "present"
    assert len(server.asked) == 1


def test_a_licence_that_forbids_commercial_use_must_be_accepted(server: Server, folder: Path) -> None:
    net = _net(server.url(), commercial="no", licence="CC BY-NC 4.0")
    with pytest.raises(WeightsError, match=r"forbids commercial use: CC BY-NC 4\.0; .* --accept-non-commercial$"):
        fetch(net)
    assert server.asked == []
    assert fetch(net, accept_non_commercial=True).state == "present"


def test_a_full_disk_is_said_before_and_during(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=20_000))
    with pytest.raises(WeightsError, match=r"disk of .* is full; .*VIDBENCH_WEIGHTS.* 3\.0 MB are needed, 20\.0 kB"):
        fetch(_net(server.url()))
    monkeypatch.setattr(shutil, "disk_usage", real)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(WeightsError, match=r"disk of .* is full"):
            fetch(_net(server.url()))
    assert not (folder / "net.pt").exists()
    fetch(_net(server.url()))  # goes on from what was written
    assert (folder / "net.pt").read_bytes() == CONTENT


def test_import_checks_before_it_places(folder: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pt", tmp_path / "bad.pt"
    good.write_bytes(CONTENT)
    bad.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(WeightsError, match=r"bad\.pt is not the published net: .*nothing was imported.*--unpublished"):
        import_file(_net(), bad)
    assert _files(folder) == set()
    assert import_file(_net(), good).origin == "published"
    with pytest.raises(WeightsError):
        import_file(_net(), bad)
    assert (folder / "net.pt").read_bytes() == CONTENT, "a refused file leaves the good one alone"
    with pytest.raises(InputError, match=r"nowhere\.pt is not a file"):
        import_file(_net(), tmp_path / "nowhere.pt")


def test_an_unpublished_file_is_taken_on_demand_and_marked(
    server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.pt"
    own.write_bytes(b"other weights")
    net = _net(server.url())
    found = import_file(net, own, unpublished=True)
    assert found == status(net)
    assert found.origin == "unpublished"
    assert found.checksum().endswith("(not the published weights: the checksum differs)")
    (folder / "net.pt").write_bytes(b"yet another file")  # only the very file that was accepted is
    assert status(net).state == "wrong"
    import_file(net, own, unpublished=True)
    assert fetch(net).origin == "published", "fetch brings the published file"


def test_a_file_that_changed_is_refused(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = _net(server.url())
    monkeypatch.setattr(weights, "table", lambda: {"net": net})
    fetch(net)
    assert weights.missing("net") is None
    (folder / "net.pt").write_bytes(CONTENT[:-1])
    lack = weights.missing("net")
    assert lack is not None
    assert re.search(r"net\.pt has the wrong checksum: sha256 .*; remove it and run: vidbench weights fetch net$", lack)
    with pytest.raises(WeightsError, match="wrong checksum"):
        weights.read("net")
    fetch(net)
    assert weights.read("net")[0] == CONTENT


def test_a_change_that_keeps_size_and_time_does_not_pass(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = _net(server.url())
    monkeypatch.setattr(weights, "table", lambda: {"net": net})
    fetch(net)
    before = (folder / "net.pt").stat()
    (folder / "net.pt").write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    os.utime(folder / "net.pt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert status(net).state == "present", "a look at size and time is all that a plan can afford"
    with pytest.raises(WeightsError, match="changed since its checksum was taken"):
        weights.read("net")
    assert verify(net).state == "wrong"


def test_without_a_published_checksum_the_first_one_is_the_measure(server: Server, folder: Path) -> None:
    net = _net(server.url(), sha256=None)
    fetch(net)
    (folder / "net.pt").write_bytes(b"something else")
    assert re.search(r"changed: sha256 .*, recorded was " + SHA256[:16], status(net).reason or "")
    server.files["/net.pt"] = b"a new version"
    with pytest.raises(WeightsError, match="recorded was"):
        fetch(net)


def test_a_file_put_there_by_hand_is_recorded(folder: Path) -> None:
    folder.mkdir()
    (folder / "net.pt").write_bytes(CONTENT)
    net = _net(sha256=None)
    assert status(net).origin == "recorded"
    assert json.loads((folder / weights.LOCK_FILE).read_text())["net.pt"]["sha256"] == SHA256
    (folder / "net.pt").write_bytes(CONTENT[1:])
    assert status(net).state == "wrong"


def test_hashes_are_remembered(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = _net(server.url())
    fetch(net)
    weights._digests.cache_clear()  # as in another process

    def never(_: Path) -> None:
        raise AssertionError("hashed again")

    monkeypatch.setattr(weights, "_hash", never)
    assert status(net).state == "present"


def test_the_folder_can_be_moved(server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = _net(server.url())
    fetch(net)
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    assert status(net).state == "missing"
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(moved))
    assert status(net).path == moved / "net.pt"
    assert status(net).state == "present"
    monkeypatch.delenv("VIDBENCH_WEIGHTS")
    monkeypatch.setenv("VIDBENCH_CACHE", str(tmp_path / "cache"))
    assert weights.folder() == tmp_path / "cache" / "weights"


def test_a_folder_that_cannot_be_made_is_said(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path / "file" / "weights"))
    with pytest.raises(WeightsError, match=r"cannot be written \(Not a directory\); set VIDBENCH_WEIGHTS to a folder"):
        fetch(_net(server.url()))


READ_ONLY = """
import os, sys
if os.geteuid() == 0:  # root may write everywhere; nobody may not
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
from vidbench import weights
from vidbench.errors import WeightsError
net = weights.WeightFile("net", "net.pt", ("http://127.0.0.1:9/net.pt",), "MIT", "yes", "t", "t", sha256=sys.argv[1])
new = weights.WeightFile("new", "new.pt", ("http://127.0.0.1:9/new.pt",), "MIT", "yes", "t", "t")
found = weights.status(net)
assert found.state == "present" and found.origin == "published", found
assert weights.verify(net).state == "present"
try:
    weights.fetch(new)
except WeightsError as error:
    print(error)
"""


def test_a_folder_that_may_only_be_read_serves_and_refuses_new_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "net.pt").write_bytes(CONTENT)
    folder.chmod(0o555)
    reachable = [folder, *folder.parents]
    modes = {path: path.stat().st_mode for path in reachable}
    try:
        if os.geteuid() == 0:
            for path in reachable[1:]:
                if path.is_relative_to(tempfile.gettempdir()) and path != Path(tempfile.gettempdir()):
                    path.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", "import vidbench.weights, filelock;" + READ_ONLY, SHA256],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        for path, mode in modes.items():
            if path.stat().st_mode != mode:
                path.chmod(mode)
        folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"the weights folder .* cannot be written \(Permission denied\); set VIDBENCH_WEIGHTS.*\n", done.stdout
    )
    assert _files(folder) == {"net.pt"}


def test_two_processes_fetch_one_file_once(server: Server, folder: Path) -> None:
    code = (
        "import sys; from vidbench import weights as w;"
        "w.fetch(w.WeightFile('net', 'net.pt', (sys.argv[1],), 'MIT', 'yes', 't', 't', sha256=sys.argv[2]))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, server.url(), SHA256]) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert (folder / "net.pt").read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_the_table_is_sound() -> None:
    """Facts have the shape that the code reads; where there is a checksum, it is a whole one."""
    for name, row in weights.table().items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        assert Path(row.file).name == row.file
        assert row.urls
        assert all(url.startswith("https://") for url in row.urls)
        assert row.commercial in ("yes", "no", "unknown")
        assert re.fullmatch(r"[0-9a-f]{64}", row.sha256 or "0" * 64)
        assert re.fullmatch(r"[0-9a-f]{40}", row.git_sha1 or "0" * 40)
        assert row.licence
        assert row.used_for
        assert row.source
    assert len({row.file for row in weights.table().values()}) == len(weights.table())
    assert weights.table()["i3d"].git_sha1 == "a867b87ac3a9097d200598b1d48a1b890d8ec744"
    assert weights.table()["amt-s"].commercial == "no"


def test_requires_names_the_command(folder: Path) -> None:
    needs = Requires(weights=("a-strangers-own-file", "i3d"))
    assert re.fullmatch(r"weights i3d \(.*\) are not here: vidbench weights fetch i3d", needs.missing() or "")
    assert Requires(weights=("a-strangers-own-file",)).missing() is None
    assert "pip install" in (Requires(modules=("no_such_module",), weights=("i3d",)).missing() or "")


def test_the_commands_from_beginning_to_end(vidbench, server: Server, folder: Path, monkeypatch) -> None:
    """With dino's row, which has no published checksum, from a mirror of our own."""
    server.files = {"/dino_vitbase16_pretrain.pth": CONTENT, "/amt-s.pth": CONTENT, "/i3d_pretrained_400.pt": CONTENT}
    monkeypatch.setenv("VIDBENCH_WEIGHTS_MIRROR", server.url(""))
    listed = vidbench("weights", "list")
    assert listed.returncode == 0
    assert "missing: vidbench weights fetch dino-vit-b-16" in listed.stdout
    assert "CC BY-NC 4.0 (repository MCG-NKU/AMT); commercial use FORBIDDEN" in listed.stdout
    absent = vidbench("weights", "path", "dino-vit-b-16")
    assert (absent.returncode, absent.stdout) == (2, "")
    assert "vidbench weights fetch dino-vit-b-16" in absent.stderr
    assert vidbench("weights", "fetch", "dino-vit-b-16", "--offline").returncode == 2
    got = vidbench("weights", "fetch", "dino-vit-b-16")
    assert got.returncode == 0, got.stderr
    assert "checksum as recorded when it came here; none is published" in got.stdout
    assert vidbench("weights", "path", "dino-vit-b-16").stdout == f"{folder / 'dino_vitbase16_pretrain.pth'}\n"
    assert vidbench("weights", "verify").returncode == 0
    refused = vidbench("weights", "fetch", "amt-s")
    assert refused.returncode == 2
    assert "forbids commercial use" in refused.stderr
    wrong = vidbench("weights", "fetch", "i3d", timeout=60)
    assert wrong.returncode == 2
    assert "wrong checksum from 127.0.0.1" in wrong.stderr
    assert wrong.stderr.splitlines()[-1].startswith("vidbench: i3d: ")
    assert not (folder / "i3d_pretrained_400.pt").exists()
    (folder / "dino_vitbase16_pretrain.pth").write_bytes(b"damaged")
    checked = vidbench("weights", "verify")
    assert checked.returncode == 3
    assert "dino-vit-b-16: WRONG: " in checked.stdout
    unknown = vidbench("weights", "fetch", "dino")
    assert unknown.returncode == 2
    assert "no weights are called 'dino'" in unknown.stderr
    doctor = vidbench("doctor").stdout
    assert re.search(r"i3d +missing \(about 50\.9 MB\): vidbench weights fetch i3d; used by", doctor)
    assert re.search(r"dino-vit-b-16 +WRONG: .* changed: sha256", doctor)


def test_all_that_is_missing_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who fetches what a metric lacks should not be told of another file afterwards."""
    from vidbench.run.plan import missing

    monkeypatch.setenv("VIDBENCH_WEIGHTS", str(tmp_path))
    said = missing([Requires(weights=("laion-aesthetic", "clip-vit-l-14")), Requires(weights=("clip-vit-l-14",))])
    assert said is not None
    assert [part.rsplit(": ", 1)[1] for part in said.split("; ")] == [
        "vidbench weights fetch laion-aesthetic",
        "vidbench weights fetch clip-vit-l-14",
    ]
    assert missing([Requires(), Requires(weights=("of somebody else",))]) is None
