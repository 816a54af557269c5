"""RoomWorld: its rules against independent counts, and the promises others build on."""

from collections import deque
from typing import Any

import numpy as np
import pytest

from vidbench.errors import InputError
from vidbench.worldmodel.game import (
    GOAL_WORDS,
    PROMPTS,
    Action,
    Goal,
    Rooms,
    RoomSettings,
    expert_policy,
    find_agent,
    greedy_policy,
    heldout_seed,
    is_held_out,
    random_policy,
    record,
    sticky_policy,
    training_seed,
)
from vidbench.worldmodel.rooms.settings import BALL, COIN

LARGE = RoomSettings(size=64)
TWICE = RoomSettings(size=64, tile=4)
SCROLLING = RoomSettings(size=32, world=64)


def _any(value: Any) -> Any:
    """Wrong on purpose, which the type checker need not say."""
    return value


@pytest.fixture(scope="module")
def rooms():
    return Rooms(64, seed=heldout_seed(0))


@pytest.fixture(scope="module")
def played():
    return record(Rooms(64, seed=heldout_seed(0)), sticky_policy(0), 47)


def shortest(free, start, goal):
    """Plain breadth-first search in one room: steps until on the goal or beside it."""
    seen, queue = {start}, deque([(start, 0)])
    while queue:
        (x, y), steps = queue.popleft()
        if abs(x - goal[0]) + abs(y - goal[1]) <= 1:
            return steps
        for there in ((x, y - 1), (x, y + 1), (x - 1, y), (x + 1, y)):
            inside = 0 <= there[0] < free.shape[1] and 0 <= there[1] < free.shape[0]
            if inside and free[there[1], there[0]] and there not in seen:
                seen.add(there)
                queue.append((there, steps + 1))
    return None


@pytest.mark.parametrize("settings", [RoomSettings(), LARGE, TWICE, SCROLLING], ids=["32", "64", "twice", "scrolling"])
def test_the_agent_is_found_in_every_real_frame(settings):
    world = Rooms(16, seed=0, settings=settings)
    rng = np.random.default_rng(1)
    for _ in range(20):
        cells, distance = find_agent(world.frames(), settings)
        truth = world.truth()
        assert (distance == 0).all()
        np.testing.assert_array_equal(cells, truth.agent - truth.camera)
        world.step(rng.integers(0, 5, 16))


def test_an_empty_or_foreign_frame_is_far_from_the_agent(rooms):
    _, distance = find_agent(np.stack([np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)]))
    assert (distance > 80).all()
    assert find_agent(np.zeros((0, 32, 32, 3), np.uint8))[0].shape == (0, 2)
    with pytest.raises(InputError, match=r"\(N, 32, 32, 3\) uint8"):
        find_agent(np.zeros((1, 64, 64, 3), np.uint8))


def test_the_same_seed_gives_the_same_rooms_and_fewer_are_the_first_of_more(rooms):
    again = Rooms(5, seed=heldout_seed(0))
    np.testing.assert_array_equal(again.frames(), rooms.frames()[:5])
    assert (Rooms(5, seed=heldout_seed(1)).frames() != again.frames()).any((1, 2, 3)).all()


def test_training_and_held_out_rooms_never_share_a_layout():
    training = np.concatenate([Rooms(128, seed=training_seed(k)).layouts.walls for k in range(2)])
    held_out = np.concatenate([Rooms(128, seed=heldout_seed(k)).layouts.walls for k in range(2)])
    assert not is_held_out(training).any()
    assert is_held_out(held_out).all()
    assert not {room.tobytes() for room in training} & {room.tobytes() for room in held_out}


def test_every_goal_can_be_reached_and_the_expert_takes_the_shortest_way(rooms):
    for goal in Goal:
        world = rooms.select(np.arange(len(rooms)))
        goals = np.full(len(world), int(goal))
        targets = world.goals()[:, goal]
        starts = world.truth().agent
        steps = [
            shortest(free, tuple(start), tuple(target))
            for free, start, target in zip(world.layouts.free, starts, targets, strict=True)
        ]
        episodes = record(world, expert_policy(world, goals, wait=0), max(steps) + 1, goals=goals)
        np.testing.assert_array_equal(episodes.arrival, steps)


def test_a_greedy_walk_reaches_at_most_two_goals_in_five():
    world = Rooms(192, seed=heldout_seed(3))
    reached = np.zeros(192, int)
    for goal in Goal:
        fresh = world.select(np.arange(192))
        goals = np.full(192, int(goal))
        reached += record(fresh, greedy_policy(fresh, goals), 40, goals=goals).arrival <= 40
    assert reached.max() <= 2
    assert 0.25 <= reached.mean() / 5 <= 0.4
    anywhere = Rooms(192, seed=heldout_seed(3), settings=RoomSettings(start="anywhere"))
    goals = np.arange(192) % 5
    easy = record(anywhere, greedy_policy(anywhere, goals), 40, goals=goals).arrival <= 40
    assert easy.mean() > 0.5


def test_only_unblocked_moves_are_effective(played):
    moved = (played.agent[:, 1:] != played.agent[:, :-1]).any(2)
    np.testing.assert_array_equal(played.moved, moved)
    np.testing.assert_array_equal(played.effective, np.where(moved, played.actions, 0))
    step = played.agent[:, 1:] - played.agent[:, :-1]
    aims = {Action.UP: (0, -1), Action.DOWN: (0, 1), Action.LEFT: (-1, 0), Action.RIGHT: (1, 0), Action.NOOP: (0, 0)}
    for action, aim in aims.items():
        assert (step[played.effective == action] == aim).all()
    assert 0.2 < (~moved & (played.actions != 0)).mean() < 0.6


def test_the_agent_never_overlaps_a_wall(played, rooms):
    walls = rooms.layouts.walls
    for room in range(len(rooms)):
        for x, y in played.agent[room]:
            assert not walls[room, y + 1 : y + 3, x + 1 : x + 3].any()


def test_a_saved_state_has_the_same_future_and_five_different_next_frames():
    world = Rooms(32, seed=6)
    rng = np.random.default_rng(0)
    for _ in range(7):
        world.step(rng.integers(0, 5, 32))
    state, actions = world.save(), rng.integers(0, 5, (10, 32))
    first = [(world.step(choice).reward, world.frames()) for choice in actions]
    world.restore(state)
    for choice, (reward, frames) in zip(actions, first, strict=True):
        np.testing.assert_array_equal(world.step(choice).reward, reward)
        np.testing.assert_array_equal(world.frames(), frames)
    world.restore(state)
    copies = world.repeat(5)
    result = copies.step(np.tile(np.arange(5), 32))
    futures, effective = copies.frames().reshape(32, 5, -1), result.effective.reshape(32, 5)
    for room in range(32):
        assert len({frame.tobytes() for frame in futures[room]}) == len(set(effective[room]))
    np.testing.assert_array_equal(world.save().agent, state.agent)


def test_the_coin_is_taken_once_and_disappears():
    world = Rooms(64, seed=heldout_seed(1))
    goals = np.zeros(64, np.int64)
    episodes = record(world, expert_policy(world, goals), 50, goals=goals)
    assert (episodes.rewards.sum(1) == 1).all()
    np.testing.assert_array_equal(episodes.rewards.argmax(1) + 1, episodes.arrival)
    shown = (episodes.frames == COIN).all(4).any((2, 3))
    np.testing.assert_array_equal(shown, ~episodes.coin_taken)


def test_the_ball_is_hidden_exactly_where_no_pixel_of_it_shows(played):
    away = np.asarray(BALL, int)
    # Between the floor's colours and white only the ball's edge is grey without being a wall's grey.
    bright = (np.abs(played.frames.astype(int) - away).sum(4) < 60).any((2, 3))
    assert not (bright & played.ball_hidden).any()
    assert 0.02 < played.ball_hidden.mean() < 0.3
    bare = record(Rooms(64, seed=1, settings=RoomSettings(occluder=False)), random_policy(0), 47)
    # Without a curtain, only the agent or the coin in front of it can hide the ball.
    near = (np.abs(bare.ball - (2 + 2 * bare.agent + 2)) < 2).all(2)
    coin = (np.abs(bare.ball - (2 + 2 * bare.coin[:, None] + 2)) < 2).all(2)
    assert not (bare.ball_hidden & ~near & ~coin).any()


def test_hidden_means_that_the_frame_is_the_same_without_the_ball(rooms):
    world = rooms.select(np.arange(64))
    seen = set()
    for _ in range(30):
        world.step(np.zeros(64, np.int64))
        elsewhere = world.select(np.arange(64))
        state = elsewhere.save()
        # A ball far outside the room is never drawn.
        gone = np.concatenate([np.full((64, 2), -9.0), state.ball[:, 2:]], 1)
        elsewhere.restore(type(state)(state.agent, gone, state.coin_taken, state.blocked, state.bounced))
        same = (elsewhere.frames() == world.frames()).all((1, 2, 3))
        np.testing.assert_array_equal(world.truth().ball_hidden, same)
        seen |= set(same)
    assert seen == {True, False}


def test_the_ball_falls_freely_and_never_gains_energy():
    world = Rooms(64, seed=2)
    gravity = 0.125 * 2
    noop = np.zeros(64, np.int64)
    energy, free_falls = [], 0
    previous = world.truth()
    for _ in range(150):
        world.step(noop)
        truth = world.truth()
        flying = ~truth.ball_bounced.any(1)
        fall = truth.ball_velocity[flying, 1] - previous.ball_velocity[flying, 1]
        np.testing.assert_allclose(fall, gravity, atol=1e-9)
        np.testing.assert_allclose(truth.ball_velocity[flying, 0], previous.ball_velocity[flying, 0])
        free_falls += flying.sum()
        # Height above the room's floor; half of the velocity's square. The scheme's own wobble within a flight is the
        # energy of a part of a step.
        energy.append((64 - truth.ball[:, 1]) * gravity + (truth.ball_velocity**2).sum(1) / 2)
        previous = truth
    energies = np.array(energy)
    assert free_falls > 64 * 20
    assert (np.maximum.accumulate(energies[::-1])[::-1][1:] <= energies[:-1] + 0.15).all()
    assert (world.truth().ball_velocity == 0).mean() > 0.9  # it has come to rest


def test_the_ball_stays_out_of_walls():
    world = Rooms(64, seed=4)
    for _ in range(120):
        world.step(np.zeros(64, np.int64))
        ball = world.truth().ball / 2
        for dx, dy in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            corner = np.floor(ball + np.array([dx, dy]) * (1 - 1e-6)).astype(int)
            assert not world.layouts.walls[np.arange(64), corner[:, 1], corner[:, 0]].any()


def test_random_actions_are_independent_and_sticky_ones_are_not():
    world = Rooms(128, seed=0)
    iid = record(world, random_policy(3), 31).actions
    sticky = record(world, sticky_policy(3), 31).actions
    assert (iid[:, 1:] == iid[:, :-1]).mean() == pytest.approx(0.2, abs=0.02)
    assert (sticky[:, 1:] == sticky[:, :-1]).mean() == pytest.approx(0.6 + 0.4 / 5, abs=0.02)
    assert np.bincount(iid.ravel()) / iid.size == pytest.approx([0.2] * 5, abs=0.02)


def test_given_actions_are_played_as_they_stand():
    actions = np.random.default_rng(0).integers(0, 5, (8, 12))
    episodes = record(Rooms(8, seed=0), actions)
    np.testing.assert_array_equal(episodes.actions, actions)
    assert episodes.frames.shape == (8, 13, 32, 32, 3)
    assert (episodes.goals == -1).all()
    assert (episodes.arrival == 13).all()


def test_the_camera_follows_the_agent_and_stops_at_the_edges():
    world = Rooms(64, seed=0, settings=SCROLLING)
    rng = np.random.default_rng(0)
    cameras = []
    for _ in range(60):
        world.step(rng.choice(5, 64, p=[0, 0.05, 0.45, 0.05, 0.45]))
        truth = world.truth()
        cameras.append(truth.camera)
        assert ((truth.camera >= 0) & (truth.camera <= 16)).all()
        inside = (truth.camera > 0) & (truth.camera < 16)
        assert ((truth.agent - truth.camera)[inside] == 6).all()
    assert (np.array(cameras).max(0) > np.array(cameras).min(0)).any(1).mean() > 0.8


def test_goals_have_words_and_sentences():
    assert len(GOAL_WORDS) == len(PROMPTS) == len(Goal) == 5
    assert PROMPTS[Goal.COIN] == "the agent walks to the coin"
    for goal in Goal:
        assert GOAL_WORDS[goal] in PROMPTS[goal]
        assert GOAL_WORDS[goal] == goal.name.lower().replace("_", " ")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Rooms(0, seed=0), "at least one room"),
        (lambda: Rooms(1, seed=-1), "count from 0"),
        (lambda: RoomSettings(size=33), "whole tiles"),
        (lambda: RoomSettings(size=16), "at least 16 tiles"),
        (lambda: RoomSettings(size=64, world=32), "smaller than the frame"),
        (lambda: RoomSettings(start=_any("nowhere")), "'trap' or 'anywhere'"),
        (lambda: RoomSettings(restitution=1.0), "restitution"),
        (lambda: Rooms(2, seed=0).step(np.array([0])), "each of 2 rooms"),
        (lambda: Rooms(2, seed=0).step(np.array([0.5, 1])), "whole-numbered"),
        (lambda: Rooms(2, seed=0).step(np.array([0, 5])), "actions are 0 to 4"),
        (lambda: Rooms(2, seed=0).restore(Rooms(3, seed=0).save()), "of 3 rooms"),
        (lambda: record(Rooms(2, seed=0), np.zeros((3, 4), int)), r"\(2, steps\)"),
        (lambda: record(Rooms(2, seed=0), random_policy(0)), "at least 1"),
        (lambda: expert_policy(Rooms(2, seed=0), np.array([0, 5])), "0 to 4"),
        (lambda: sticky_policy(0, 1.5), r"\[0, 1\]"),
    ],
)
def test_wrong_use_is_said_in_one_line(wrong, message):
    with pytest.raises(InputError, match=message) as caught:
        wrong()
    assert "\n" not in str(caught.value)
