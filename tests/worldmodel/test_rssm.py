"""Latent dynamics: losses against closed forms, where gradients go, and that something is learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

import torch

from vidbench.errors import InputError
from vidbench.worldmodel import rssm
from vidbench.worldmodel.game import Rooms, RoomSettings, random_policy, record, training_seed
from vidbench.worldmodel.rssm import Play, Rssm, RssmConfig, RssmTraining, State, as_pixels, as_tensor, divergence

SMALL = RssmConfig(width=12, classes=4)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def _play(rooms: int = 8, steps: int = 11) -> Play:
    episodes = record(
        Rooms(rooms, seed=training_seed(60), settings=RoomSettings(start="anywhere")), random_policy(1), steps
    )
    return Play(episodes.frames, episodes.actions, episodes.rewards, ~episodes.coin_taken)


def _tensors(play: Play, length: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    actions = np.concatenate([np.full((len(play.frames), 1), -1), play.actions[:, : length - 1]], 1)
    zeros = torch.zeros(len(play.frames), length)
    return as_tensor(play.frames[:, :length]), torch.from_numpy(actions), zeros, zeros + 1


def test_divergence_in_closed_form() -> None:
    seen = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64).log().view(1, 1, 1, 3, 1, 1)
    expected = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log().view(1, 1, 1, 3, 1, 1)
    by_hand = 0.7 * np.log(3.5) + 0.2 * np.log(0.4) + 0.1 * np.log(1 / 3)
    assert float(divergence(seen, expected)) == pytest.approx(by_hand)
    reference = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=seen.flatten()),
        torch.distributions.Categorical(logits=expected.flatten()),
    )
    assert float(divergence(seen, expected)) == pytest.approx(float(reference))
    # Categoricals of a frame add up.
    assert float(divergence(seen.expand(1, 1, 2, 3, 4, 4), expected.expand(1, 1, 2, 3, 4, 4))) == pytest.approx(
        32 * by_hand
    )


@pytest.mark.parametrize(
    ("only", "prior_learns", "posterior_learns"), [("dynamics", True, False), ("rep", False, True)]
)
def test_balance_trains_one_side_each(only: str, prior_learns: bool, posterior_learns: bool) -> None:
    config = replace(
        SMALL,
        reward_weight=0.0,
        free_nats=0.0,
        dynamics_weight=float(only == "dynamics"),
        representation_weight=float(only == "rep"),
    )
    network = Rssm(config)
    losses = network.losses(*_tensors(_play()), generator=torch.Generator().manual_seed(0))
    (losses.total - _drawing_of(network)).backward()
    last = {name: getattr(network, name)[-1].weight.grad for name in ("prior", "posterior")}
    learns = {name: grad is not None and bool(grad.abs().sum() > 0) for name, grad in last.items()}
    # The posterior's first frame also reaches the prior's input through the memory, its last layer is its own.
    assert learns["prior"] is prior_learns
    if posterior_learns:
        assert learns["posterior"]


def _drawing_of(network: Rssm) -> torch.Tensor:
    """The drawing error again, with the same samples: what is left of the total is the divergence alone."""
    frames, actions, rewards, goes_on = _tensors(_play())
    silent = Rssm(replace(network.config, dynamics_weight=0.0, representation_weight=0.0))
    silent.load_state_dict(network.state_dict())
    for name, parameter in silent.named_parameters():
        target = dict(network.named_parameters())[name]
        parameter.data = target.data
    return silent.losses(frames, actions, rewards, goes_on, torch.Generator().manual_seed(0)).total.detach()


def test_free_nats_stop_the_gradient() -> None:
    config = replace(SMALL, free_nats=1e9, reward_weight=0.0)
    network = Rssm(config)
    network.losses(*_tensors(_play()), generator=torch.Generator().manual_seed(0)).total.backward()
    grad = network.prior[-1].weight.grad
    assert grad is None or not grad.abs().sum()


def test_samples_are_one_of_k_and_let_gradients_through() -> None:
    logits = torch.randn(2, 3, 5, 4, 4, requires_grad=True)
    drawn = rssm._drawn(logits.log_softmax(2), torch.Generator().manual_seed(0))
    each = drawn.detach().unflatten(1, (3, 5))
    assert torch.allclose(each.sum(2), torch.ones(2, 3, 4, 4))
    assert set(each.round(decimals=5).unique().tolist()) == {0.0, 1.0}
    (drawn * torch.randn_like(drawn)).sum().backward()
    assert logits.grad is not None and logits.grad.abs().sum() > 0


def test_samples_follow_their_probabilities() -> None:
    probabilities = torch.tensor([0.6, 0.3, 0.1])
    logits = probabilities.log().view(1, 1, 3, 1, 1).expand(1, 1, 3, 100, 100)
    drawn = rssm._drawn(logits, torch.Generator().manual_seed(1))
    assert drawn.mean((0, 2, 3)).tolist() == pytest.approx(probabilities.tolist(), abs=0.02)
    likeliest = rssm._drawn(logits, None, likeliest=True)
    assert likeliest.mean((0, 2, 3)).tolist() == pytest.approx([1, 0, 0])


def test_no_class_is_impossible() -> None:
    network = Rssm(replace(SMALL, unimix=0.04))
    with torch.no_grad():
        network.prior[-1].bias[0] = 100.0
        probabilities = network.expected(torch.zeros(1, 12, 4, 4)).exp()
    assert float(probabilities.min()) == pytest.approx(0.04 / 4, rel=1e-3)
    assert torch.allclose(probabilities.sum(2), torch.ones(1, 1, 4, 4))


def test_actions_change_what_is_imagined_and_the_same_ones_do_not() -> None:
    network = Rssm(SMALL).eval()
    state = network.begin(2, (16, 16))
    with torch.inference_mode():
        same = network.imagine(State(*state), torch.tensor([[1, 2], [1, 2]]), likeliest=True)[-1].frames
        other = network.imagine(State(*state), torch.tensor([[1, 2], [3, 2]]), likeliest=True)[-1].frames
    assert torch.equal(same[0], same[1])
    assert not torch.equal(other[0], other[1])


def test_a_little_play_is_learned() -> None:
    """Below a frame without anything that moves: the mean of the clip, which is what a model learns first."""
    play = _play(rooms=4, steps=11)
    training = RssmTraining(play, RssmConfig(width=16), window=8, batch=4, rate=4e-3)
    first = training.step(0.0)
    for step in range(1, 90):
        last = training.step(step / 90)
    assert float(last.drawing) < 0.25 * float(first.drawing)
    frames, actions, _, _ = _tensors(play, 8)
    with torch.inference_mode():
        states, _, _ = training.network.observe(frames, actions, torch.Generator().manual_seed(0))
        drawn = training.network.heads(states).frames.view_as(frames)
    still = frames.mean(1, keepdim=True)
    moving = (frames - still).abs().amax(2, keepdim=True) > 0.2
    error = ((drawn - frames).square() * moving).sum()
    assert float(error) < float(((still - frames).square() * moving).sum())


def test_going_on_equals_not_stopping(tmp_path: Path) -> None:
    play = _play()
    whole, half = (RssmTraining(play, SMALL, window=5, batch=2) for _ in range(2))
    for _ in range(4):
        whole.step(0.1)
    for _ in range(2):
        half.step(0.1)
    other = RssmTraining(play, SMALL, window=5, batch=2, seed=9)
    other.load_state_dict(half.state_dict())
    for _ in range(2):
        other.step(0.1)
    for a, b in zip(whole.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b)
    path = tmp_path / "rssm.safetensors"
    rssm.save(path, whole.network, {"seed": "0"})
    again, notes = rssm.load(path)
    assert (again.config, notes) == (SMALL, {"seed": "0"})
    for a, b in zip(whole.network.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_pixels_survive_the_way_there_and_back() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4, 3)).astype(np.uint8)
    assert np.array_equal(as_pixels(as_tensor(frames)), frames)


def test_bad_input_is_named(tmp_path: Path) -> None:
    play = _play()
    with pytest.raises(InputError, match="window of 20"):
        RssmTraining(play, SMALL, window=20)
    with pytest.raises(InputError, match="actions and rewards"):
        Play(play.frames, play.actions[:, 1:], play.rewards, play.goes_on)
    with pytest.raises(InputError, match="unimix"):
        RssmConfig(unimix=1.0)
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"bad\.safetensors"):
        rssm.load(bad)
