"""RoomWorld behind Gymnasium's interface, by Gymnasium's own checker."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vidbench.errors import InputError
from vidbench.worldmodel.game import PROMPTS, Rooms, find_agent, heldout_seed, is_held_out, training_seed
from vidbench.worldmodel.gym import ID, RoomEnv
from vidbench.worldmodel.rooms.ways import shortest_way_actions


def _any(value: Any) -> Any:
    """Wrong on purpose, which the type checker need not say."""
    return value


@pytest.mark.parametrize("split", ["training", "heldout"])
@pytest.mark.filterwarnings("ignore:.*render mode.*:UserWarning")
def test_gymnasiums_checker_finds_no_fault(split):
    check_env(RoomEnv(split=split, goal=None, render_mode="rgb_array"))


def test_it_is_the_same_room_as_in_rooms():
    env = RoomEnv(split="heldout")
    frame, info = env.reset(seed=3)
    number = int(np.random.default_rng(np.random.PCG64(3)).integers(2**31))
    rooms = Rooms(1, seed=heldout_seed(number))
    np.testing.assert_array_equal(frame, rooms.frames()[0])
    for action in (1, 4, 4, 2, 3, 0):
        frame, *_, info = env.step(np.int64(action))
        result = rooms.step(np.array([action]))
        np.testing.assert_array_equal(frame, rooms.frames()[0])
        assert info["effective"] == result.effective[0]
        np.testing.assert_array_equal(info["agent"], find_agent(frame[None])[0][0])
    assert is_held_out(rooms.layouts.walls).all()
    assert training_seed(number) != heldout_seed(number)


def test_the_shortest_way_earns_the_reward_and_ends_the_episode():
    env = gymnasium.make(ID, split="heldout", goal="bottom right")
    for seed in range(4):
        _, info = env.reset(seed=seed)
        assert info["prompt"] == PROMPTS[4]
        played = env.unwrapped
        assert isinstance(played, RoomEnv)
        rooms = played._rooms
        steps = rooms.steps_to(rooms.goals()[:, 4])
        rewards, terminated = [], False
        while not terminated:
            action = shortest_way_actions(rooms.layouts.free, steps, rooms.save().agent)[0]
            _, reward, terminated, truncated, _ = env.step(action)
            rewards.append(reward)
            assert not truncated
        assert rewards == [0.0] * (len(rewards) - 1) + [1.0]


def test_an_aimless_episode_is_cut_off():
    env = gymnasium.make(ID)
    env.reset(seed=0)
    steps, truncated = 0, False
    while not truncated:
        *_, truncated, _ = env.step(np.int64(0))
        steps += 1
    assert steps == 200


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: RoomEnv(split=_any("test")), "'training' or 'heldout'"),
        (lambda: RoomEnv(goal="the moon"), "top left"),
        (lambda: RoomEnv(render_mode="human"), "rgb_array"),
        (lambda: RoomEnv().step(np.int64(0)), "reset"),
    ],
)
def test_wrong_use_is_said_in_one_line(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
