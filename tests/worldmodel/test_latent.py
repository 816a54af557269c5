"""Latent actions against scikit-learn's AMI, closed forms, and the game's true actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

import torch

from vidbench.errors import InputError
from vidbench.worldmodel.game import Rooms, RoomSettings, heldout_seed, random_policy, record, training_seed
from vidbench.worldmodel.latent import (
    LEAST_GAIN,
    ActionMap,
    LatentActions,
    LatentConfig,
    LatentTraining,
    adjusted_mutual_information,
    annealed,
    check_codes_matter,
    code_gain,
    errors_of,
    heat_at,
    train_latent,
)

ANYWHERE = RoomSettings(start="anywhere")
SMALL = LatentConfig(steps=220, batch=32, width=24)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _video(policy: object = None, rooms: int = 256) -> NDArray[np.uint8]:
    chosen = policy or random_policy(3)
    return record(Rooms(rooms, seed=training_seed(40), settings=ANYWHERE), chosen, 15).frames  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> LatentActions:
    torch.set_num_threads(1)
    return train_latent(_video(), SMALL)


def test_codes_are_actions_and_place_the_agent(found: LatentActions) -> None:
    test = record(Rooms(32, seed=heldout_seed(41), settings=ANYWHERE), random_policy(4), 15)
    effective = test.effective.ravel()
    explained = found.explain(test.frames)
    assert adjusted_mutual_information(explained.codes, effective) > 0.6
    # What the code is asked for is not in the past: the codes of another clip tell nothing.
    shuffled = np.random.default_rng(0).permutation(explained.codes)
    assert abs(adjusted_mutual_information(shuffled, effective)) < 0.02
    truth = test.frames[:, 1:].reshape(-1, 32, 32, 3).astype(float)
    before = test.frames[:, :-1].reshape(-1, 32, 32, 3).astype(float)
    assert np.square(explained.pictures - truth).mean() < 0.5 * np.square(before - truth).mean()


def test_two_hundred_labels_name_the_codes(found: LatentActions) -> None:
    train = record(Rooms(32, seed=training_seed(42), settings=ANYWHERE), random_policy(5), 15)
    test = record(Rooms(32, seed=heldout_seed(42), settings=ANYWHERE), random_policy(6), 15)
    labelled = np.random.default_rng(0).choice(train.actions.size, 200, replace=False)
    chosen = train.actions.ravel()[labelled]  # as chosen: nobody says which of them walls stopped
    named = ActionMap.fit(found.codes(train.frames).ravel()[labelled], chosen, SMALL.codes, 5)
    said = named.to_action[found.codes(test.frames).ravel()]
    assert adjusted_mutual_information(said, test.effective.ravel()) > 0.7
    assert len(set(named.to_code.tolist())) >= 4
    assert (named.to_action[named.to_code] == np.arange(5)).mean() >= 0.8


def test_players_who_keep_their_action_are_refused() -> None:
    def keeps(rooms: Rooms, step: int) -> NDArray[np.int64]:
        return np.random.default_rng(8).integers(0, 5, len(rooms))  # the same in every step

    with pytest.raises(InputError, match="the past tells the action"):
        train_latent(_video(keeps, 128), LatentConfig(steps=120, batch=32, width=24))


def test_gain_in_closed_form() -> None:
    errors = np.array([[1, 3], [3, 1]], np.float32)
    assert code_gain(errors) == pytest.approx(2)
    assert code_gain(np.ones((4, 3), np.float32)) == pytest.approx(1)


def test_fresh_codes_are_refused_whatever_the_video() -> None:
    fresh = LatentTraining(_video(rooms=8), SMALL).result()
    with pytest.raises(InputError, match=f"at least {LEAST_GAIN:g}"):
        check_codes_matter(fresh, _video(rooms=8))


@pytest.mark.parametrize("kinds", [(1, 3), (4, 4), (5, 2), (2, 7)])
def test_ami_is_scikit_learns(kinds: tuple[int, int]) -> None:
    reference = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the reference: vidbench[physics]")
    rng = np.random.default_rng(kinds[0])
    a = rng.integers(0, kinds[0], 300)
    b = np.where(rng.random(300) < 0.6, a % kinds[1], rng.integers(0, kinds[1], 300))
    assert adjusted_mutual_information(a, b) == pytest.approx(reference.adjusted_mutual_info_score(a, b), abs=1e-9)
    assert adjusted_mutual_information(a, a) == pytest.approx(1)


def test_loss_is_the_mean_where_hot_and_the_least_where_cold() -> None:
    errors = torch.tensor([[0.1, 0.5, 0.9], [0.4, 0.2, 0.6]], dtype=torch.float64)
    assert float(annealed(errors, 1e4)) == pytest.approx(float(errors.mean()), abs=1e-4)
    assert float(annealed(errors, 1e-3)) == pytest.approx(0.15, abs=2e-3)
    # Its gradient is each code's share of the transition.
    errors.requires_grad_()
    annealed(errors, 0.2).backward()
    shares = torch.softmax(-errors.detach() / 0.2, 1) / 2
    torch.testing.assert_close(errors.grad, shares)


def test_heat_falls_and_stays() -> None:
    config = LatentConfig(hot=1e-2, cold=1e-4, cooling=0.5)
    assert [heat_at(config, share) for share in (0, 0.25, 0.5, 1)] == pytest.approx([1e-2, 1e-3, 1e-4, 1e-4])


def test_errors_count_every_pixel_alike() -> None:
    pictures = torch.zeros(1, 2, 3, 4, 4)
    pictures[0, 1, :, 0, 0] = 1
    assert errors_of(pictures, torch.zeros(1, 3, 4, 4))[0].tolist() == pytest.approx([0, 1 / 16])


def test_map_survives_blocked_moves() -> None:
    """Most of the ups are stopped by walls and show code 0, that of standing still."""
    actions = np.array([0] * 40 + [1] * 40)
    codes = np.array([0] * 40 + [0] * 25 + [2] * 15)
    named = ActionMap.fit(codes, actions, 3, 2)
    assert named.to_code.tolist() == [0, 2]
    assert named.to_action[[0, 2]].tolist() == [0, 1]


def test_going_on_equals_not_stopping(tmp_path: Path) -> None:
    config = LatentConfig(steps=6, batch=4, width=8)
    whole = LatentTraining(_video(rooms=8), config)
    for _ in range(6):
        whole.step()
    half = LatentTraining(_video(rooms=8), config)
    for _ in range(3):
        half.step()
    other = LatentTraining(_video(rooms=8), config)
    other.load_state_dict(half.state_dict())
    for _ in range(3):
        other.step()
    for a, b in zip(whole.decoder.parameters(), other.decoder.parameters(), strict=True):
        assert torch.equal(a, b)
    path = tmp_path / "codes.safetensors"
    whole.result().save(path)
    again = LatentActions.load(path)
    assert again.config == config
    assert np.array_equal(again.codes(_video(rooms=8)), whole.result().codes(_video(rooms=8)))
    assert again.decode(_video(rooms=8)[:, :2]).shape == (8, config.codes, 32, 32, 3)


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frames from 2"):
        LatentTraining(np.zeros((2, 1, 32, 32, 3), np.uint8))
    with pytest.raises(InputError, match="patches of 2"):
        LatentTraining(np.zeros((2, 3, 31, 32, 3), np.uint8))
    with pytest.raises(InputError, match="action 1"):
        ActionMap.fit(np.zeros(3, int), np.array([0, 0, 2]), 2, 3)
    with pytest.raises(InputError, match="out of range"):
        ActionMap.fit(np.array([7]), np.array([0]), 2, 1)
    with pytest.raises(InputError, match="codes"):
        LatentConfig(codes=1)
    with pytest.raises(InputError, match="two labellings"):
        adjusted_mutual_information(np.zeros(2, int), np.zeros(3, int))
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"bad\.safetensors"):
        LatentActions.load(bad)
