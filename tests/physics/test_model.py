"""The model file, thresholds, gates and what a clip is told."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from safetensors.numpy import save

from vidbench.errors import InputError
from vidbench_metrics.physics.event import Event
from vidbench_metrics.physics.model import (
    Calibration,
    ClipModel,
    EventModel,
    Gate,
    PhysicsModel,
    clip_features,
    conformal_threshold,
    least_clips,
    probability,
    read_calibration,
)
from vidbench_metrics.physics.trees import Trees


def _stump(feature: int = 0, low: float = -3.0, high: float = 4.0) -> Trees:
    """log-odds `low` up to 0.5, `high` above, NaN goes right."""
    return Trees(
        feature=np.array([feature, -1, -1], np.int32),
        threshold=np.array([0.5, 0, 0]),
        missing_left=np.array([0, 0, 0], np.uint8),
        left=np.array([1, 1, 2], np.int32),
        right=np.array([2, 1, 2], np.int32),
        value=np.array([0, low, high]),
        roots=np.array([0], np.int32),
        baseline=0.0,
    )


def _model() -> PhysicsModel:
    def clip(types: tuple[str, ...], numbers: tuple[str, ...] = ()) -> ClipModel:
        size = len(types) + len(numbers)
        weights = np.array([1.0] * len(types) + [0.1] * len(numbers))
        return ClipModel(types, numbers, np.zeros(size), np.ones(size), weights, -5.0)

    def gate(*names: str) -> Gate:
        size = len(names)
        return Gate(names, np.zeros(size), np.ones(size), np.zeros(size))

    events = {
        "track_end": EventModel(("a", "b"), _stump(), 1.0, 0.0),
        "frozen_run": EventModel(("c",), _stump(), 0.5, 1.0),
    }
    return PhysicsModel(
        events=events,
        clips={
            "overall": clip(("track_end", "frozen_run"), ("noise",)),
            "object": clip(("track_end",)),
            "whole_frame": clip(("frozen_run",)),
        },
        gates={"object": gate("noise", "tracks", "shift"), "whole_frame": gate("noise", "shift")},
        innocent={
            score: {"pooled": np.arange(-60.0, 40.0) / 10, "lit": np.arange(-60.0, -10.0) / 10}
            for score in ("overall", "object", "whole_frame")
        },
        false_alarms=0.03,
        threshold_domain="pooled",
        training={"seed": 0},
    )


GOOD = {"noise": 0.5, "tracks": 0.5, "shift": 0.5}
BAD_END = Event("track_end", 3, 4, (), {"a": 1.0, "b": 0.0}, "vanish")
FINE_END = Event("track_end", 3, 4, (), {"a": 0.0, "b": 0.0}, "vanish")
FREEZE = Event("frozen_run", 9, 20, (), {"c": 1.0}, "freeze")


def test_events_are_calibrated_and_lacking_features_are_unknown():
    model = _model()
    unknown = Event("track_end", 1, 2, (), {"zzz": 9.0}, "vanish")
    strange = Event("never heard of", 1, 2, (), {}, "vanish")
    found = model.event_probability([BAD_END, FINE_END, unknown, FREEZE, strange])
    expected = [1 / (1 + math.exp(-v)) for v in (4.0, -3.0, 4.0, 0.5 * 4 + 1, -12.0)]
    assert found == pytest.approx(expected)
    assert model.event_probability([]).shape == (0,)


def test_clip_features_by_hand():
    seen = {"x": np.array([1.0, 1.5, -9.0]), "z": np.array([30.0])}
    found = clip_features(("x", "y", "z"), ("noise", "gone"), seen, {"noise": 2.0})
    assert found.tolist()[:4] == pytest.approx([math.e, 0.0, math.e**2, 2.0])  # nothing counts more than certain
    assert math.isnan(found[4])


def test_clip_probability_by_hand():
    model = _model()
    # the top of track_end is 4, held at 3, of frozen_run there is none; and 0.1 times the noise.
    expected = math.exp(3 / 1.5) - 5 + 0.05
    assert model.clip_log_odds([FINE_END, BAD_END], GOOD) == pytest.approx(expected)
    assert model.clip_probability([FINE_END, BAD_END], GOOD) == pytest.approx(1 / (1 + math.exp(expected)))
    assert model.clip_log_odds([BAD_END, FINE_END], GOOD) == pytest.approx(expected)
    assert model.clip_log_odds([BAD_END, FINE_END], {}) == pytest.approx(expected - 0.05)
    far_out = model.clip_log_odds([BAD_END, FINE_END], {"noise": 1e9})
    assert far_out == pytest.approx(expected - 0.05 + 0.3)  # held at 3 deviations


def test_a_group_that_cannot_judge_has_no_say():
    model = _model()
    strange = {**GOOD, "tracks": 7.0, "shift": 9.0}
    fine = model.judge([BAD_END, FREEZE], GOOD)
    assert fine.basis == "overall"
    assert set(fine.groups) == {"object", "whole_frame"}
    only_frames = model.judge([BAD_END, FREEZE], strange)
    assert only_frames.basis == "whole_frame"
    assert only_frames.log_odds == pytest.approx(model.clip_log_odds([FREEZE], strange, "whole_frame"))
    assert set(only_frames.not_judged) == {"object"}
    nothing = model.judge([BAD_END], {**strange, "noise": -4.0})
    assert [nothing.basis, nothing.plausible, nothing.alarm, nothing.suspicion] == [None] * 4
    assert set(nothing.not_judged) == {"object", "whole_frame"}


def test_the_reason_names_numbers_ranges_and_the_worst_first():
    model = _model()
    assert model.judged("object", {**GOOD, "tracks": 2.0}) is None  # one outside may happen
    reason = model.judged("object", {"noise": 0.5, "tracks": 2.0, "shift": -30.0})
    assert reason == (
        "unlike the clips it was trained on: shift is -30, where training clips have 0 to 1; "
        "tracks is 2, where training clips have 0 to 1"
    )
    assert "noise is not known" in str(model.judged("object", {"tracks": 2.0, "shift": 0.5}))


def test_alarm_threshold_and_p_value():
    model = _model()
    # 100 scores -6.0 … 3.9: the ceil(101 * .97) = 98th is 3.7.
    assert model.threshold() == pytest.approx(3.7)
    assert model.threshold(domain="lit") == pytest.approx(-1.1)
    verdict = model.judge([BAD_END, BAD_END, FREEZE, FREEZE], GOOD)
    assert verdict.alarm
    assert verdict.suspicion == pytest.approx(verdict.log_odds - 3.7)
    assert verdict.p_value == pytest.approx(1 / 101)
    assert model.p_value(3.8) == pytest.approx(3 / 101)
    assert model.p_value(-99.0) == 1.0
    assert not model.judge([FINE_END], GOOD).alarm
    own = Calibration(threshold=50.0, false_alarms=0.03, clips=40, model="")
    assert not model.judge([BAD_END, BAD_END, FREEZE, FREEZE], GOOD, own).alarm
    with pytest.raises(InputError, match=r"no domain is called 'mars'; there are: pooled, lit"):
        model.p_value(0.0, domain="mars")


@pytest.mark.parametrize("false_alarms", [0.03, 0.05, 0.1])
@pytest.mark.parametrize("n", [40, 66, 133])
def test_conformal_coverage_by_simulation(false_alarms, n):
    """Over draws of n clips and one more, the alarm rate is at most the wanted one, and within 1/(n+1) of it."""
    rng = np.random.default_rng(n)
    draws = 20_000
    scores = rng.gumbel(size=(draws, n + 1))
    thresholds = np.array([conformal_threshold(row[:n], false_alarms) for row in scores])
    rate = float((scores[:, n] > thresholds).mean())
    error = 3.5 * math.sqrt(false_alarms / draws)
    assert false_alarms - 1 / (n + 1) - error <= rate <= false_alarms + error


@pytest.mark.parametrize(("false_alarms", "least"), [(0.03, 33), (0.05, 19), (0.1, 9), (0.01, 99), (0.5, 1)])
def test_the_least_number_of_clips_is_exact(false_alarms, least):
    assert least_clips(false_alarms) == least
    scores = np.arange(float(least))
    assert conformal_threshold(scores, false_alarms) == least - 1
    with pytest.raises(InputError, match=rf"at least {least} innocent clips .* there are {least - 1}"):
        conformal_threshold(scores[:-1], false_alarms)


def test_impossible_rates_are_refused():
    for rate in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(InputError, match="between 0 and 1"):
            conformal_threshold(np.zeros(100), rate)


def test_file_round_trip_is_exact(tmp_path):
    model = _model()
    data = model.to_bytes()
    assert data == model.to_bytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    again = PhysicsModel.load(path)
    assert again.to_bytes() == data
    assert again.checksum.startswith("sha256:")
    assert len(again.checksum) == 71
    events = [BAD_END, FINE_END, FREEZE]
    first, second = model.judge(events, GOOD), again.judge(events, GOOD)
    assert first.events.tolist() == second.events.tolist()
    assert dataclasses.replace(first, events=second.events) == second


def _lines(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_every_damaged_byte_is_noticed():
    """A byte changed anywhere, or an end cut off, is refused in one line; nothing else is raised."""
    data = _model().to_bytes()
    rng = np.random.default_rng(0)
    for at in [*range(0, 40), *rng.integers(0, len(data), 300)]:
        broken = bytearray(data)
        broken[at] ^= 1 << int(rng.integers(8))
        with pytest.raises(InputError) as error:
            PhysicsModel.from_bytes(bytes(broken), "m.safetensors")
        assert _lines(error).startswith("m.safetensors: ")
        assert "vidbench physics train" in str(error.value)
    for cut in (0, 5, 8, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(InputError):
            PhysicsModel.from_bytes(data[:cut])


def test_foreign_files_are_refused(tmp_path):
    with pytest.raises(InputError) as error:
        PhysicsModel.from_bytes(save({"weights": np.zeros(3)}), "w.safetensors")
    assert "w.safetensors: not a plausibility model" in _lines(error)
    for content in (b"", b"PK\x03\x04 a zip", b"\x80\x04\x95 a pickle", b"{}" * 50, bytes(range(256))):
        path = tmp_path / "foreign"
        path.write_bytes(content)
        with pytest.raises(InputError) as error:
            PhysicsModel.load(path)
        assert "not a plausibility model" in _lines(error)
    with pytest.raises(InputError) as error:
        PhysicsModel.load(tmp_path / "none")
    assert "cannot be read" in _lines(error)


def test_another_schema_version_is_named():
    data = _model().to_bytes().replace(rb"\"schema_version\": 2", rb"\"schema_version\": 9")
    with pytest.raises(InputError, match="schema version 9, this vidbench reads 2"):
        PhysicsModel.from_bytes(data)


def test_calibration_round_trip_and_refusals(tmp_path):
    model = PhysicsModel.from_bytes(_model().to_bytes())
    path = tmp_path / "calibration.json"
    own = Calibration(threshold=1.25, false_alarms=0.05, clips=40, model=model.checksum)
    path.write_text(json.dumps(own.to_json()))
    assert read_calibration(path, model) == own
    other = dataclasses.replace(model, checksum="sha256:" + "0" * 64)
    with pytest.raises(InputError, match=r"made with another plausibility model .* run `vidbench calibrate` again"):
        read_calibration(path, other)
    for text in (
        "",
        "[]",
        "7",
        '{"kind": "x"}',
        json.dumps({**own.to_json(), "threshold": math.nan}),
        "\xff",
        "[" * 9999,
    ):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(InputError, match="not a calibration") as error:
            read_calibration(path, model)
        _lines(error)
    with pytest.raises(InputError, match="cannot be read"):
        read_calibration(tmp_path / "none.json", model)


def test_probability_does_not_overflow():
    assert probability(1e6) == 1.0
    assert probability(-1e6) == 0.0
    assert probability(0.0) == 0.5
