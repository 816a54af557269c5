"""Pictures of the world model: five actions from one state, and roll-outs with their failures.

    python benchmarks/worldmodel_pictures.py docs/ [checkpoint]

Nothing is picked: the first held-out rooms of seed 0 are shown; for the five actions, the first room in which no wall
stops any of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.generator import Generator
from vidbench.plugins import generators
from vidbench.worldmodel.generators import one_thread
from vidbench.worldmodel.measures import repeated, scenes
from vidbench.worldmodel.rooms.episodes import record, sticky_policy
from vidbench.worldmodel.rooms.parse import find_agent
from vidbench.worldmodel.rooms.settings import Action

SCALE = 4
GAP = 12
PAPER = 255
INK = (40, 40, 40)
RED = (40, 40, 200)
Picture = NDArray[np.uint8]


def enlarged(frame: Picture, scale: int = SCALE) -> Picture:
    """Each pixel as a square."""
    return frame.repeat(scale, 0).repeat(scale, 1)


def write(sheet: Picture, text: str, x: int, y: int, size: float = 0.42, colour: tuple[int, int, int] = INK) -> None:
    """Text with its baseline at (x, y)."""
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def actions_picture(model: Generator) -> Picture:
    """The state, then a column an action: imagined above, true below."""
    world, history = scenes(64, 0)
    moved = world.repeat(len(Action)).step(np.tile(np.arange(len(Action)), 64)).moved.reshape(64, -1)
    room = int(moved.sum(1).argmax())
    world, history = world.select(np.array([room])), repeated(history, np.array([room]))
    every = world.repeat(len(Action))
    told = np.arange(len(Action))
    made = model.imagine(repeated(history, np.zeros(len(Action), np.int64)), actions=told[:, None]).frames[:, 0]
    every.step(told)
    true = every.frames()
    side = 32 * SCALE
    left, top = 90, 30
    sheet = np.full((top + 2 * (side + GAP) + 26, left + 6 * (side + GAP) + GAP, 3), PAPER, np.uint8)
    write(sheet, "now", left, top - 9)
    sheet[top : top + side, left : left + side] = enlarged(history.frames[0, -1])
    for row, (name, frames) in enumerate((("imagined", made), ("true", true))):
        y = top + row * (side + GAP)
        write(sheet, name, 12, y + side // 2)
        for n, frame in enumerate(frames):
            x = left + (n + 1) * (side + GAP) + GAP
            sheet[y : y + side, x : x + side] = enlarged(frame)
            if row == 0:
                write(sheet, Action(n).name.lower(), x, top - 9)
    for n in range(len(Action)):
        error = np.square(made[n].astype(float) - true[n]).mean()
        says = "every pixel right" if not error else f"PSNR {10 * np.log10(255**2 / error):.1f} dB"
        write(sheet, says, left + (n + 1) * (side + GAP) + GAP, sheet.shape[0] - 14, 0.38)
    return sheet


def roll_out_picture(model: Generator, rooms: int = 4, steps: int = 16) -> Picture:
    """Rooms below each other: true, imagined and difference, frame 1 to 16; a red bar where the agent is wrong."""
    world, history = scenes(rooms, 0)
    episodes = record(world.select(np.arange(rooms)), sticky_policy(800), steps)
    made = model.imagine(history, actions=episodes.actions).frames
    cells = find_agent(made.reshape(-1, 32, 32, 3))[0].reshape(rooms, steps, 2)
    right = (cells == episodes.agent[:, 1:]).all(2)
    scale, gap = 2, 4
    side, left, top = 32 * scale, 90, 24
    block = 3 * (side + gap) + 18
    sheet = np.full((top + rooms * block, left + steps * (side + gap) + 8, 3), PAPER, np.uint8)
    for t in range(steps):
        write(sheet, str(t + 1), left + t * (side + gap) + 2, top - 7, 0.36)
    for room in range(rooms):
        true = episodes.frames[room, 1:]
        gap_frames = np.abs(true.astype(int) - made[room]).astype(np.uint8)
        for row, (name, frames) in enumerate((("true", true), ("imagined", made[room]), ("difference", gap_frames))):
            y = top + room * block + row * (side + gap)
            write(sheet, name, 8, y + side // 2 + 4, 0.4)
            for t, frame in enumerate(frames):
                x = left + t * (side + gap)
                sheet[y : y + side, x : x + side] = enlarged(frame, scale)
                if row == 1 and not right[room, t]:
                    sheet[y + side : y + side + 3, x : x + side] = RED[::-1]
    return sheet


def draw(model: Generator, folder: Path) -> None:
    """Write both pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, sheet in (
        ("worldmodel-actions.png", actions_picture(model)),
        ("worldmodel-rollout.png", roll_out_picture(model)),
    ):
        cv2.imwrite(str(folder / name), sheet[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        print(folder / name)


if __name__ == "__main__":
    one_thread()
    kind = generators().load("dit-action")
    draw(kind.open(Path(sys.argv[2]) if len(sys.argv) > 2 else None), Path(sys.argv[1]))
