"""`vidbench play`: who is answered, and the page in a real browser."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from vidbench.errors import InputError
from vidbench.generator import Budget, Generated, Generator, Imagined
from vidbench.worldmodel.play import Game, PlayServer
from vidbench.worldmodel.rooms.layout import heldout_seed
from vidbench.worldmodel.rooms.world import Rooms

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


class Frozen(Generator):
    """Repeats the last frame, and remembers what it was told."""

    name = "frozen"
    version = "1"
    summary = "the last frame again"
    conditions = frozenset({"actions"})
    context_frames = 3
    heard: ClassVar[list[Any]] = []

    @classmethod
    def train(cls, budget: Budget, seed=0, *, progress=None, state=None):
        return cls()

    def save(self, path):
        raise InputError("nothing to save")

    @classmethod
    def load(cls, path):
        return cls()

    def generate(self, n, seed=0, *, frames=17) -> Generated:
        raise InputError("no clips")

    def imagine(self, history, *, actions=None, prompts=None, steps=None, seed=0):
        length = self.told(history, actions, prompts, steps)
        self.heard.append((history, actions))
        return Imagined(np.repeat(history.frames[:, -1:], length, 1))


@pytest.fixture
def server() -> Iterator[PlayServer]:
    Frozen.heard.clear()
    with PlayServer(Game(Frozen(), 3)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def _ask(server: PlayServer, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    given = {"Content-Type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
    text = body if isinstance(body, str) else json.dumps(body or {})
    connection.request(method, path, text if method == "POST" else None, given)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, answer.headers


def test_both_worlds_get_the_same_action(server):
    status, content, _ = _ask(server, "POST", "/view")
    view = json.loads(content)
    assert (status, view["seed"], view["steps"], view["psnr"]) == (200, 3, 0, 100.0)
    room = server.game.rooms.select(np.array([0]))
    for action in (4, 1, 1, 3):
        view = json.loads(_ask(server, "POST", "/step", {"action": action})[1])
        room.step(np.array([action]))
    true = np.frombuffer(base64.b64decode(view["true"]), np.uint8).reshape(32, 32, 3)
    np.testing.assert_array_equal(true, room.frames()[0])
    history, actions = Frozen.heard[-1]
    assert actions.tolist() == [[3]]
    assert history.frames.shape[1] == 3
    assert history.actions.tolist() == [[1, 1]]
    assert view["steps"] == 4
    assert view["psnr"] < 100
    view = json.loads(_ask(server, "POST", "/resync")[1])
    assert view["made"] == view["true"]
    view = json.loads(_ask(server, "POST", "/new")[1])
    assert (view["seed"], view["steps"]) == (4, 0)
    assert server.game.rooms.layouts.walls.tolist() == Rooms(1, seed=heldout_seed(4)).layouts.walls.tolist()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", "[::1]"])
def test_other_names_are_refused(server, host):
    for method, path in (("GET", "/"), ("POST", "/step")):
        status, content, _ = _ask(server, method, path, {"action": 1}, Host=host)
        assert (status, b"this machine only" in content) == (403, True)
    assert not Frozen.heard


def test_requests_that_another_site_could_send_are_refused(server):
    assert _ask(server, "POST", "/step", {"action": 1}, Content_Type="text/plain")[0] == 415
    assert _ask(server, "GET", "/step")[0] == 404
    for body in ("[1]", "{", '{"action": 9}', '{"action": true}', '{"action": "1"}', "{}", "[" * 900, " " * 2000):
        assert _ask(server, "POST", "/step", body)[0] == 400, body[:20]
    assert _ask(server, "POST", "/elsewhere")[0] == 404
    assert server.game.steps == 0


def test_the_page_allows_nothing_from_elsewhere(server):
    status, content, headers = _ask(server, "GET", "/")
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert b"NONCE" not in content
    assert b"http" not in content.replace(b'http-equiv="', b"")
    assert server.server_address[0] == "127.0.0.1"


def test_a_taken_port_and_a_deaf_generator_are_named(server):
    with pytest.raises(InputError, match=f"port {server.server_port} cannot be used"):
        PlayServer(Game(Frozen()), server.server_port)

    class Prompted(Frozen):
        name = "prompted"
        conditions = frozenset({"prompt"})

    with pytest.raises(InputError, match="prompted is not steered by actions"):
        Game(Prompted())


@pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed")
def test_keys_steer_in_a_real_browser(server, tmp_path):
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed: pip install 'vidbench[test]'"
    )
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        f"--user-data-dir={tmp_path / 'browser'}",
        "--window-size=800,900",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get(server.url)
        wait = WebDriverWait(driver, 30)

        def steps(count: int) -> None:
            wait.until(lambda d: d.find_element(By.TAG_NAME, "body").get_attribute("data-steps") == str(count))

        steps(0)
        page = driver.find_element(By.TAG_NAME, "body")
        for number, key in enumerate((Keys.ARROW_RIGHT, "w", Keys.ARROW_DOWN, Keys.SPACE), 1):
            page.send_keys(key)
            steps(number)
        driver.find_element(By.CSS_SELECTOR, "[data-action='3']").click()
        steps(5)
        assert [told.tolist() for _, told in Frozen.heard] == [[[4]], [[1]], [[2]], [[0]], [[3]]]
        pixels = driver.execute_script(
            "const c = document.getElementById('true');"
            "return Array.from(c.getContext('2d').getImageData(0, 0, 32, 32).data)"
        )
        shown = np.array(pixels, np.uint8).reshape(32, 32, 4)[..., :3]
        np.testing.assert_array_equal(shown, server.game.rooms.frames()[0])
        assert "step 5" in driver.find_element(By.ID, "state").text
        driver.find_element(By.ID, "new").click()
        steps(0)
        driver.find_element(By.ID, "flow").click()
        wait.until(lambda d: int(d.find_element(By.TAG_NAME, "body").get_attribute("data-steps")) >= 3)
        assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    finally:
        driver.quit()
