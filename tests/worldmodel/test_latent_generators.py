"""dit-latent and rssm as plug-ins: what ships is better than doing nothing, and hears its actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

import torch

from vidbench.errors import InputError
from vidbench.generator import Budget, Generator, History
from vidbench.plugins import generators
from vidbench.worldmodel.game import Rooms, RoomSettings, find_agent, heldout_seed, random_policy, record
from vidbench.worldmodel.latent import ActionMap
from vidbench.worldmodel.latent_dit import DitTraining, config_for, imagine_codes
from vidbench.worldmodel.latent_generators import DitLatent, LatentGenerator, RssmGenerator, _Run

KINDS = (DitLatent, RssmGenerator)
ANYWHERE = RoomSettings(start="anywhere")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("kind", KINDS)
def test_shipped_model_hears_its_actions(kind: type[LatentGenerator]) -> None:
    model = kind.open()
    rooms = Rooms(24, seed=heldout_seed(70), settings=ANYWHERE)
    before = record(rooms, random_policy(1), 3)
    truth = record(rooms, random_policy(2), 4)
    history = History(before.frames, before.actions)

    def right(actions: NDArray[np.int64]) -> NDArray[np.bool_]:
        made = model.imagine(history, actions=actions).frames
        assert made.shape == (24, 4, 32, 32, 3) and made.dtype == np.uint8
        cells = find_agent(made.reshape(-1, 32, 32, 3))[0].reshape(24, 4, 2)
        return np.asarray((cells == truth.agent[:, 1:]).all(2))

    copied = (before.agent[:, -1:] == truth.agent[:, 1:]).all(2).mean()
    told, shuffled = right(truth.actions).mean(), right(truth.actions[::-1].copy()).mean()
    assert told > 0.7
    assert told > max(shuffled, copied) + 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_clips_are_the_same_for_the_same_seed_and_have_true_ones(kind: type[LatentGenerator]) -> None:
    model = kind.open()
    made, again, other = model.generate(5, 3, frames=4), model.generate(5, 3, frames=4), model.generate(5, 4, frames=4)
    assert made.references is not None
    for a, b, true in zip(made.clips, again.clips, made.references, strict=True):
        assert np.array_equal(a.frames, b.frames)
        assert np.array_equal(a.frames[0], true.frames[0])
        assert a.actions is not None and true.actions is not None and np.array_equal(a.actions, true.actions)
    assert not np.array_equal(made.clips[0].frames, other.clips[0].frames)
    assert [clip.extra["actions_kind"] for clip in made.clips] == ["true", "random", "random", "random", "true"]
    assert len({clip.extra["start"] for clip in made.clips[:4]}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_is_a_plug_in_with_recorded_command(kind: type[LatentGenerator]) -> None:
    assert generators().load(kind.name) is kind
    model = kind.open()
    assert model.notes["command"].startswith(f"vidbench train {kind.name} --cpu-seconds")
    assert model.notes["seed"] == "0" and int(model.notes["steps"]) > 100
    path = kind.shipped()
    assert path is not None and path.stat().st_size < 3_500_000


def test_rewards_are_probabilities_of_each_step() -> None:
    model = RssmGenerator.open()
    rooms = Rooms(6, seed=heldout_seed(71))
    made = model.imagine(History(rooms.frames()[:, None]), actions=np.ones((6, 3), np.int64))
    assert made.rewards is not None and made.rewards.shape == (6, 3)
    assert (made.rewards >= 0).all() and (made.rewards <= 1).all()


class _Counting:
    """A training whose weights are the list of shares it was told."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.shares: list[float] = []
        self.stop_at = stop_at

    def step(self, share: float) -> float:
        if len(self.shares) == self.stop_at:
            self.stop_at = None
            raise KeyboardInterrupt
        self.shares.append(share)
        return share

    def state_dict(self) -> dict[str, list[float]]:
        return {"shares": self.shares}

    def load_state_dict(self, state: dict[str, list[float]]) -> None:
        self.shares = list(state["shares"])


def test_interrupted_training_goes_on_where_it_was(tmp_path: Path) -> None:
    path, budget = tmp_path / "state", Budget(steps=10)
    whole = [_Counting(), _Counting()]
    run = _Run("x", budget, 0, None, None)
    run.stage("a", whole[0], 0.3, whole[0].step)
    run.stage("b", whole[1], 1.0, whole[1].step)
    assert [len(part.shares) for part in whole] == [3, 7]

    parts = [_Counting(), _Counting(stop_at=2)]
    run = _Run("x", budget, 0, None, path)
    run.stage("a", parts[0], 0.3, parts[0].step)
    with pytest.raises(KeyboardInterrupt):
        run.stage("b", parts[1], 1.0, parts[1].step)
    again = [_Counting(), _Counting()]
    run = _Run("x", budget, 0, None, path)
    run.stage("a", again[0], 0.3, again[0].step)
    run.stage("b", again[1], 1.0, again[1].step)
    run.finish()
    assert [part.shares for part in again] == [part.shares for part in whole]
    assert not path.exists()


def test_state_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    run = _Run("x", Budget(steps=10), 0, None, path)
    stopped = _Counting(stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        run.stage("a", stopped, 1.0, stopped.step)
    with pytest.raises(InputError, match="another training"):
        _Run("x", Budget(steps=10), 1, None, path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="remove it"):
        _Run("x", Budget(steps=10), 0, None, path)


def test_transformer_learns_what_codes_do() -> None:
    """A square that codes move: the trained network puts it where the code says, on clips it has not seen."""
    rng = np.random.default_rng(0)

    def clips(n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        codes = rng.integers(0, 2, (n, 11))
        frames = np.zeros((n, 12, 16, 16, 3), np.uint8)
        for t in range(12):
            rows = (4 + 4 * (codes[:, :t] * 2 - 1).sum(1)) % 16
            for i in range(n):
                frames[i, t, rows[i] : rows[i] + 4, 4:8] = 255
        return frames, codes

    training = DitTraining(*clips(64), 2, seed=0)
    losses = [training.step(step / 60) for step in range(60)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    frames, codes = clips(16)
    made = imagine_codes(training.average.network, frames[:, :4], codes[:, 3:4])[:, 0].astype(float)
    wrong = imagine_codes(training.average.network, frames[:, :4], 1 - codes[:, 3:4])[:, 0].astype(float)
    truth = frames[:, 4].astype(float)
    assert np.square(made - truth).mean() < 0.5 * np.square(wrong - truth).mean()


def test_wrong_use_is_named(tmp_path: Path) -> None:
    model: Generator = RssmGenerator.open()
    scene = History(np.zeros((1, 1, 32, 32, 3), np.uint8))
    with pytest.raises(InputError, match="from 0 to 4"):
        model.imagine(scene, actions=np.array([[7]]))
    with pytest.raises(InputError, match="must be told actions"):
        model.imagine(scene, steps=3)
    with pytest.raises(InputError, match="at least 1 clip"):
        model.generate(0)
    with pytest.raises(InputError, match="seeds count from 0"):
        DitLatent.train(Budget(steps=1), -1)
    other = RssmGenerator.shipped()
    assert other is not None
    with pytest.raises(InputError, match=r"rssm\.safetensors"):
        DitLatent.load(other)
    with pytest.raises(InputError, match="between each two"):
        DitTraining(np.zeros((1, 12, 16, 16, 3), np.uint8), np.zeros((1, 3), np.int64), 2)
    from vidbench.worldmodel import checkpoint
    from vidbench.worldmodel.dit import DiT

    path = tmp_path / "bare.safetensors"
    checkpoint.save(path, DiT(config_for(3)))
    with pytest.raises(InputError, match="which code is which action"):
        DitLatent.load(path)
    named = ActionMap.fit(np.array([0, 1]), np.array([0, 1]), 3, 2)
    DitLatent(DiT(config_for(3)), named, {"seed": "0"}).save(path)
    assert DitLatent.load(path).actions.to_code.tolist() == [0, 1]
