"""A picture of an episode: what the agent saw, what it imagined, what it did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError
from vidbench.files import write_atomic
from vidbench.worldmodel.rooms.settings import Action

_SCALE = 3
_MARGIN = 4
_LABEL = 14
_MOST = 16


def film(frames: NDArray[np.uint8], actions: NDArray[np.int64], dreams: NDArray[np.uint8] | None, path: Path) -> None:
    """Write a PNG: true frames above, below them the frame imagined for the next step, and the action that was taken.

    Args:
        frames: (T, H, W, 3) true frames of one episode.
        actions: (T - 1,)
        dreams: (T - 1, H, W, 3) what was imagined before each action, or None.
        path: file to write; of longer episodes, every second (third, …) step is shown, the first always.

    Raises:
        InputError: no step to show.
        OSError: the file cannot be written.
    """
    import cv2

    steps = len(actions)
    if not steps:
        raise InputError("an episode of no step has no film")
    shown = np.arange(0, steps, -(-steps // _MOST))
    columns = []
    for t in shown:
        parts = [frames[t]] if dreams is None else [frames[t], dreams[t]]
        large = [
            np.pad(part.repeat(_SCALE, 0).repeat(_SCALE, 1), ((_MARGIN, 0), (_MARGIN, 0), (0, 0)), constant_values=255)
            for part in parts
        ]
        label = np.full((_LABEL, large[0].shape[1], 3), 255, np.uint8)
        words = f"{t} {Action(int(actions[t])).name.lower()}"
        cv2.putText(label, words, (_MARGIN, _LABEL - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(np.concatenate([*large, label]))
    done, data = cv2.imencode(path.suffix or ".png", np.ascontiguousarray(np.concatenate(columns, 1)[..., ::-1]))
    if not done:
        raise InputError(f"{path}: the picture could not be encoded")
    write_atomic(path, data.tobytes())
