"""Training and scoring, end to end on event tables of a made-up world."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from vidbench.errors import InputError
from vidbench_metrics.physics.model import PhysicsModel
from vidbench_suites.physics.calibrate import calibrate
from vidbench_suites.physics.labels import LEFT_OUT, labels
from vidbench_suites.physics.learn import Recipe, deal, platt, train
from vidbench_suites.physics.scoring import (
    auroc,
    detection,
    figures,
    leave_out,
    out_of_fold,
    score_tables,
    table_text,
    unseen_kinds,
    write_report,
)
from vidbench_suites.physics.tables import ClipTable, Truth

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'vidbench[physics]'")

RECIPE = Recipe(seed=3, iterations=20, leaves=4)


@pytest.fixture(scope="module")
def model(world) -> PhysicsModel:
    """Trained where one feature tells a violation."""
    return train(world(0, 90), RECIPE, command="vidbench physics train WORLD")


@pytest.fixture(scope="module")
def blind(world) -> PhysicsModel:
    """Trained where nothing tells a violation."""
    return train(world(1, 240, signal=0.0), RECIPE)


def _by(found):
    return {(f.section, f.name, f.measure): f for f in found if f.scorer == "plausibility"}


def test_where_one_feature_separates_everything_is_found(world, model):
    fresh = world(100, 90)
    rows = score_tables([(table, model) for table in fresh])
    by = _by(figures(rows))
    assert by["overall", "all", "auroc"].value > 0.97
    assert by["overall", "all", "detection"].value > 0.97
    assert by["overall", "all", "located_top1"].value > 0.95
    assert by["overall", "all", "located_top3"].value >= by["overall", "all", "located_top1"].value
    for kind in ("vanish", "velocity_jump", "freeze"):
        assert by["kind", kind, "auroc"].value > 0.96
        assert by["kind", kind, "auroc"].n == 30
    assert by["overall", "all", "false_alarms"].value < 0.08
    assert {name for section, name, _ in by if section == "control"} == {"rest", "bounce"}
    assert not any(row.trained_on for row in rows)


def test_where_nothing_separates_it_is_chance_and_alarms_stay_at_the_wanted_rate(world, blind):
    fresh = world(200, 240, signal=0.0)
    # An impossible clip has one event more than its twin; without that, nothing at all tells them apart.
    fresh = [table if table.truth.possible else dataclasses.replace(table, events=table.events[:-1]) for table in fresh]
    rows = score_tables([(table, blind) for table in fresh])
    by = _by(figures(rows))
    area = by["overall", "all", "auroc"]
    assert area.low < 0.5 < area.high
    assert area.value == pytest.approx(0.5, abs=0.06)
    # 480 possible clips; both the threshold and this count have an error of about 0.008.
    # It may be none at all: where nothing weighs, every clip gets the same score.
    assert by["overall", "all", "false_alarms"].value <= 0.06


def test_out_of_fold_scores_are_honest_where_there_is_nothing_to_learn(world):
    """Trees with many leaves learn noise by heart: scored on their own clips they would look good."""
    tables = world(5, 60, signal=0.0)
    tables = [t if t.truth.possible else dataclasses.replace(t, events=t.events[:-1]) for t in tables]
    greedy = Recipe(iterations=60, leaves=16, least_leaf=2, least_positives=2)
    honest = score_tables(out_of_fold(tables, greedy))
    by = _by(figures(honest))
    assert by["overall", "all", "auroc"].low < 0.55
    assert not any(row.trained_on for row in honest)
    same = train(tables, greedy)
    assert all(row.trained_on for row in score_tables([(table, same) for table in tables]))


def test_probabilities_are_calibrated(world, model):
    fresh = world(300, 150)
    plausible = np.array([model.clip_probability(t.events, t.context) for t in fresh])
    possible = np.array([t.truth.possible for t in fresh])
    assert plausible.mean() == pytest.approx(possible.mean(), abs=0.05)
    known = [(e, label) for t in fresh for e, label in zip(t.events, labels(t), strict=True) if label != LEFT_OUT]
    found = model.event_probability([event for event, _ in known])
    happened = np.array([label for _, label in known])
    assert found.sum() == pytest.approx(happened.sum(), rel=0.15)
    assert found[found > 0.8].mean() == pytest.approx(happened[found > 0.8].mean(), abs=0.1)


def test_equal_input_gives_equal_bytes_and_other_seeds_do_not(world, model):
    again = train(world(0, 90)[::-1], RECIPE, command="vidbench physics train WORLD")
    assert again.to_bytes() == model.to_bytes()
    other = train(world(0, 90), dataclasses.replace(RECIPE, seed=4), command="vidbench physics train WORLD")
    assert other.to_bytes() != model.to_bytes()
    assert other.training["recipe_sha256"] != model.training["recipe_sha256"]


def test_the_file_says_where_it_comes_from(model):
    again = PhysicsModel.from_bytes(model.to_bytes())
    told = again.training
    assert told["command"] == "vidbench physics train WORLD"
    assert told["seed"] == 3
    assert told["looks"] == {"flat": {"possible": 90, "impossible": 45}, "lit": {"possible": 90, "impossible": 45}}
    assert told["kinds"] == {"freeze": 30, "vanish": 30, "velocity_jump": 30}
    assert len(told["recipe_sha256"]) == 64
    assert len(told["clips"]) == 270
    assert set(told["versions"]) == {"vidbench", "numpy", "scikit-learn"}
    table = again.events["track_end"].facts["reliability"]
    assert (
        sum(row[0] for row in table)
        == again.events["track_end"].facts["violations"] + again.events["track_end"].facts["innocent"]
    )
    assert again.domains() == ("pooled", "flat", "lit", "unseen")
    assert len(again.to_bytes()) < 300_000


def test_the_gate_of_frames_does_not_look_at_the_tracker(model):
    assert model.gates["object"].names == ("camera_step", "picture_noise", "track_count")
    assert model.gates["whole_frame"].names == ("camera_step", "picture_noise")
    odd = {"camera_step": 1.0, "picture_noise": 90.0, "track_count": 900.0}
    assert "picture noise is 90" in str(model.judged("object", odd))
    assert model.judged("whole_frame", odd) is None


def test_numbers_of_the_gate_and_of_the_clip_score_can_be_chosen(world):
    """In this world the violation shows in a context number too."""
    tables = [
        dataclasses.replace(t, context={**t.context, "flicker_step": 0.0 if t.truth.possible else 5.0, "odd": math.nan})
        for t in world(0, 60, signal=0.0)
    ]
    recipe = dataclasses.replace(
        RECIPE, clip_numbers=("flicker_step", "track_count"), gate_numbers=(("object", ("picture_noise",)),)
    )
    found = train(tables, recipe)
    assert found.clips["overall"].numbers == ("flicker_step", "track_count")
    assert found.clips["whole_frame"].numbers == ("flicker_step",)
    assert found.gates["object"].names == ("picture_noise",)
    assert "odd" not in found.gates["whole_frame"].names  # never known
    by = _by(figures(score_tables([(t, found) for t in tables])))
    assert by["overall", "all", "auroc"].value > 0.99


def test_strange_clips_are_not_judged_and_never_counted_as_found(world, model):
    fresh = [dataclasses.replace(t, context={"camera_step": 99.0, "picture_noise": 99.0}) for t in world(7, 30)]
    rows = score_tables([(table, model) for table in fresh])
    by = _by(figures(rows))
    assert by["overall", "all", "abstained"].value == 1.0
    assert by["overall", "all", "auroc"].value == 0.5
    assert by["overall", "all", "detection"].value == 0.0
    assert by["overall", "all", "false_alarms"].value == 0.0
    assert by["overall", "all", "located_top3"].value == 0.0


def test_groups_are_never_split(world):
    tables = world(0, 50)
    fold = deal(tables, 5, 1)
    of_group: dict[str, set[int]] = {}
    for table, k in zip(tables, fold, strict=True):
        of_group.setdefault(table.truth.group, set()).add(int(k))
    assert all(len(folds) == 1 for folds in of_group.values())
    assert sorted(set(fold.tolist())) == [0, 1, 2, 3, 4]
    for look in ("flat", "lit"):
        sizes = np.bincount([k for t, k in zip(tables, fold, strict=True) if t.truth.look == look], minlength=5)
        assert sizes.min() >= 10  # of 75: each look is spread over the folds


def test_left_out_look_is_scored_by_a_model_that_never_saw_it(world):
    tables = world(0, 80)
    pairs = leave_out(tables, "lit", RECIPE)
    assert {table.truth.look for table, _ in pairs} == {"lit"}
    assert set(pairs[0][1].training["looks"]) == {"flat"}
    with pytest.raises(InputError, match="no look is called 'moon'; there are: flat, lit"):
        leave_out(tables, "moon", RECIPE)


def test_kinds_never_seen_are_left_out_of_fitting(world):
    tables = world(0, 80)
    seen: list[set[str]] = []

    def pairs(kind):
        found = leave_out(tables, "lit", RECIPE, without=kind)
        seen.append({kind, *found[0][1].training["kinds"]})
        assert kind not in found[0][1].training["kinds"]
        return found

    found = unseen_kinds([t for t in tables if t.truth.look == "lit"], pairs)
    assert seen == [{"freeze", "vanish", "velocity_jump"}] * 3
    assert {f.name for f in found} == {"freeze", "vanish", "velocity_jump"}


def test_thresholds_of_looks_that_differ(world):
    """One look whose possible clips are far more suspicious: its own threshold and the worst one say so."""
    tables = world(0, 100)
    odd = [
        dataclasses.replace(
            t,
            events=tuple(
                dataclasses.replace(e, features={**e.features, "useful": e.features["useful"] + 4}) for e in t.events
            ),
        )
        if t.truth.look == "lit"
        else t
        for t in tables
    ]
    worst = train(odd, dataclasses.replace(RECIPE, threshold="worst"))
    assert worst.threshold_domain == "lit"
    assert worst.threshold() >= worst.threshold(domain="flat")
    unseen = train(odd, dataclasses.replace(RECIPE, threshold="unseen"))
    assert unseen.threshold_domain == "unseen"


def test_real_clips_join_as_a_domain_of_their_own(world):
    real = [
        ClipTable(f"real/{n}", Path("r"), f"{n:064d}", Truth("real", f"video:{n // 3}", True), t.events, t.context)
        for n, t in enumerate(t for t in world(9, 40) if t.truth.possible)
    ]
    found = train([*world(0, 60), *real], RECIPE)
    assert "real" in found.domains()
    assert found.training["looks"]["real"] == {"possible": 80, "impossible": 0}


def test_too_little_to_train_on_is_one_line(world):
    with pytest.raises(InputError, match=r"at least 33 possible clips.*there are 20, 10 and 20"):
        train(world(0, 10), RECIPE)
    with pytest.raises(InputError, match="some impossible"):
        train([t for t in world(0, 40) if t.truth.possible], RECIPE)


def test_a_type_with_few_violations_gets_its_rate_alone(world):
    tables = [t for t in world(0, 60) if t.truth.kind != "freeze"]
    found = train(tables, RECIPE)
    assert len(found.events["frozen_run"].trees.roots) == 0
    assert len(found.events["track_end"].trees.roots) == 20
    freeze = next(e for t in world(1, 3) for e in t.events if e.type == "frozen_run")
    assert found.event_probability([freeze])[0] < 0.01


def test_a_more_suspicious_event_never_makes_a_clip_more_plausible(world, model):
    for table in world(11, 20):
        before = model.clip_log_odds(table.events, table.context)
        name = table.events[0].type
        log_odds = {name: np.array([9.0])}
        clip = model.clips["overall"]
        raw = clip.features(log_odds, table.context)
        more = raw.copy()
        more[clip.types.index(name)] += 1.0
        assert clip.log_odds(more) >= clip.log_odds(raw)
        assert math.isfinite(before)


def test_platt_recovers_a_known_slope_and_keeps_order():
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 3, 20_000)
    happened = rng.random(20_000) < 1 / (1 + np.exp(-(0.4 * raw - 1)))
    assert platt(raw, happened) == pytest.approx((0.4, -1.0), abs=0.05)
    slope, _ = platt(raw, rng.random(20_000) < 1 / (1 + np.exp(2 * raw)))  # turned round
    assert slope > 0


def test_auroc_matches_sklearn_with_ties():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    wrong = rng.integers(1, 10, 80).astype(np.float64)
    innocent = rng.integers(0, 9, 120).astype(np.float64)
    wrong[:5] = -math.inf
    expected = roc_auc_score([1] * 80 + [0] * 120, np.nan_to_num(np.r_[wrong, innocent], neginf=-99.0))
    assert auroc(wrong, innocent) == pytest.approx(expected, abs=1e-12)


def test_detection_by_hand_and_with_weights():
    innocent = np.arange(100.0)  # 5 of 100 lie above 94
    assert detection(np.array([94.0, 94.5, 95.0, 200.0]), innocent, 0.05) == 0.75
    assert detection(np.array([98.0, 99.0, 99.5]), innocent, 0.0) == pytest.approx(1 / 3)
    rng = np.random.default_rng(0)
    wrong, innocent = rng.normal(1, 1, 40), rng.normal(0, 1, 60).round(1)
    p, q = rng.integers(0, 4, 40).astype(float), rng.integers(0, 4, 60).astype(float)
    repeated = detection(np.repeat(wrong, p.astype(int)), np.repeat(innocent, q.astype(int)), 0.1)
    assert detection(wrong, innocent, 0.1, p, q) == pytest.approx(repeated)


def test_baselines_stand_beside_in_the_direction_that_suits_them(world, model):
    fresh = world(100, 40)
    beside = {
        t.id: {"frame_difference": float(t.truth.possible), "flow_jump": math.nan, "file_size": float(len(t.id))}
        for t in fresh
    }
    found = figures(score_tables([(table, model) for table in fresh], beside))
    by = {(f.section, f.name, f.measure, f.scorer): f.value for f in found}
    assert by["overall", "all", "auroc", "frame_difference"] == 1.0  # turned round
    assert by["overall", "all", "auroc", "flow_jump"] == 0.5
    assert 0.5 <= by["overall", "all", "auroc", "file_size"] <= 1.0


def test_reports_hold_everything(world, model, tmp_path):
    fresh = world(100, 40)
    rows = score_tables([(table, model) for table in fresh], {t.id: {"file_size": math.nan} for t in fresh})
    found = figures(rows)
    write_report(tmp_path / "a.json", found, rows, {"model": "m"})
    told = json.loads((tmp_path / "a.json").read_text())
    assert len(told["clips"]) == 120
    assert len(told["figures"]) == len(found)
    assert told["clips"][0]["baselines"] == {"file_size": None}
    write_report(tmp_path / "a.csv", found, rows, {})
    lines = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert len(lines) == len(found)
    assert {line["measure"] for line in lines} >= {"auroc", "detection", "false_alarms", "located_top3", "abstained"}
    text = table_text(found, rows, ["x.mp4: empty"])
    for word in ("120 clips: 80 possible, 40 impossible", "vanish", "look lit", "bounce", "x.mp4: empty"):
        assert word in text
    with pytest.raises(InputError, match=r"written as \.json or \.csv"):
        write_report(tmp_path / "a.txt", found, rows, {})
    with pytest.raises(InputError, match="cannot be written"):
        write_report(tmp_path / "none" / "a.json", found, rows, {})


def test_only_innocent_clips_give_false_alarms_alone(world, model):
    rows = score_tables([(t, model) for t in world(100, 40) if t.truth.possible])
    found = figures(rows)
    assert {f.measure for f in found} <= {
        *("false_alarms", "false_alarms_of_judged", "abstained", "abstained_object", "abstained_whole_frame")
    }
    assert "80 clips: 80 possible, 0 impossible" in table_text(found, rows)


def test_calibration_on_own_clips_keeps_its_promise(world, model):
    good = [t for t in world(20, 100) if t.truth.possible]
    model = PhysicsModel.from_bytes(model.to_bytes())
    own = calibrate(good, model, 0.05)
    fresh = [t for t in world(21, 200) if t.truth.possible]
    rate = np.mean([bool(model.judge(t.events, t.context, own).alarm) for t in fresh])
    assert rate <= 0.1
    # 200 clips, some of them not judged.
    assert 185 <= own.clips <= 200
    assert own.model == model.checksum
    with pytest.raises(InputError, match=r"at least 33 innocent clips .* there are 20; 20 clips allow 0.0476 at best"):
        calibrate(good[:20], model, 0.03)
    strange = [dataclasses.replace(t, context={}) for t in good[:20]]
    with pytest.raises(InputError, match=r"there are 0 \(20 of 20 clips cannot be judged\)"):
        calibrate(strange, model, 0.03)
