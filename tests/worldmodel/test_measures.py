"""The measures tell the true game from models that must fail; a short training passes a low bar."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

import torch

from vidbench.errors import InputError
from vidbench.generator import Budget
from vidbench.worldmodel.config import DiTConfig
from vidbench.worldmodel.generators import Dit, DitAction
from vidbench.worldmodel.imagining import imagine
from vidbench.worldmodel.measures import (
    OUT,
    copy_last,
    deaf,
    imagine_of,
    measure,
    pooled_psnr,
    scenes,
    shuffled,
    walks_out_and_back,
)
from vidbench.worldmodel.plan.imagination import Simulator
from vidbench.worldmodel.rooms.episodes import record
from vidbench.worldmodel.rooms.parse import find_agent
from vidbench.worldmodel.training import Recipe, train
from vidbench.worldmodel.windows import Play


def _truth(rooms, seed=0):
    world, _ = scenes(rooms, seed)
    game = Simulator(world)
    return lambda history, actions: game.imagine(history.frames, actions)


def test_the_true_game_is_perfect():
    found = measure(_truth(12), rooms=12)
    assert found.psnr == 100
    assert found.delta_psnr > 60
    assert (found.agent_exact, found.agent_exact_all, found.nearest_true) == (1, 1, 1)
    assert (found.roll_agent_exact, found.revisit) == (1, 1)
    assert found.exact_by_frame == (1.0,) * 16
    assert (found.n, found.n_roll) == (60, 12)
    assert 0 < found.n_moves < 60


def test_trivial_models_fail_every_measure():
    truth = _truth(24)
    for baseline in (copy_last, deaf(truth), shuffled(truth)):
        found = measure(baseline, rooms=24)
        assert found.agent_exact < 0.5
        assert found.nearest_true < 0.6
        assert found.delta_psnr < 2
        assert found.revisit < 0.2
        assert found.roll_agent_exact < 0.6
    copied = measure(copy_last, rooms=24)
    assert (copied.gain, copied.agent_exact, copied.delta_psnr, copied.roll_gain, copied.revisit) == (0, 0, 0, 0, 0)


def test_walks_come_back_in_the_true_game():
    world, _ = scenes(24, 3)
    rooms, walks = walks_out_and_back(world)
    assert len(rooms) > 10
    played = record(world.select(rooms), walks)
    np.testing.assert_array_equal(played.agent[:, 0], played.agent[:, -1])
    assert (np.abs(played.agent[:, OUT] - played.agent[:, 0]).sum(1) == OUT).all()


def test_pooled_psnr_is_of_the_mean_error():
    truth = np.zeros((2, 4, 4, 3), np.uint8)
    made = truth.copy()
    made[0] = 10  # the other is right to the pixel
    assert pooled_psnr(made, truth) == pytest.approx(10 * math.log10(255**2 / 50))
    assert pooled_psnr(truth, truth) == 100


def test_models_that_answer_something_else_are_refused():
    with pytest.raises(InputError, match="was asked for"):
        measure(lambda history, actions: history.frames[:, :1].astype(np.float32), rooms=2)
    with pytest.raises(InputError, match="at least one room"):
        measure(copy_last, rooms=0)


def test_a_short_training_is_already_steered():
    """About 40 CPU-seconds from nothing; a smaller network than the one that comes with the package."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = DiTConfig(patch=(1, 4, 4), width=64, depth=3, heads=2, temporal_blocks=(), past_frames=4, actions=5)
        recipe = Recipe(config, batch=32, own_output=0.0)
        network = train(recipe, Play(episodes=1024), Budget(steps=420), 0).network
        model = lambda history, actions: imagine(network, history.frames, actions.shape[1], actions=actions)  # noqa: E731
        found = measure(model, rooms=80)
        told_nothing = measure(deaf(model), rooms=80)
    finally:
        torch.set_num_threads(before)
    assert found.n == 400
    assert found.gain >= 3
    assert found.agent_exact >= 0.88
    assert found.nearest_true >= 0.88
    assert told_nothing.agent_exact < 0.1


def test_the_shipped_model_does_what_is_told():
    model = DitAction.open()
    assert model.notes["command"] == "vidbench train dit-action --cpu-seconds 600 --seed 0"
    assert DitAction.shipped().stat().st_size < 3_000_000
    found = measure(imagine_of(model), rooms=48, seed=5)
    assert found.gain >= 7
    assert found.agent_exact >= 0.96
    assert found.nearest_true >= 0.96
    assert found.roll_agent_exact >= 0.7
    assert found.revisit >= 0.85


def test_the_shipped_model_of_sentences_walks():
    model = Dit.open()
    assert model.notes["command"] == "vidbench train dit --cpu-seconds 300 --seed 0"
    made = model.generate(40, 5, frames=9)
    cells, distance = find_agent(np.concatenate([clip.frames[[0, -1]] for clip in made.clips]))
    steps = np.abs(cells[1::2] - cells[::2]).sum(1)
    assert np.median(distance) < 40
    assert np.median(steps) >= 3
