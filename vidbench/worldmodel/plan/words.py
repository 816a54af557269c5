"""From words to goals: rules that are always there, any OpenAI-compatible endpoint, or a local vision-language model.

Whatever answers, its answer is read by the same strict reader: a list of known goals, or one line of error.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError, MissingExtraError
from vidbench.worldmodel.rooms.settings import GOAL_WORDS, Goal

_COIN = {"coin", "gold", "money", "treasure"}
_VERTICAL = {"top": "top", "upper": "top", "up": "top", "bottom": "bottom", "lower": "bottom", "down": "bottom"}
_HORIZONTAL = {"left": "left", "right": "right"}
_ORDER = re.compile(r"[,;.]|\band then\b|\bthen\b|\bafter that\b|\bafterwards\b|\bfinally\b|\bfirst\b")
_REFUSED = {"not", "never", "avoid", "except", "before", "after", "without", "don't"}
_ASK = (
    "You send an agent through a room that is seen from above. Answer with nothing but a JSON list of goals in the "
    f"order in which the agent shall go to them. The goals are: {json.dumps(list(GOAL_WORDS))}."
)
_MAX_ANSWER = 1 << 20


class WordsPlanner(Protocol):
    """Understands what the agent shall do."""

    def goals(self, sentence: str, frame: NDArray[np.uint8]) -> list[Goal]:
        """Goals in their order, at least one.

        Args:
            sentence: what the user said.
            frame: (size, size, 3) the room as it is.

        Raises:
            InputError: the sentence names no goal, or the planner does not answer as it must.
        """


class RulesPlanner:
    """Words by rule: 'the coin', 'the upper left corner', one after the other with 'then' or a comma."""

    def goals(self, sentence: str, frame: NDArray[np.uint8]) -> list[Goal]:
        """See `WordsPlanner.goals`; the frame is not looked at."""
        found = []
        for part in _ORDER.split(sentence.lower().replace("-", " ")):
            words = re.findall(r"[a-z']+", part)
            refused = _REFUSED.intersection(words)
            if refused:
                raise InputError(
                    f"{sentence!r}: '{refused.pop()}' is beyond the rules; say goals in order, with 'then'"
                )
            named = [Goal.COIN] * bool(_COIN.intersection(words))
            rows = {_VERTICAL[word] for word in words if word in _VERTICAL}
            columns = {_HORIZONTAL[word] for word in words if word in _HORIZONTAL}
            if len(rows) == len(columns) == 1:
                named.append(_goal(f"{rows.pop()} {columns.pop()}"))
            elif rows or columns:
                raise InputError(f"{sentence!r}: a corner is one of {', '.join(GOAL_WORDS[1:])}")
            if len(named) > 1:
                raise InputError(f"{sentence!r} names two goals at once; say which comes first, with 'then'")
            found += named
        if not found:
            raise InputError(f"{sentence!r} names no goal; goals are {', '.join(GOAL_WORDS)}")
        return found


class HttpPlanner:
    """A model behind an OpenAI-compatible endpoint (`/chat/completions`), which also sees the frame.

    Args:
        url: the endpoint's base, such as http://localhost:8000/v1.
        model: the model's name there.
        key: sent as bearer token, where there is one.
        timeout: seconds.
        see: whether the frame is sent along (as PNG, 8 times as large); for models that take images.

    Raises:
        InputError: a URL that is not http or https.
    """

    def __init__(
        self, url: str, model: str, *, key: str | None = None, timeout: float = 30.0, see: bool = True
    ) -> None:
        if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
            raise InputError(f"a planner's endpoint begins with http:// or https://, got {url!r}")
        self._url, self._model, self._key, self._timeout, self._see = url.rstrip("/"), model, key, timeout, see

    def goals(self, sentence: str, frame: NDArray[np.uint8]) -> list[Goal]:
        """See `WordsPlanner.goals`."""
        content: list[dict[str, Any]] = [{"type": "text", "text": sentence}]
        if self._see:
            content.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_png(frame)}"}})
        body = {
            "model": self._model,
            "temperature": 0,
            "messages": [{"role": "system", "content": _ASK}, {"role": "user", "content": content}],
        }
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        request = urllib.request.Request(  # noqa: S310 - http and https only, see above
            f"{self._url}/chat/completions", json.dumps(body).encode(), headers
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:  # noqa: S310
                answer = json.loads(response.read(_MAX_ANSWER))
            text = answer["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            raise InputError(f"the planner at {self._url} does not answer: {error}") from None
        except OSError as error:
            raise InputError(f"the planner at {self._url} does not answer: {error}") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise InputError(f"the planner at {self._url} does not answer as OpenAI's chat completions do") from error
        return read_goals(text)


class TransformersPlanner:
    """A vision-language model of the `transformers` library, from a local folder or a name that it knows.

    Raises:
        MissingExtraError: transformers or torch is not installed.
        InputError: the model cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        try:
            from transformers import pipeline
        except ImportError as error:
            raise MissingExtraError("a local planner (`transformers`)", "parity") from error
        try:
            self._pipe = pipeline("image-text-to-text", model=model)
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise InputError(f"the planner {model!r} cannot be loaded: {' '.join(str(error).split())[:300]}") from error

    def goals(self, sentence: str, frame: NDArray[np.uint8]) -> list[Goal]:
        """See `WordsPlanner.goals`."""
        image = {"type": "image", "url": f"data:image/png;base64,{_png(frame)}"}
        said = [
            {"role": "system", "content": [{"type": "text", "text": _ASK}]},
            {"role": "user", "content": [image, {"type": "text", "text": sentence}]},
        ]
        answer = self._pipe(text=said, max_new_tokens=64, return_full_text=False)
        return read_goals(answer[0]["generated_text"])


def read_goals(answer: object) -> list[Goal]:
    """The goals in a model's answer: the JSON list in it, of known goals only.

    Raises:
        InputError: no list, an empty one, or anything in it that is no goal.
    """
    text = answer if isinstance(answer, str) else ""
    found = re.search(r"\[[^\[\]]*\]", text)
    try:
        words = json.loads(found.group()) if found else None
    except ValueError:
        words = None
    if not isinstance(words, list) or not words:
        raise InputError(f"the planner answered {text[:80]!r}; wanted is a JSON list of goals")
    unknown = [word for word in words if word not in GOAL_WORDS]
    if unknown:
        raise InputError(f"the planner named {unknown[0]!r}; goals are {', '.join(GOAL_WORDS)}")
    return [_goal(word) for word in words]


def _goal(word: str) -> Goal:
    return Goal(GOAL_WORDS.index(word))


def _png(frame: NDArray[np.uint8]) -> str:
    import cv2

    large = frame.repeat(8, 0).repeat(8, 1)[..., ::-1]
    done, data = cv2.imencode(".png", np.ascontiguousarray(large))
    if not done:
        raise InputError(f"a frame of shape {frame.shape} could not be written as PNG")
    return base64.b64encode(data.tobytes()).decode()
