"""Inverse dynamics: names the action that real pairs show, and cannot name what they do not."""

from typing import Any

import numpy as np
import pytest

from vidbench.errors import InputError, WeightsError
from vidbench.worldmodel.game import Rooms, heldout_seed, random_policy, record, training_seed
from vidbench.worldmodel.inverse import InverseConfig, InverseDynamics, pairs_of, train_inverse

pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")


@pytest.fixture(scope="module")
def held_out():
    return pairs_of(record(Rooms(64, seed=heldout_seed(5)), random_policy(7), 24))


@pytest.fixture(scope="module")
def training():
    return pairs_of(record(Rooms(64, seed=training_seed(5)), random_policy(8), 12))


def test_real_pairs_of_held_out_rooms_are_named(inverse, held_out):
    score = inverse.evaluate(*held_out)
    assert score.n == 64 * 24
    assert score.n_moves >= 400
    assert score.accuracy >= 0.995
    assert score.accuracy_moves >= 0.995
    assert score.confusion.sum() == score.n
    np.testing.assert_array_equal(score.confusion.sum(1), np.bincount(held_out[2], minlength=5))


def test_the_score_counts_what_is_wrong(inverse, held_out):
    before, after, effective = held_out
    wrong = inverse.evaluate(before, after, (effective + 1) % 5)
    assert wrong.accuracy <= 0.005
    backwards = inverse.evaluate(after, before, np.array([0, 2, 1, 4, 3])[effective])
    assert backwards.accuracy_moves >= 0.99
    still = inverse.evaluate(before, before, effective)
    assert still.accuracy_moves <= 0.01
    assert "moves (95 % interval" in str(still)
    assert inverse.evaluate(before[:3], before[:3], np.zeros(3, int)).accuracy_moves is None


def test_noise_as_of_generated_frames_does_no_harm(inverse, held_out):
    before, after, effective = held_out
    noise = np.random.default_rng(0).normal(0, 8, after.shape)
    noisy = np.clip(after + noise, 0, 255).astype(np.uint8)
    assert inverse.evaluate(before, noisy, effective).accuracy_moves >= 0.98


def test_probabilities_are_those_of_the_named_action(inverse, held_out):
    before, after, _ = held_out
    probabilities = inverse.probabilities(before[:50], after[:50])
    assert probabilities.shape == (50, 5)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(1), inverse.predict(before[:50], after[:50]))


def test_chosen_actions_as_labels_have_a_ceiling(training, held_out):
    """Why labels are effective actions: a blocked move looks like standing still."""
    played = record(Rooms(64, seed=heldout_seed(5)), random_policy(7), 24)
    # The best that anybody can do with the frames alone: name noop where nothing moved.
    best = (np.where(played.moved, played.actions, 0) == played.actions).mean()
    assert 0.5 < best < 0.9


def test_equal_seeds_train_equally_and_files_keep_every_bit(training: Any, tmp_path):
    config = InverseConfig(steps=3, batch=8, width=8)
    before, after, effective = training
    first, second = (train_inverse(before, after, effective, config) for _ in range(2))
    first.save(tmp_path / "a.safetensors")
    second.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    loaded = InverseDynamics.load(tmp_path / "a.safetensors")
    assert loaded.config == config
    np.testing.assert_array_equal(loaded.probabilities(*training[:2])[:20], first.probabilities(*training[:2])[:20])
    other = train_inverse(before, after, effective, InverseConfig(steps=3, batch=8, width=8, seed=1))
    assert (other.probabilities(*training[:2])[:20] != first.probabilities(*training[:2])[:20]).any()


def test_files_that_are_none_of_ours_are_named(tmp_path):
    from safetensors.numpy import save_file

    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": np.zeros(2, np.float32)}, foreign)
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"no weights")
    for path in (foreign, torn, tmp_path / "missing.safetensors"):
        with pytest.raises(WeightsError, match=path.name) as caught:
            InverseDynamics.load(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda b, a, y: train_inverse(b, a[:-1], y), r"twice \(N, H, W, 3\)"),
        (lambda b, a, y: train_inverse(b.astype(float), a, y), "uint8"),
        (lambda b, a, y: train_inverse(b, a, y[:-1]), "needs its action"),
        (lambda b, a, y: train_inverse(b, a, y + 1), "0 to 4"),
        (lambda b, a, y: InverseConfig(steps=0), "must be positive"),
    ],
)
def test_wrong_use_is_said_in_one_line(wrong, message, training):
    with pytest.raises(InputError, match=message):
        wrong(*training)
