"""Steering a world model by hand: a local page with the model's frames and the true ones side by side.

Both get the same actions and begin with the same real frames. From then on the model sees only what it made itself,
unless it is put back onto the true frames. The server speaks to this machine alone, answers only requests that name it
by a local name (a page of somebody else's cannot reach it by another), and the page loads nothing from elsewhere.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.generator import Generator, History
from vidbench.worldmodel.measures import pooled_psnr
from vidbench.worldmodel.rooms.episodes import record, sticky_policy
from vidbench.worldmodel.rooms.layout import heldout_seed
from vidbench.worldmodel.rooms.parse import find_agent
from vidbench.worldmodel.rooms.settings import Action
from vidbench.worldmodel.rooms.world import Rooms

_LONGEST = 1000
"""Bytes of a request."""


class Game:
    """One room, played in truth and in imagination.

    Args:
        generator: told actions.
        seed: of the first room; each new room has the next.

    Raises:
        InputError: the generator is not told actions, or a negative seed.
    """

    def __init__(self, generator: Generator, seed: int = 0) -> None:
        if generator.conditions != {"actions"}:
            raise InputError(f"{generator.name} is not steered by actions; play dit-action")
        self.generator = generator
        self.seed = seed - 1
        self.new()

    def new(self) -> dict[str, Any]:
        """The next held-out room."""
        self.seed += 1
        self.rooms = Rooms(1, seed=heldout_seed(self.seed))
        episodes = record(self.rooms, sticky_policy(self.seed), max(1, self.generator.context_frames - 1))
        self._true, self._actions = episodes.frames, episodes.actions
        self._made = self._true.copy()
        self.steps = 0
        self.right = 0
        return self.view()

    def resync(self) -> dict[str, Any]:
        """Show the model the true frames again."""
        self._made = self._true.copy()
        return self.view()

    def step(self, action: int) -> dict[str, Any]:
        """Do one action in both.

        Raises:
            InputError: no such action.
        """
        if type(action) is not int or not 0 <= action < len(Action):
            raise InputError(f"actions are 0 to {len(Action) - 1}")
        told = np.array([[action]])
        made = self.generator.imagine(History(self._made, self._actions), actions=told).frames
        self.rooms.step(told[0])
        keep = slice(-max(1, self.generator.context_frames - 1), None)
        self._made = np.concatenate([self._made[:, keep], made], 1)
        self._true = np.concatenate([self._true[:, keep], self.rooms.frames()[:, None]], 1)
        self._actions = np.concatenate([self._actions, told], 1)[:, 1 - self._made.shape[1] :]
        self.steps += 1
        view = self.view()
        self.right += view["agent_right"]
        view["right"] = self.right
        return view

    def view(self) -> dict[str, Any]:
        """What the page shows."""
        true, made = self._true[0, -1], self._made[0, -1]
        cell, _ = find_agent(made[None])
        return {
            "seed": self.seed,
            "steps": self.steps,
            "right": self.right,
            "size": int(true.shape[0]),
            "true": _encoded(true),
            "made": _encoded(made),
            "agent_right": bool((cell[0] == self.rooms.truth().agent[0]).all()),
            "psnr": round(pooled_psnr(made, true), 2),
        }


def _encoded(frame: NDArray[np.uint8]) -> str:
    return base64.b64encode(frame.tobytes()).decode()


class PlayServer(ThreadingHTTPServer):
    """The page and its three requests. Port 0 takes any free one; `url` says which."""

    daemon_threads = True

    def __init__(self, game: Game, port: int = 0) -> None:
        self.game = game
        self.lock = threading.Lock()
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port} cannot be used ({error}); give another --port") from None
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: PlayServer
    server_version = "vidbench"
    sys_version = ""
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal belongs to the player."""

    def do_GET(self) -> None:
        """The page."""
        if not self._local():
            return
        if self.path != "/":
            self._answer(404, "text/plain", b"not found\n")
            return
        nonce = secrets.token_urlsafe(12)
        page = files("vidbench.worldmodel").joinpath("play.html").read_text(encoding="utf-8").replace("NONCE", nonce)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self._answer(200, "text/html; charset=utf-8", page.encode(), policy)

    def do_POST(self) -> None:
        """`/step` with {"action": 0 to 4}, `/new`, `/resync`, `/view`."""
        if not self._local():
            return
        # A page of another site can send a form or text without asking, but no JSON.
        if self.headers.get_content_type() != "application/json":
            self._answer(415, "text/plain", b"JSON is wanted\n")
            return
        try:
            length = int(self.headers.get("Content-Length", "0"))
            body = json.loads(self.rfile.read(length) or b"{}") if 0 <= length <= _LONGEST else None
            with self.server.lock:
                view = self._done(body)
        except (ValueError, RecursionError, InputError):
            self._answer(400, "text/plain", b"not understood\n")
            return
        if view is None:
            self._answer(404, "text/plain", b"not found\n")
            return
        self._answer(200, "application/json", json.dumps(view).encode())

    def _done(self, body: Any) -> dict[str, Any] | None:
        game = self.server.game
        if not isinstance(body, dict):
            raise InputError("a JSON object is wanted")
        if self.path == "/step":
            return game.step(body.get("action", -1))
        return {"/new": game.new, "/resync": game.resync, "/view": game.view}.get(self.path, lambda: None)()

    def _local(self) -> bool:
        if self.headers.get("Host") in self.server.hosts:
            return True
        self._answer(403, "text/plain", b"this server answers this machine only\n")
        return False

    def _answer(self, status: int, kind: str, body: bytes, policy: str = "default-src 'none'") -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True
