"""Recorded Atari play: real frames, actions that explain them, places that agree with the pixels."""

import sys
from typing import Any

import numpy as np
import pytest

from vidbench.clips import discover, load_actions
from vidbench.errors import InputError, MissingExtraError
from vidbench.worldmodel import atari

BALL = {"pong": (236, 236, 236), "breakout": (200, 72, 72)}
FIELD = {"pong": slice(34, 194), "breakout": slice(93, 189)}


def _any(value: Any) -> Any:
    """Wrong on purpose, which the type checker need not say."""
    return value


@pytest.fixture(scope="module")
def clips():
    return {game: atari.record(game, 2, 150, 0, play="tracking") for game in atari.GAMES}


@pytest.mark.parametrize("game", ["pong", "breakout"])
def test_the_balls_place_in_memory_is_where_the_pixels_show_it(clips, game):
    seen, said = [], []
    for clip in clips[game]:
        assert clip.frames.shape == (151, 210, 160, 3)
        shown = (clip.frames[:, FIELD[game]] == BALL[game]).all(3)
        for t in range(151):
            y, x = np.nonzero(shown[t])
            if len(x) and np.ptp(x) < 6 and np.ptp(y) < 6:
                seen.append((x.mean(), y.mean()))
                said.append((clip.extra["ball_x"][t], clip.extra["ball_y"][t]))
    shown_at, told = np.array(seen), np.array(said)
    assert len(shown_at) > 100
    for axis in (0, 1):
        slope, offset = np.polyfit(told[:, axis], shown_at[:, axis], 1)
        off = np.abs(slope * told[:, axis] + offset - shown_at[:, axis])
        assert np.quantile(off, 0.9) < 2.5


def test_the_actions_move_the_paddle(clips):
    for game, down, up, place in (("pong", "left", "right", "player_y"), ("breakout", "right", "left", "player_x")):
        moved: dict[str, list[float]] = {down: [], up: []}
        for clip in clips[game]:
            names = clip.extra["action_names"]
            # The paddle is pushed by an action and slides on: two of the same in a row tell.
            for t in range(1, len(clip.actions)):
                if clip.actions[t] == clip.actions[t - 1] and names[clip.actions[t]] in moved:
                    moved[names[clip.actions[t]]].append(clip.extra[place][t + 1] - clip.extra[place][t])
        assert np.mean(moved[down]) > 3
        assert np.mean(moved[up]) < -3


def test_tracking_plays_better_than_chance(clips):
    for game in atari.GAMES:
        sticky = atari.record(game, 2, 150, 0, play="random")
        assert sum(sum(clip.extra["rewards"]) for clip in clips[game]) > sum(sum(c.extra["rewards"]) for c in sticky)


def test_equal_seeds_play_equally_and_others_do_not(clips):
    again = atari.record("pong", 1, 30, 0, play="tracking")[0]
    np.testing.assert_array_equal(again.frames, clips["pong"][0].frames[:31])
    np.testing.assert_array_equal(again.actions, clips["pong"][0].actions[:30])
    assert (clips["pong"][1].actions[:30] != again.actions).any()


def test_a_moment_has_several_futures():
    env = atari.make("pong")
    env.reset(seed=0)
    for _ in range(40):
        env.step(0)
    moment = env.unwrapped.clone_state()
    futures: dict[int, list[Any]] = {}
    for action in (2, 3, 2):
        env.unwrapped.restore_state(moment)
        for _ in range(3):
            frame, *_ = env.step(action)
        futures.setdefault(action, []).append(frame)
    np.testing.assert_array_equal(*futures[2])
    assert (futures[2][0] != futures[3][0]).any()
    env.close()


def test_a_folder_of_play_is_a_clip_folder(tmp_path):
    for game in atari.GAMES:
        atari.record_folder(game, tmp_path, 1, 20, 1, size=64)
    found = discover(tmp_path)
    assert {clip.model for clip in found.clips} == {"pong", "breakout"}
    for clip in found.clips:
        assert clip.fps == 15
        assert load_actions(clip).shape == (20, 1)
        assert "ball" in clip.prompt
        assert len(clip.extra["ball_x"]) == 21


def test_a_game_that_ends_begins_again_and_says_where():
    clip = atari.record("breakout", 1, 260, 0, play="random")[0]
    assert clip.extra["restarts"]
    assert len(clip.frames) == 261


def test_wrong_use_is_said_in_one_line(monkeypatch):
    for wrong, message in (
        (lambda: atari.record("tetris", 1, 1, 0), "pong, breakout"),
        (lambda: atari.record("pong", 0, 1, 0), "at least one episode"),
        (lambda: atari.record("pong", 1, 1, 0, play=_any("well")), "random, sticky or tracking"),
    ):
        with pytest.raises(InputError, match=message):
            wrong()
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(MissingExtraError, match=r"vidbench\[games\]"):
        atari.record("pong", 1, 1, 0)
