"""`vidbench serve`: runs in a browser, with the server doing what a page of ten thousand clips could not.

Listens on this machine only. Nothing but the runs' own pictures and clips is read, each by a name that cannot lead
elsewhere, and nothing is ever written. A page of another site must not read along through a name that it points at this
machine (DNS rebinding): requests that do not name this machine as their host are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from typing import Any, BinaryIO, ClassVar
from urllib.parse import parse_qs, urlsplit

from markupsafe import Markup

from vidbench import wording
from vidbench.results import Run
from vidbench_reports.clip_data import SHAPES
from vidbench_reports.clip_files import PLAYED, is_evidence, is_stem
from vidbench_reports.clip_index import ClipIndex, Query
from vidbench_reports.page import asset, csp_hash, environment, safe_json, when

HOST = "127.0.0.1"
LARGEST_PAGE = 500
"""Clips of one answer."""
_JPEG = "image/jpeg"
_PIECE = 2**16
_ROUTE = re.compile(r"/run/(\d{1,6})/(.*)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class Page:
    """One page with its security policy."""

    text: bytes
    policy: str


class _NoAnswerError(Exception):
    """Why a request gets no answer."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Server(ThreadingHTTPServer):
    """Serves runs until it is shut down.

    Args:
        runs: what is served; they are read once and not looked at again.
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, runs: Sequence[Run], port: int = 0) -> None:
        super().__init__((HOST, port), _Handler)
        self.indices = [ClipIndex(run) for run in runs]
        self.pages = [_run_page(number, index, len(runs)) for number, index in enumerate(self.indices)]
        self.front = _front_page(self.indices)
        port = self.server_address[1]
        self.hosts = {f"{name}:{port}" for name in (HOST, "localhost")} | ({HOST, "localhost"} if port == 80 else set())

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error of ours, and anything else has been answered with 500."""


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "vidbench"
    sys_version = ""
    timeout = 60
    """Seconds without a request after which a connection is closed."""
    _POLICY: ClassVar[str] = "default-src 'none'"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is the user's."""

    def _answer(self) -> None:
        try:
            self._route()
        except _NoAnswerError as error:
            self._send(str(error).encode(), "text/plain; charset=utf-8", status=error.status)

    def _route(self) -> None:
        if self.headers.get("Host", "").lower() not in self.server.hosts:
            raise _NoAnswerError(HTTPStatus.FORBIDDEN, "this server answers only to its own address")
        url = urlsplit(self.path)
        if url.path == "/":
            page = self.server.pages[0] if len(self.server.pages) == 1 else self.server.front
            self._page(page)
            return
        match = _ROUTE.fullmatch(url.path)
        if match is None or int(match[1]) >= len(self.server.indices):
            raise _NoAnswerError(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        number, rest = int(match[1]), match[2]
        index = self.server.indices[number]
        if rest == "":
            self._page(self.server.pages[number])
        elif rest == "clips":
            query, asked = _query(url.query, index)
            size = _number(asked, "size", 100, 1, LARGEST_PAGE)
            self._json(index.page(query, _number(asked, "page", 0, 0, 10**6), size))
        elif rest == "place":
            query, asked = _query(url.query, index)
            self._json(index.place(_number(asked, "clip", None, 0, len(index.rows) - 1), query))
        else:
            self._file(index, rest)

    def _file(self, index: ClipIndex, rest: str) -> None:
        kind, _, name = rest.partition("/")
        stem, dot, suffix = name.partition(".")
        folder = index.run.path
        if kind == "media" and is_stem(stem) and dot + suffix in (".jpg", ".mp4"):
            self._send_file(folder / "media" / name, _JPEG if suffix == "jpg" else "video/mp4")
        elif is_evidence(rest):
            self._send_file(folder / rest, _JPEG)
        elif kind in ("clip", "detail") and name.isascii() and name.isdigit() and int(name) < len(index.rows):
            if kind == "detail":
                self._json(index.whole(int(name)))
                return
            path = index.clip_path(int(name))
            if path is None:
                raise _NoAnswerError(HTTPStatus.NOT_FOUND, "the clip's file is not in its folder")
            self._send_file(path, PLAYED[path.suffix.lower()])
        else:
            raise _NoAnswerError(HTTPStatus.NOT_FOUND, "there is nothing at this address")

    def _page(self, page: Page) -> None:
        self._send(page.text, "text/html; charset=utf-8", policy=page.policy)

    def _json(self, value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self._send(text.encode("utf-8", "replace"), "application/json; charset=utf-8")

    def _send(self, body: bytes, kind: str, *, status: HTTPStatus = HTTPStatus.OK, policy: str | None = None) -> None:
        self._head(status, kind, len(body), policy=policy)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, length: int, *, policy: str | None = None, **further: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Content-Security-Policy", policy or self._POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cache-Control", "no-store" if kind.startswith(("text/", "application/")) else "private")
        for name, value in further.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _send_file(self, path: Path, kind: str) -> None:
        """A file, or the part of it that the player asks for."""
        try:
            file = path.open("rb")
        except OSError:
            raise _NoAnswerError(HTTPStatus.NOT_FOUND, "the file is not in the run folder") from None
        with file:
            size = path.stat().st_size
            asked = _RANGE.fullmatch(self.headers.get("Range", ""))
            start, end = 0, size
            if asked is not None and (asked[1] or asked[2]):
                start = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
                end = min(size, int(asked[2]) + 1) if asked[1] and asked[2] else size
                if start >= end:
                    self._head(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, kind, 0, Content_Range=f"bytes */{size}")
                    return
                self._head(
                    HTTPStatus.PARTIAL_CONTENT,
                    kind,
                    end - start,
                    Content_Range=f"bytes {start}-{end - 1}/{size}",
                    Accept_Ranges="bytes",
                )
            else:
                self._head(HTTPStatus.OK, kind, size, Accept_Ranges="bytes")
            if self.command != "HEAD":
                file.seek(start)
                _copy(file, self.wfile, end - start)


def _copy(source: BinaryIO, target: BufferedIOBase, length: int) -> None:
    while length > 0 and (piece := source.read(min(_PIECE, length))):
        target.write(piece)
        length -= len(piece)


def _query(text: str, index: ClipIndex) -> tuple[Query, dict[str, str]]:
    """What an address asks for."""
    try:
        asked = {key: values[-1] for key, values in parse_qs(text, max_num_fields=20).items()}
    except ValueError as error:
        raise _NoAnswerError(HTTPStatus.BAD_REQUEST, str(error)) from None
    status, kind = asked.get("status"), asked.get("kind")
    direction = asked.get("direction", "descending")
    if status not in (None, "scored", "failed", "skipped"):
        raise _NoAnswerError(HTTPStatus.BAD_REQUEST, "status is scored, failed or skipped")
    if direction not in {"ascending", "descending"}:
        raise _NoAnswerError(HTTPStatus.BAD_REQUEST, "direction is ascending or descending")
    return (
        Query(
            words=tuple(asked.get("text", "").lower().split()),
            model=_number(asked, "model", None, 0, len(index.data.models) - 1) if "model" in asked else None,
            status=status,
            kind=kind,
            found="found" in asked,
            column=_number(asked, "column", 2, 0, index.columns - 1),
            direction="ascending" if direction == "ascending" else "descending",
        ),
        asked,
    )


def _number(asked: dict[str, str], name: str, default: int | None, low: int, high: int) -> int:
    text = asked.get(name)
    if text is None and default is not None:
        return default
    if text is not None and text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high:
        return int(text)
    raise _NoAnswerError(HTTPStatus.BAD_REQUEST, f"{name} is a whole number from {low} to {high}")


def _run_page(number: int, index: ClipIndex, of: int) -> Page:
    script = asset("clip.js") + asset("list.js") + asset("serve.js")
    style = asset("report.css")
    run = index.run
    text = (
        environment()
        .get_template("serve.html.j2")
        .render(
            name=wording.plain(run.path.resolve().name),
            info=run.info,
            when=when(run.info.created),
            verdict=wording.verdict(run),
            several=of > 1,
            shapes=SHAPES,
            data=safe_json(index.head() | {"base": f"/run/{number}/"}),
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
        )
    )
    policy = (
        f"default-src 'none'; script-src '{csp_hash(script)}'; style-src '{csp_hash(style)}'; connect-src 'self'; "
        "img-src 'self' data:; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(text.encode("utf-8", "replace"), policy)


def _front_page(indices: Sequence[ClipIndex]) -> Page:
    style = asset("report.css")
    text = (
        environment()
        .get_template("serve_runs.html.j2")
        .render(
            runs=[
                (number, wording.plain(index.run.path.resolve().name), index.run, wording.verdict(index.run)[0])
                for number, index in enumerate(indices)
            ],
            style=Markup(style),  # noqa: S704 - our own file
        )
    )
    policy = f"default-src 'none'; style-src '{csp_hash(style)}'; img-src data:; frame-ancestors 'none'"
    return Page(text.encode("utf-8", "replace"), policy)
