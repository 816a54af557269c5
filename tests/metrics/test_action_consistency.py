"""The reader of actions: its maths against definitions, its verdicts against worlds with known actions."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from tests import control_worlds
from vidbench.errors import InputError
from vidbench.testing import score_set, set_state
from vidbench_metrics.action_consistency import ActionConsistency, ActionConsistencyParameters, ActionSet
from vidbench_metrics.forest import plant
from vidbench_metrics.inverse_dynamics import (
    ActionClip,
    above_chance,
    balanced_accuracy,
    concordance,
    ordered_pairs,
    redealt,
)

REFERENCE, REFERENCE_ACTIONS = control_worlds.walks(24, 20, seed=1)
CLIPS, ACTIONS = control_worlds.walks(12, 20, seed=2)


@pytest.fixture(scope="module")
def learnt():
    """A metric that has its reader already, and the reference state."""
    metric = ActionConsistency()
    return metric, set_state(metric, REFERENCE, describe=control_worlds.told(REFERENCE_ACTIONS))


def _score(learnt, clips, actions):
    metric, reference = learnt
    return metric.compare(set_state(metric, clips, describe=control_worlds.told(actions)), reference)


def test_balanced_accuracy_is_the_mean_recall():
    truth, read = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 0])
    assert balanced_accuracy(truth, read) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert above_chance(0.5, 2) == 0 and above_chance(1.0, 5) == 1 and above_chance(0.0, 3) == pytest.approx(-0.5)


def test_concordance_punishes_what_correlation_forgives():
    truth = np.linspace(-1, 1, 50)
    assert concordance(truth, truth) == pytest.approx(1)
    assert concordance(truth, -truth) == pytest.approx(-1)
    # Lin's formula by hand: 2 s_xy / (s_x² + s_y² + (x̄ - ȳ)²) with y = 2 x + 1.
    variance = truth.var()
    assert concordance(truth, 2 * truth + 1) == pytest.approx(2 * 2 * variance / (5 * variance + 1))
    assert concordance(truth, np.zeros(50)) == 0


def test_area_under_the_curve_matches_mann_whitney():
    rng = np.random.default_rng(0)
    scores, first = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4  # with ties
    expected = mannwhitneyu(scores[first], scores[~first]).statistic / (first.sum() * (~first).sum())
    assert ordered_pairs(scores, first) == pytest.approx(expected)


def test_redealt_is_a_permutation_that_keeps_runs():
    order = redealt([4, 3, 5], np.random.default_rng(0))
    assert sorted(order) == list(range(12))
    assert np.count_nonzero(np.diff(order) == 1) >= 12 - 1 - 4


def test_forest_learns_what_no_line_separates_and_hides_rows_from_their_judges():
    rng = np.random.default_rng(0)
    features = rng.uniform(-1, 1, (400, 6))
    labels = (features[:, 0] * features[:, 1] > 0).astype(int)
    lengths = [20] * 20
    forest = plant(features, np.eye(2)[labels], np.ones(400), lengths, trees=60)
    held_out = np.concatenate([forest(features[20 * g : 20 * g + 20], g) for g in range(20)]).argmax(axis=1)
    assert np.mean(held_out == labels) > 0.75
    assert np.mean(forest(features).argmax(axis=1) == labels) > np.mean(held_out == labels)
    seen = [20 - len(tree.unseen) for tree in forest.trees]
    assert set(seen) == {13}
    noise = rng.integers(0, 2, 400)
    forest = plant(features, np.eye(2)[noise], np.ones(400), lengths, trees=60)
    held_out = np.concatenate([forest(features[20 * g : 20 * g + 20], g) for g in range(20)]).argmax(axis=1)
    assert np.mean(held_out == noise) == pytest.approx(0.5, abs=0.08)


def test_true_actions_at_the_ceiling_and_others_at_chance(learnt):
    true = _score(learnt, CLIPS, ACTIONS)
    assert true.details["told_apart"] == "0 | 1 | 2 | 3 | 4"
    assert true.value > 0.7 and true.details["of_reference"] > 0.85
    shuffled = _score(learnt, CLIPS, np.roll(ACTIONS, 5, axis=0))
    frozen = _score(learnt, [np.repeat(clip[:1], 21, axis=0) for clip in CLIPS], ACTIONS)
    noise = np.random.default_rng(3).integers(0, 256, (12, *CLIPS[0].shape), dtype=np.uint8)
    assert abs(shuffled.details["balanced_accuracy"] - 0.2) < 0.05
    assert frozen.value == pytest.approx(0, abs=1e-9)  # not one step shows anything
    assert abs(_score(learnt, noise, ACTIONS).value) < 0.1


def test_partly_disobeyed_actions_lie_between(learnt):
    rng = np.random.default_rng(4)
    values = [
        _score(learnt, CLIPS, np.where(rng.random(ACTIONS.shape) < share, ACTIONS, (ACTIONS + 1) % 5)).value
        for share in (1.0, 0.7, 0.4)
    ]
    assert values[0] > values[1] + 0.1 > values[2] + 0.2


def test_clips_of_the_reference_set_are_read_by_trees_that_do_not_know_them(learnt):
    same = _score(learnt, REFERENCE, REFERENCE_ACTIONS)
    assert same.value == pytest.approx(same.details["reference_value"], abs=1e-6)
    assert same.details["of_reference"] == pytest.approx(1)


def test_actions_that_do_the_same_are_found_and_can_be_given():
    clips, actions = control_worlds.walks(24, 20, seed=3, kinds=6)  # 5 stays, as 0 does
    describe = control_worlds.told(actions)
    found = score_set(ActionConsistency(), generated=clips, reference=clips, describe=describe)
    assert found.details["told_apart"] == "0=5 | 1 | 2 | 3 | 4"
    given = ActionConsistency(ActionConsistencyParameters(merge="0=5,1=2"))
    told = score_set(given, generated=clips, reference=clips, describe=describe)
    assert told.details["told_apart"] == "0=5 | 1=2 | 3 | 4"


def test_actions_that_nothing_shows_are_unscored():
    stays = np.zeros_like(REFERENCE_ACTIONS)
    clips = [control_worlds.walk(row, n) for n, row in enumerate(stays)]
    result = score_set(
        ActionConsistency(), generated=clips, reference=clips, describe=control_worlds.told(REFERENCE_ACTIONS)
    )
    assert result.value is None and "can't be read from the reference set" in result.reason


def test_amounts():
    rng = np.random.default_rng(5)
    amounts = rng.uniform(-2.5, 2.5, (30, 24))
    clips = []
    for n, row in enumerate(amounts):
        floor = np.random.default_rng(n).integers(70, 110, (32, 32, 1), dtype=np.uint8).repeat(3, axis=2)
        places, frames = np.clip(16 + np.concatenate([[0], np.cumsum(row)]), 1, 27), []
        for place in places:
            frame = floor.copy()
            frame[14:18, round(place) : round(place) + 4] = 230
            frames.append(frame)
        clips.append(np.stack(frames))
    metric = ActionConsistency()
    reference = set_state(metric, clips[:20], describe=control_worlds.told(amounts[:20]))

    def scored(given):
        return metric.compare(set_state(metric, clips[20:], describe=control_worlds.told(given)), reference)

    true, shuffled = scored(amounts[20:]), scored(np.roll(amounts[20:], 3, axis=0))
    assert true.details["kind"] == "continuous" and true.value > 0.5 and true.details["of_reference"] > 0.85
    assert abs(shuffled.value) < 0.15
    # Half as much as told is worse, though it correlates as well.
    half = scored(amounts[20:] * 3)
    assert half.value < true.value - 0.1 and half.details["correlation"] == pytest.approx(true.details["correlation"])


def test_too_little_is_unscored_with_the_reason(learnt):
    metric, reference = learnt
    few = ActionSet(reference.clips[:3])
    assert "6 clips" in metric.compare(reference, few).reason
    one_action = _score(learnt, CLIPS, np.ones_like(ACTIONS))
    assert one_action.value is None and "2 are needed" in one_action.reason
    foreign = _score(learnt, CLIPS, ACTIONS + 50)
    assert foreign.value is None and "of the reference set's kind" in foreign.reason
    short = set_state(metric, CLIPS, describe=lambda clip, _: replace(clip, actions=(1, 2, 3)))
    assert not short.clips and "it has 3 actions for 20 steps" in metric.compare(short, reference).reason


def test_state_that_was_tampered_with_is_refused(learnt):
    metric, reference = learnt
    arrays, values = metric.pack(ActionSet(reference.clips[:2], {"it has no actions": 1}))
    again = metric.unpack(arrays, json.loads(json.dumps(values)))
    assert [clip.key() for clip in again.clips] == [clip.key() for clip in reference.clips[:2]]
    for broken in (
        {"arrays": arrays | {"lengths": arrays["lengths"] + 1}},
        {"arrays": arrays | {"steps": arrays["steps"][:, 1:]}},
        {"values": values | {"actions": [[[1.0], ["x"]]] * 2}},
        {"values": values | {"actions": values["actions"][:1]}},
    ):
        with pytest.raises((ValueError, TypeError)):
            metric.unpack(broken.get("arrays", arrays), broken.get("values", values))


@pytest.mark.parametrize(
    "parameters", [{"kind": "words"}, {"merge": "0=1,1=2"}, {"merge": "0="}, {"steps": "0"}, {"trees": "3"}]
)
def test_bad_parameters(parameters):
    with pytest.raises(InputError, match="action_consistency"):
        ActionConsistency.from_mapping(parameters)


def test_words_and_numbers_name_actions():
    clip = ActionClip(np.zeros((2, 4), np.float16), ("left", "right"))
    assert clip.key() != replace(clip, actions=("right", "left")).key()
    assert clip.digest() == replace(clip, actions=("right", "left")).digest()
