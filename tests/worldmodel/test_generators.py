"""The generator contract and the generators of pixels: budgets, resuming, files, clip folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

import torch

from vidbench import plugins
from vidbench.cli import cli
from vidbench.clips import discover, load_actions
from vidbench.errors import InputError, PluginError
from vidbench.generator import Budget, Generator, History, Meter, Report
from vidbench.worldmodel.config import DiTConfig
from vidbench.worldmodel.dit import DiT
from vidbench.worldmodel.generators import Dit, DitAction, goal_of
from vidbench.worldmodel.rooms.layout import is_held_out
from vidbench.worldmodel.rooms.settings import PROMPTS
from vidbench.worldmodel.training import Recipe
from vidbench.worldmodel.windows import Play


def _small(*, actions: int = 0, classes: int = 0) -> Recipe:
    config = DiTConfig(patch=(1, 8, 8), width=24, depth=1, heads=1, temporal_blocks=(), past_frames=4)
    config = replace(config, actions=actions, classes=classes)
    return Recipe(config, batch=4, own_from=0.0, own_output=0.7)


class SmallAction(DitAction):
    @classmethod
    def recipe(cls):
        return _small(actions=5)

    @classmethod
    def play(cls, seed):
        return Play(episodes=8, steps=12, seed=seed)


class SmallWords(Dit):
    @classmethod
    def recipe(cls):
        return _small(classes=5)

    @classmethod
    def play(cls, seed):
        return Play(errands=True, episodes=8, steps=20, seed=seed)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def steered():
    return SmallAction.train(Budget(steps=3), 1)


@pytest.fixture(scope="module")
def sent():
    return SmallWords.train(Budget(steps=3), 1)


def _same(a: DiT, b: DiT) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", ["dit", "dit-action"])
def test_built_ins_keep_the_contract(name):
    kind = plugins.generators().load(name)
    assert issubclass(kind, Generator)
    assert kind.name == name
    assert len(kind.conditions) == 1


def test_the_registry_refuses_what_keeps_no_contract():
    check = plugins._check_generator
    with pytest.raises(PluginError, match="not a subclass"):
        check("x", object)
    with pytest.raises(PluginError, match="its class says name = 'dit'"):
        check("x", Dit)

    class Telepath(DitAction):
        name = "telepath"
        conditions = frozenset({"thoughts"})

    with pytest.raises(PluginError, match="its conditions are"):
        check("telepath", Telepath)

    class Unfinished(Generator):
        name, version, summary, conditions = "unfinished", "1", "nothing", frozenset()

    with pytest.raises(PluginError, match="leaves abstract: generate, load, save, train"):
        check("unfinished", Unfinished)


@pytest.mark.parametrize("given", [{}, {"steps": 3, "cpu_seconds": 2.0}, {"steps": 0}, {"cpu_seconds": float("inf")}])
def test_a_budget_is_one_number_above_zero(given):
    with pytest.raises(InputError, match="a budget is"):
        Budget(**given)


def test_a_meter_counts_steps_or_seconds_and_goes_on():
    meter = Meter(Budget(steps=4), steps=1)
    assert (meter.share, meter.done) == (0.25, False)
    meter.steps = 4
    assert meter.done
    spent = Meter(Budget(cpu_seconds=10.0), cpu_seconds=5.0)
    assert 0.5 <= spent.share < 0.9
    assert Meter(Budget(cpu_seconds=10.0), cpu_seconds=10.0).done


@pytest.mark.parametrize(
    ("prompt", "goal"),
    [*zip(PROMPTS, range(5), strict=True), ("Go to the BOTTOM-LEFT, please", 3), ("grab the coin", 0)],
)
def test_goal_of_prompts(prompt, goal):
    assert goal_of(prompt) == goal


@pytest.mark.parametrize("prompt", ["", "the agent dances", "the coin, then top left"])
def test_prompts_without_one_goal_are_refused(prompt):
    with pytest.raises(InputError, match="names one goal"):
        goal_of(prompt)


def test_equal_seeds_and_steps_give_equal_weights_and_others_others(steered):
    assert _same(steered.network, SmallAction.train(Budget(steps=3), 1).network)
    assert not _same(steered.network, SmallAction.train(Budget(steps=3), 2).network)


@pytest.mark.parametrize("kind", [SmallAction, SmallWords])
def test_interrupted_training_goes_on_to_the_same_weights(kind, tmp_path):
    state = tmp_path / "x.unfinished"

    def interrupt(report):
        if report.steps == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kind.train(Budget(steps=6), 5, progress=interrupt, state=state)
    assert state.exists()
    with pytest.raises(InputError, match=r"x\.unfinished is of another training"):
        kind.train(Budget(steps=7), 5, state=state)
    seen: list[int] = []
    resumed = kind.train(Budget(steps=6), 5, progress=lambda report: seen.append(report.steps), state=state)
    assert seen == [4, 5, 6]
    assert not state.exists()
    assert _same(resumed.network, kind.train(Budget(steps=6), 5).network)


def test_a_damaged_state_is_named(tmp_path):
    state = tmp_path / "x.unfinished"
    state.write_bytes(b"no state")
    with pytest.raises(InputError, match=r"x\.unfinished cannot be read as unfinished training"):
        SmallAction.train(Budget(steps=2), state=state)


def test_reports_say_how_it_stands():
    seen: list[Report] = []
    SmallAction.train(Budget(steps=4), progress=seen.append)
    assert [report.share for report in seen] == [0.25, 0.5, 0.75, 1.0]
    assert len(seen[0].by_time) == 5
    assert np.isfinite(seen[0].loss)
    # A fresh network repeats the last frame.
    assert seen[0].held_out["psnr"] == pytest.approx(seen[0].held_out["psnr of copying"], abs=0.5)


def test_a_file_gives_the_same_frames(steered, tmp_path):
    path = tmp_path / "a.safetensors"
    steered.save(path)
    again = SmallAction.load(path)
    assert again.notes["command"] == "vidbench train dit-action --steps 3 --seed 1"
    history = History(np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), dtype=np.uint8))
    actions = np.array([[1, 2, 3], [0, 0, 4]])
    made = steered.imagine(history, actions=actions, seed=3).frames
    assert made.shape == (2, 3, 32, 32, 3)
    np.testing.assert_array_equal(made, again.imagine(history, actions=actions, seed=3).frames)
    with pytest.raises(InputError, match=r"a\.safetensors is of the generator 'dit-action', not of 'dit'"):
        SmallWords.load(path)


def test_short_histories_are_filled_with_their_first_frame(steered):
    frames = np.random.default_rng(0).integers(0, 256, (1, 2, 32, 32, 3), dtype=np.uint8)
    filled = np.concatenate([frames[:, :1], frames[:, :1], frames], 1)
    longer = np.concatenate([255 - filled[:, :3], filled], 1)
    actions = np.array([[1, 2]])
    made = [steered.imagine(History(each), actions=actions).frames for each in (frames, filled, longer)]
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


def test_imagining_says_what_it_must_be_told(steered, sent):
    history = History(np.zeros((2, 4, 32, 32, 3), np.uint8))
    for wrong, words in (
        ({}, "must be told actions"),
        ({"actions": np.zeros((1, 2), np.int64)}, "actions for 2 histories"),
        ({"actions": np.full((2, 2), 9)}, "actions are 0 to 4"),
        ({"actions": np.zeros((2, 2), np.int64), "prompts": ["a", "b"]}, "takes no prompts"),
        ({"actions": np.zeros((2, 2), np.int64), "steps": 3}, "2 actions are as many steps"),
    ):
        with pytest.raises(InputError, match=words):
            steered.imagine(history, **wrong)
    for missing, words in (
        ({"steps": 2}, "must be told prompts"),
        ({"prompts": [PROMPTS[0]], "steps": 2}, "need as many prompts"),
        ({"prompts": PROMPTS[:2]}, "how many steps"),
    ):
        with pytest.raises(InputError, match=words):
            sent.imagine(history, **missing)
    with pytest.raises(InputError, match="a history is"):
        History(np.zeros((2, 32, 32, 3), np.uint8))


def test_clips_of_actions_have_the_truth_beside_them(steered):
    made = steered.generate(6, 4, frames=5)
    again = steered.generate(6, 4, frames=5)
    kinds = [clip.extra["actions_kind"] for clip in made.clips]
    assert kinds == ["true", "random", "random", "random", "true", "random"]
    assert [clip.extra["start"] for clip in made.clips] == ["4-0"] * 4 + ["4-1"] * 2
    for clip, true, same in zip(made.clips, made.references, again.clips, strict=True):
        np.testing.assert_array_equal(clip.frames, same.frames)
        np.testing.assert_array_equal(clip.frames[0], true.frames[0])
        np.testing.assert_array_equal(clip.actions, true.actions)
        assert not np.array_equal(clip.frames[1:], true.frames[1:])  # three steps of training are not enough
    for number in range(1, 4):
        np.testing.assert_array_equal(made.clips[0].frames[0], made.clips[number].frames[0])


def test_clips_of_sentences_show_an_expert_as_truth(sent):
    made = sent.generate(6, 0, frames=9)
    assert [clip.prompt for clip in made.clips] == [*PROMPTS, PROMPTS[0]]
    assert made.clips[0].actions is None
    assert made.references[0].actions is not None
    for wrong in ((0, 0, 5), (1, 0, 1), (1, -1, 5)):
        with pytest.raises(InputError, match="at least 1 clip"):
            sent.generate(wrong[0], wrong[1], frames=wrong[2])


def test_training_rooms_are_never_held_out_ones():
    play = Play(episodes=16, steps=5)
    assert len(play.training.frames) == 16
    from vidbench.worldmodel.rooms.layout import training_seed
    from vidbench.worldmodel.rooms.world import Rooms

    assert not is_held_out(Rooms(16, seed=training_seed(0)).layouts.walls).any()


def test_windows_of_errands_end_in_the_walk():
    windows = Play(errands=True, episodes=32, steps=24).training
    places = windows.places(5)
    last = places[:, 1] + 4
    assert (last > windows._first[places[:, 0]] - 1).all()
    assert (last <= windows._last[places[:, 0]]).all()
    batch = windows.draw(64, 5, np.random.default_rng(0))
    assert batch.goals.min() >= 0
    assert batch.frames.abs().max() <= 1
    with pytest.raises(InputError, match="no window of 99 frames"):
        windows.places(99)


def test_a_recipe_that_cannot_be_meant_is_refused():
    with pytest.raises(InputError, match="one frame at a time"):
        replace(_small(actions=5), beside=3)


def test_commands_train_and_generate(tmp_path, monkeypatch, steered):
    monkeypatch.setattr(plugins.generators(), "_loaded", {"dit-action": SmallAction})
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    done = run.invoke(cli, ["train", "dit-action", "--steps", "3", "--seed", "1"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "100%      3 steps" in done.output
    assert "PSNR" not in done.output
    done = run.invoke(
        cli,
        [
            "generate",
            "dit-action",
            "--n",
            "5",
            "--frames",
            "6",
            "--checkpoint",
            "dit-action.safetensors",
            "-o",
            "clips",
        ],
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "clips/metadata.jsonl").read_text().splitlines()]
    mine = [row for row in rows if row["model"] == "dit-action"]
    assert [row["reference"] for row in mine] == [f"true/{n:04d}.npz" for n in range(5)]
    found = discover(tmp_path / "clips")
    clips = [clip for clip in found.clips if clip.model == "dit-action"]
    assert len(clips) == 5
    told = load_actions(clips[0])
    assert told is not None
    assert len(told) == 5
    assert clips[0].extra["start"] == "0-0"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("train nobody", "no generator is called 'nobody'"),
        ("train dit-action --steps 3 --cpu-seconds 4", "not both"),
        ("train dit-action --steps 3 -o x.pt", "ends in .safetensors"),
        ("train dit-action --steps 3 -o nowhere/x.safetensors", "there is no folder nowhere"),
        ("generate dit-action --checkpoint none.safetensors -o clips", "none.safetensors"),
    ],
)
def test_commands_name_what_is_wrong(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, words.split())
    assert done.exit_code != 0
    assert told in str(done.exception) + done.output
    assert not list(Path(tmp_path).iterdir())
