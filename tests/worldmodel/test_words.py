"""Words to goals: by rule, over HTTP from a server of the test's own, and what is refused."""

import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import cv2
import numpy as np
import pytest

from vidbench.errors import InputError, MissingExtraError
from vidbench.worldmodel.game import PROMPTS, Goal, Rooms
from vidbench.worldmodel.plan.words import HttpPlanner, RulesPlanner, TransformersPlanner, read_goals

FRAME = Rooms(1, seed=0).frames()[0]


@pytest.mark.parametrize(
    ("sentence", "goals"),
    [
        *((prompt, [Goal(n)]) for n, prompt in enumerate(PROMPTS)),
        ("Get the gold!", [Goal.COIN]),
        ("lower-right corner please", [Goal.BOTTOM_RIGHT]),
        ("go up to the left", [Goal.TOP_LEFT]),
        ("first the coin, then the upper left corner", [Goal.COIN, Goal.TOP_LEFT]),
        ("Top right; bottom left and then the coin.", [Goal.TOP_RIGHT, Goal.BOTTOM_LEFT, Goal.COIN]),
    ],
)
def test_rules_understand(sentence, goals):
    assert RulesPlanner().goals(sentence, FRAME) == goals


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("dance", "names no goal"),
        ("", "names no goal"),
        ("go left", "a corner is one of"),
        ("the coin in the top left", "two goals at once"),
        ("not the coin", "'not' is beyond the rules"),
        ("the coin before the top left", "'before' is beyond the rules"),
        ("top bottom left", "a corner is one of"),
    ],
)
def test_rules_refuse_what_they_could_only_guess(sentence, message):
    with pytest.raises(InputError, match=message):
        RulesPlanner().goals(sentence, FRAME)


@pytest.fixture
def server():
    """An endpoint that answers what the test puts into `answer` and keeps what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        answer = b""
        status = 200

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response(Handler.status)
            self.end_headers()
            self.wfile.write(Handler.answer)

        def log_message(self, *arguments):
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/v1", Handler, asked
    running.shutdown()
    thread.join()
    running.server_close()


def chat(text):
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


def test_an_endpoint_is_asked_as_openai_is_and_understood(server):
    url, handler, asked = server
    handler.answer = chat('Sure: ["coin", "top left"]')
    goals = HttpPlanner(url, "small-vlm", key="secret").goals("fetch the money, then hide upstairs to the left", FRAME)
    assert goals == [Goal.COIN, Goal.TOP_LEFT]
    [(path, headers, body)] = asked
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert body["model"] == "small-vlm"
    text, image = body["messages"][1]["content"]
    assert text["text"].startswith("fetch the money")
    png = np.frombuffer(base64.b64decode(image["image_url"]["url"].split(",", 1)[1]), np.uint8)
    shown = cv2.imdecode(png, cv2.IMREAD_COLOR)
    assert shown is not None
    np.testing.assert_array_equal(shown[::8, ::8, ::-1], FRAME)


def test_without_key_and_eyes_neither_is_sent(server):
    url, handler, asked = server
    handler.answer = chat('["top right"]')
    assert HttpPlanner(url, "small-lm", see=False).goals("x", FRAME) == [Goal.TOP_RIGHT]
    assert "Authorization" not in asked[0][1]
    assert len(asked[0][2]["messages"][1]["content"]) == 1


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (chat("I do not know"), 200, "wanted is a JSON list"),
        (chat('["the moon"]'), 200, "named 'the moon'"),
        (chat("[]"), 200, "wanted is a JSON list"),
        (b"<html>", 200, "as OpenAI's chat completions do"),
        (b'{"choices": []}', 200, "as OpenAI's chat completions do"),
        (b"", 500, "does not answer: HTTP Error 500"),
    ],
)
def test_answers_that_are_none_are_one_line(server, answer, status, message):
    url, handler, _ = server
    handler.answer, handler.status = answer, status
    with pytest.raises(InputError, match=message) as caught:
        HttpPlanner(url, "m").goals("the coin", FRAME)
    assert "\n" not in str(caught.value)


def test_an_endpoint_that_is_not_there_and_one_that_is_no_url():
    with pytest.raises(InputError, match="does not answer"):
        HttpPlanner("http://127.0.0.1:9", "m", timeout=2).goals("the coin", FRAME)
    with pytest.raises(InputError, match="begins with http"):
        HttpPlanner("file:///etc", "m")


def test_read_goals_takes_known_goals_only():
    assert read_goals('```json\n["bottom left", "coin"]\n```') == [Goal.BOTTOM_LEFT, Goal.COIN]
    for answer in (None, 3, '["coin", 1]', '{"coin": 1}', "[coin]"):
        with pytest.raises(InputError):
            read_goals(answer)


def test_a_local_planner_without_transformers_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="transformers"):
        TransformersPlanner("some/model")
