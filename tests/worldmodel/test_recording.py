"""Recorded clips: what is written is what the engine reads."""

import json
from typing import Any

import numpy as np
import pytest

from vidbench.clips import discover, load_actions
from vidbench.errors import InputError
from vidbench.video import ClipReader
from vidbench.worldmodel.game import Rooms, expert_policy, heldout_seed, record
from vidbench.worldmodel.recording import RecordedClip, recorded, write_clips


def _any(value: Any) -> Any:
    """Wrong on purpose, which the type checker need not say."""
    return value


@pytest.fixture(scope="module")
def episodes():
    rooms = Rooms(3, seed=heldout_seed(0))
    goals = np.array([0, 2, -1])
    return record(rooms, expert_policy(rooms, np.array([0, 2, 1])), 12, goals=goals)


def pixels(clip):
    with ClipReader(clip) as reader:
        return np.concatenate([frames.pixels for frames in reader])


def test_the_engine_reads_every_pixel_and_action_back(episodes, tmp_path):
    write_clips(episodes, tmp_path, model="truth", fps=8)
    found = discover(tmp_path)
    assert [clip.id for clip in found.clips] == ["truth/0000.npz", "truth/0001.npz", "truth/0002.npz"]
    assert found.others == ()
    for n, clip in enumerate(found.clips):
        np.testing.assert_array_equal(pixels(clip), episodes.frames[n])
        actions = load_actions(clip)
        assert isinstance(actions, np.ndarray)
        np.testing.assert_array_equal(actions[:, 0], episodes.actions[n])
        assert (clip.model, clip.fps, clip.gravity) == ("truth", 8, (0, 1))
        assert clip.extra["effective"] == episodes.effective[n].tolist()
        np.testing.assert_array_equal(clip.extra["agent"], episodes.agent[n])
    prompts = [clip.prompt for clip in found.clips]
    assert prompts == ["the agent walks to the coin", "the agent walks to the top right corner", None]


def test_models_join_one_folder_and_name_their_true_clips(episodes, tmp_path):
    write_clips(episodes, tmp_path, model="truth")
    clips = recorded(episodes)
    write_clips(clips[:2], tmp_path, model="dit", reference="truth", scale=2)
    found = {clip.id: clip for clip in discover(tmp_path).clips}
    assert found["dit/0001.npz"].reference == (tmp_path / "truth" / "0001.npz").resolve()
    assert found["truth/0001.npz"].reference is None
    np.testing.assert_array_equal(pixels(found["dit/0001.npz"])[:, ::2, 1::2], episodes.frames[1])
    # Written anew with fewer clips: neither rows nor files of the earlier call are left.
    write_clips(clips[:1], tmp_path, model="dit", reference="truth")
    assert [clip.id for clip in discover(tmp_path).clips if clip.model == "dit"] == ["dit/0000.npz"]
    assert len((tmp_path / "metadata.jsonl").read_text().splitlines()) == 4


def test_mp4_for_players_is_close(episodes, tmp_path):
    write_clips(episodes, tmp_path, model="truth", form="mp4", scale=8)
    clip = discover(tmp_path).clips[0]
    error = pixels(clip)[:, 4::8, 4::8].astype(float) - episodes.frames[0]
    assert 10 * np.log10(255**2 / (error**2).mean()) > 38


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"clips": []}, "no clip to write"),
        ({"model": "../out"}, "becomes a folder"),
        ({"model": ".hidden"}, "becomes a folder"),
        ({"form": "gif"}, "npz or mp4"),
        ({"fps": 0.0}, "rate above 0"),
        ({"reference": "nobody"}, "'nobody' has no clip 0000"),
        ({"clips": [RecordedClip(_any(np.zeros((2, 4, 4, 3))))]}, "uint8"),
        ({"clips": [RecordedClip(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, int))]}, "one action fewer"),
    ],
)
def test_wrong_use_is_said_and_nothing_is_written(how, message, episodes, tmp_path):
    how = {"clips": episodes, "model": "truth", **how}
    with pytest.raises(InputError, match=message):
        write_clips(how.pop("clips"), tmp_path / "new", **how)
    assert not (tmp_path / "new" / "metadata.jsonl").exists()


def test_a_folder_with_other_metadata_is_left_alone(episodes, tmp_path):
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"name": 1}) + "\n")
    with pytest.raises(InputError, match="not every row names a clip"):
        write_clips(episodes, tmp_path, model="truth")
    assert not (tmp_path / "truth").exists()
