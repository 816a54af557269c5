"""Broken baselines: each is wrong in the one way it says, and right in all others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidbench import baselines
from vidbench.baselines import BASELINES, named, plan, write_folder
from vidbench.clips import Clip, discover, load_actions
from vidbench.damage import damage
from vidbench.errors import InputError
from vidbench.results import load_run
from vidbench.video import ClipReader, encode_h264


def pixels(path: Path | None) -> np.ndarray:
    assert path is not None
    with ClipReader(Clip("x", path, "m")) as reader:
        return np.concatenate([frames.pixels for frames in reader])


def actions_of(clip: Clip) -> np.ndarray:
    return np.asarray(load_actions(clip))


@pytest.fixture
def folder(tmp_path: Path, moving_square) -> Path:
    """Two models, three prompts, actions, and true clips beside them."""
    root = tmp_path / "clips"
    rows = []
    for model in ("a", "b"):
        for number in range(3):
            name = f"{model}/{number}.mp4"
            for file in (name, f"true/{number}.mp4"):
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                encode_h264(root / file, moving_square(10, 48, 64, seed=number), 8.0)
            rows.append(
                {
                    "file_name": name,
                    "prompt": f"scene {number}",
                    "reference": f"true/{number}.mp4",
                    "actions": [number] * 9,
                    "seed": 7,
                    "style": "sketch",
                }
            )
    (root / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return root


def test_every_baseline_is_its_damage_at_full_strength(folder, tmp_path):
    written = write_folder(discover(folder), tmp_path / "out", most=2)
    assert dict(written.clips) == dict.fromkeys(BASELINES, 2)
    made = discover(tmp_path / "out")
    for clip in made.clips:
        if clip.model == "reference":
            continue
        baseline = BASELINES[clip.model.removeprefix("baseline:")]
        source = pixels(folder / clip.extra["baseline_of"])
        if baseline.damage is None:
            assert np.array_equal(pixels(clip.path), source)
        elif baseline.name != "noise" and baseline.name != "flicker":  # those are random; the next test looks at them
            expected = damage(baseline.damage, source, 1.0, seed=_seed(folder / clip.extra["baseline_of"]))
            # What the encoder loses is small against what the damage does.
            assert np.abs(pixels(clip.path).astype(int) - expected).mean() < 2


def _seed(path: Path) -> int:
    import hashlib

    return int(hashlib.sha256(path.read_bytes()).hexdigest()[:8], 16)


def test_noise_and_flicker_are_as_strong_as_they_say(folder, tmp_path):
    write_folder(discover(folder), tmp_path / "out", ["noise", "flicker"], most=1)
    for clip in discover(tmp_path / "out").clips:
        if clip.model == "reference":
            continue
        source, broken = pixels(folder / clip.extra["baseline_of"]).astype(float), pixels(clip.path).astype(float)
        if clip.model == "baseline:noise":
            assert 30 < (broken - source).std() < 70
        else:
            gains = broken.mean(axis=(1, 2, 3)) / source.mean(axis=(1, 2, 3))
            assert gains.max() - gains.min() > 0.3


def test_prompt_seed_actions_reference_and_further_columns_are_kept(folder, tmp_path):
    write_folder(discover(folder), tmp_path / "out", ["frozen"])
    sources = {clip.id: clip for clip in discover(folder).clips}
    for clip in discover(tmp_path / "out").clips:
        if clip.model == "reference":
            continue
        source = sources[clip.extra["baseline_of"]]
        assert (clip.prompt, clip.seed, clip.extra["style"]) == (source.prompt, 7, "sketch")
        assert np.array_equal(actions_of(clip), actions_of(source))
        assert np.array_equal(pixels(clip.reference), pixels(source.reference))
        assert clip.reference.is_relative_to((tmp_path / "out").resolve())


def test_wrong_prompts_and_actions_are_another_clips(folder, tmp_path):
    write_folder(discover(folder), tmp_path / "out", ["wrong-prompt", "wrong-actions"])
    sources = {clip.id: clip for clip in discover(folder).clips}
    prompts = {clip.prompt for clip in sources.values()}
    found = [clip for clip in discover(tmp_path / "out").clips if clip.model != "reference"]
    assert len(found) == 6
    for clip in found:
        source = sources[clip.extra["baseline_of"]]
        if clip.model == "baseline:wrong-prompt":
            assert clip.prompt != source.prompt
            assert clip.prompt in prompts
            assert np.array_equal(actions_of(clip), actions_of(source))
        else:
            assert clip.prompt == source.prompt
            assert len(actions_of(clip)) == len(actions_of(source)) == 9
            assert not np.array_equal(actions_of(clip), actions_of(source))


def test_scenes_enter_once_from_the_models_in_turn(folder, tmp_path):
    planned = plan(discover(folder), tmp_path, ["frozen"])
    assert [item.source.id for item in planned.clips] == ["a/0.mp4", "b/1.mp4", "a/2.mp4"]
    assert [item.clip.id for item in planned.clips] == [f"baseline:frozen/{i}.mp4" for i in range(3)]
    few = plan(discover(folder), tmp_path, ["frozen"], most=2)
    assert [item.source.prompt for item in few.clips] == ["scene 0", "scene 2"]
    avoided = plan(discover(folder), tmp_path, ["frozen"], avoid={f"b/{i}.mp4" for i in range(3)})
    assert [item.source.model for item in avoided.clips] == ["a"] * 3


def test_clips_of_one_name_do_not_overwrite_each_other(tmp_path):
    clips = [Clip(f"m/{place}/1.mp4", tmp_path / "x.mp4", "m", prompt=place) for place in ("x", "y", "z")]
    folder = replace(_empty(tmp_path), clips=tuple(clips))
    files = [item.clip.path.name for item in plan(folder, tmp_path, ["frozen"]).clips]
    assert files == ["1.mp4", "1-2.mp4", "1-3.mp4"]


def _empty(root: Path):
    from vidbench.clips import ClipFolder

    return ClipFolder(root, ())


def test_baselines_are_not_made_of_baselines(tmp_path):
    clips = (Clip("baseline:frozen/1.mp4", tmp_path / "x.mp4", "baseline:frozen"),)
    assert plan(replace(_empty(tmp_path), clips=clips), tmp_path, ["frozen"]).clips == ()


@pytest.mark.parametrize(
    ("name", "changed", "told"),
    [
        ("wrong-prompt", {"prompt": "all the same"}, "two different prompts"),
        ("wrong-actions", {"actions": None}, "needs actions"),
        ("wrong-actions", {"actions": (1, 1, 1)}, "needs actions that differ"),
    ],
)
def test_what_the_clips_do_not_allow_is_left_out_with_the_reason(folder, tmp_path, name, changed, told):
    found = discover(folder)
    same = replace(found, clips=tuple(replace(clip, **changed) for clip in found.clips))
    planned = plan(same, tmp_path, [name, "frozen"])
    assert list(planned.left_out) == [name]
    assert told in planned.left_out[name]
    assert {item.baseline.name for item in planned.clips} == {"frozen"}


def test_arrays_stay_exact(tmp_path, moving_square):
    (tmp_path / "clips" / "m").mkdir(parents=True)
    np.save(tmp_path / "clips" / "m" / "0.npy", moving_square(6, 33, 47, seed=1))
    write_folder(discover(tmp_path / "clips"), tmp_path / "out", ["reversed"])
    (clip,) = discover(tmp_path / "out").clips
    assert np.array_equal(np.load(clip.path), moving_square(6, 33, 47, seed=1)[::-1])


def test_a_clip_too_large_for_memory_is_cut(tmp_path, moving_square, monkeypatch):
    monkeypatch.setattr(baselines, "MOST_BYTES", 5 * 48 * 64 * 3)
    (tmp_path / "m").mkdir()
    np.save(tmp_path / "m" / "0.npy", moving_square(9, 48, 64, seed=1))
    write_folder(discover(tmp_path), tmp_path / "out", ["shuffled"])
    (clip,) = discover(tmp_path / "out").clips
    assert len(np.load(clip.path)) == 5


def test_what_is_there_is_kept_and_what_changed_is_made_again(folder, tmp_path, moving_square):
    write_folder(discover(folder), tmp_path / "out", ["frozen"])
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "frozen").iterdir()}
    encode_h264(folder / "a" / "0.mp4", moving_square(10, 48, 64, seed=9), 8.0)
    write_folder(discover(folder), tmp_path / "out", ["frozen"])
    changed = [p.name for p, t in before.items() if p.stat().st_mtime_ns != t]
    assert changed == ["0.mp4"]


def test_a_broken_source_is_named_and_costs_nothing_else(folder, tmp_path):
    (folder / "b" / "1.mp4").write_bytes(b"no video")
    written = write_folder(discover(folder), tmp_path / "out", ["frozen", "noise"])
    assert dict(written.clips) == {"frozen": 2, "noise": 2}
    assert set(written.failed) == {"baseline:frozen/1.mp4", "baseline:noise/1.mp4"}
    assert all(reason.startswith("its source b/1.mp4 ") for reason in written.failed.values())


def test_names():
    assert named("all") == tuple(BASELINES)
    assert named("frozen, baseline:noise,frozen") == ("frozen", "noise")
    for text in ("frosen", ""):
        with pytest.raises(InputError, match="there are: all, frozen, shuffled"):
            named(text)


def test_the_command_writes_a_folder_that_a_run_takes(vidbench, folder, tmp_path):
    out = tmp_path / "broken"
    done = vidbench("baselines", folder, "-o", out, "--only", "frozen,wrong-prompt", "--most", 2)
    assert done.returncode == 0, done.stderr
    assert "baseline:frozen: 2 clips" in done.stdout
    again = vidbench("baselines", folder, "-o", out, "--only", "frozen")
    assert again.returncode == 0
    run = vidbench("run", out, "--metrics", "frozen_frames", "--out", tmp_path / "run", "--no-media", "-j", 1)
    assert run.returncode == 0, run.stderr
    assert load_run(tmp_path / "run").summary.score("baseline:frozen", "frozen_frames").value > 0.9


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("clips", "-o", "clips/inside"), "lies within"),
        (("clips", "-o", "taken"), "was not made by `vidbench baselines`"),
        (("clips", "-o", "out", "--only", "frosen"), "no baseline is called 'frosen'"),
        (("nowhere", "-o", "out"), "nowhere"),
    ],
)
def test_wrong_use_is_one_line_and_2(vidbench, folder, tmp_path, arguments, told):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine", encoding="utf-8")
    done = vidbench("baselines", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_scores_baselines_beside_its_models_without_ranking_them(vidbench, folder, tmp_path):
    arguments = ("run", folder, "--out", tmp_path / "run", "--baselines", "frozen,shuffled,wrong-prompt", "-j", 1)
    metrics = ("--metrics", "temporal_flickering,frozen_frames", "--no-media")
    done = vidbench(*arguments, *metrics)
    assert done.returncode == 0, done.stderr
    run = load_run(tmp_path / "run")
    broken = [m for m in run.summary.models if m.startswith("baseline:")]
    assert broken == ["baseline:frozen", "baseline:shuffled", "baseline:wrong-prompt"]
    assert all(o.rank is None for o in run.summary.overall if o.model in broken)
    assert all(s.rank is None for s in run.summary.scores if s.model in broken)
    assert {o.rank for o in run.summary.overall if o.model not in broken} <= {1, 2, 3}
    # A still picture does not flicker: the metric can't see that nothing moves, and the run says so.
    (flag,) = [f for f in run.summary.flags if f.metric == "temporal_flickering" and f.baseline == "frozen"]
    assert set(flag.above) == {"a", "b", "true"}
    assert "temporal_flickering puts broken baselines above models: frozen above a, b, true" in done.stdout
    assert not [f for f in run.summary.flags if f.metric == "frozen_frames" and f.baseline == "frozen"]
    # Right pixels with a wrong prompt are nothing that a metric of pixels could see.
    assert not [f for f in run.summary.flags if f.baseline == "wrong-prompt"]
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Does not see frozen:" in text
    assert "a broken baseline: not ranked" in text

    resumed = vidbench(*arguments, *metrics)
    assert "resuming: 18 of 18 clips are finished" in resumed.stderr
    other = vidbench("run", folder, "--out", tmp_path / "run", *metrics)
    assert other.returncode == 2
    assert "with other baselines" in other.stderr


def test_a_baseline_that_a_metric_refuses_does_not_make_the_run_incomplete(vidbench, folder, tmp_path):
    done = vidbench(
        "run", folder, "--out", tmp_path / "run", "--metrics", "psnr", "--baselines", "frozen", "--no-media", "-j", 1
    )
    scores = load_run(tmp_path / "run").summary
    assert scores.score("baseline:frozen", "psnr").value is not None
    assert done.returncode == 3  # `true` has no true clips of its own
    assert "baseline" not in done.stderr.split("required and unscored")[0].splitlines()[-1]
