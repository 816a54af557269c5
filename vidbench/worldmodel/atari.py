"""Clips of real Atari play, with actions and the ball's and paddles' true places.

The Arcade Learning Environment (ale-py) brings the emulator and the games; nothing is downloaded. Every fourth of the
console's 60 frames a second is taken, as is usual since Mnih et al. 2015, so clips run at 15 frames a second. Each
action is held for those four frames and none is repeated by chance, so that action t alone leads from frame t to frame
t + 1.

The places in the console's memory are those of AtariARI (Anand et al., arXiv 1906.08226,
atariari/benchmark/ram_annotations.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError, MissingExtraError
from vidbench.worldmodel.recording import RecordedClip, write_clips

FRAME_SKIP = 4
FPS = 60 / FRAME_SKIP
Play = Literal["random", "sticky", "tracking"]


@dataclass(frozen=True, slots=True)
class Game:
    """What must be known of a game to play it."""

    id: str
    """Its name in Gymnasium."""
    memory: dict[str, int]
    """Addresses of what moves."""
    prompt: str
    toward: Callable[[NDArray[np.uint8]], str]
    """Memory to the name of the action that takes the player's paddle to the ball."""
    serve: Callable[[NDArray[np.uint8]], bool] = field(default=lambda memory: False)
    """Whether the ball must be served with FIRE."""


def _pong(memory: NDArray[np.uint8]) -> str:
    gap = int(memory[54]) - int(memory[51])  # ball and player, both downwards
    return "LEFT" if gap > 2 else "RIGHT" if gap < -2 else "NOOP"


def _breakout(memory: NDArray[np.uint8]) -> str:
    gap = int(memory[99]) - int(memory[72])
    return "RIGHT" if gap > 4 else "LEFT" if gap < -4 else "NOOP"


GAMES = {
    "pong": Game(
        "ALE/Pong-v5",
        {"player_y": 51, "enemy_y": 50, "ball_x": 49, "ball_y": 54},
        "a game of Pong: two paddles and a ball",
        _pong,
    ),
    "breakout": Game(
        "ALE/Breakout-v5",
        {"player_x": 72, "ball_x": 99, "ball_y": 101},
        "a game of Breakout: a paddle, a ball and a wall of bricks",
        _breakout,
        lambda memory: memory[101] == 0,
    ),
}


def record(
    game: str,
    episodes: int,
    steps: int,
    seed: int,
    *,
    play: Play = "sticky",
    size: int | None = None,
    skip: int = 20,
) -> list[RecordedClip]:
    """Play and record clips.

    Args:
        game: `pong` or `breakout`.
        episodes: number of clips; each starts a new game.
        steps: actions a clip, one less than frames. A game that ends is begun again at once, and the clip's column
            `restarts` says before which frames.
        seed: equal seeds give equal clips.
        play: `random` draws each action anew; `sticky` keeps the last one with probability 0.75; `tracking` follows
            the ball, with one random action in eight: longer rallies.
        size: width and height of the frames, by averaging areas; None keeps the console's 160x210.
        skip: actions before the first frame, so that clips do not all begin with a still ball.

    Returns:
        Clips with actions as numbers of the column `action_names`, and columns for what moves, from the console's
        memory: (T,) numbers 0 to 255 each, in the console's own units.

    Raises:
        InputError: an unknown game or way to play, or numbers that are too small.
        MissingExtraError: ale-py or gymnasium is not installed.
    """
    if game not in GAMES:
        raise InputError(f"games are {', '.join(GAMES)}; got {game!r}")
    if play not in {"random", "sticky", "tracking"}:
        raise InputError(f"play is random, sticky or tracking; got {play!r}")
    if min(episodes, steps) < 1 or skip < 0 or (size is not None and size < 16):
        raise InputError("at least one episode of one step, and frames of 16 pixels or more, are needed")
    environment = make(game)
    try:
        return [_episode(environment, GAMES[game], [seed, n], steps, play, size, skip) for n in range(episodes)]
    finally:
        environment.close()


def make(game: str) -> Any:
    """The game's Gymnasium environment: full colour frames, 4 console frames an action, nothing left to chance.

    Its `unwrapped.clone_state()` and `unwrapped.restore_state(state)` allow several futures of one moment.

    Raises:
        MissingExtraError: ale-py or gymnasium is not installed.
    """
    try:
        import ale_py
        import gymnasium
    except ModuleNotFoundError as error:
        raise MissingExtraError("playing Atari games", "games") from error
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # else it greets on standard error
    gymnasium.register_envs(ale_py)
    return gymnasium.make(GAMES[game].id, frameskip=FRAME_SKIP, repeat_action_probability=0.0, obs_type="rgb")


def record_folder(
    game: str, folder: Path, episodes: int, steps: int, seed: int, *, model: str | None = None, **how: Any
) -> list[Path]:
    """`record`, written as a clip folder; the model's name is the game's unless given.

    Raises:
        InputError, MissingExtraError: as `record`.
        OSError: the folder cannot be written.
    """
    return write_clips(record(game, episodes, steps, seed, **how), folder, model=model or game, fps=FPS)


def _episode(
    environment: Any, game: Game, seed: list[int], steps: int, play: Play, size: int | None, skip: int
) -> RecordedClip:
    rng = np.random.default_rng(seed)
    names: list[str] = environment.unwrapped.get_action_meanings()
    reset_to = int(rng.integers(2**31))
    frame, _ = environment.reset(seed=reset_to)
    frames, actions, memories, rewards, restarts = [], [], [], [], []
    action = 0
    for step in range(skip + steps + 1):
        memory = environment.unwrapped.ale.getRAM()
        if step >= skip:
            frames.append(_resized(frame, size))
            memories.append(memory[list(game.memory.values())])
        action = _choose(game, memory, names, action, play, rng)
        if step == skip + steps:
            break
        frame, reward, terminated, truncated, _ = environment.step(action)
        if terminated or truncated:
            frame, _ = environment.reset()
            if step >= skip:
                restarts.append(step - skip + 1)
        if step >= skip:
            actions.append(action)
            rewards.append(float(reward))
    places = np.array(memories)
    extra = {name: places[:, column].tolist() for column, name in enumerate(game.memory)}
    return RecordedClip(
        np.stack(frames),
        np.array(actions),
        game.prompt,
        seed=reset_to,
        extra=extra | {"action_names": [n.lower() for n in names], "rewards": rewards, "restarts": restarts},
    )


def _choose(
    game: Game, memory: NDArray[np.uint8], names: list[str], last: int, play: Play, rng: np.random.Generator
) -> int:
    drawn, lot = int(rng.integers(len(names))), rng.random()
    if game.serve(memory):
        return names.index("FIRE")
    if play == "random":
        return drawn
    if play == "sticky":
        return last if lot < 0.75 else drawn
    return names.index(game.toward(memory)) if lot < 0.875 else drawn


def _resized(frame: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    if size is None:
        return frame.copy()
    import cv2

    return np.asarray(cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
