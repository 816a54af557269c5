"""The physics suite as a folder: what is in it, that it repeats, and what is refused."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vidbench.clips import discover
from vidbench.errors import InputError, MissingExtraError
from vidbench_suites.physics import make as suite

from .conftest import needs

KEYS = {
    "clip", "pair", "look", "possible", "kind", "variant", "control", "nuisance", "frames", "fps", "width", "height",
    "start", "end", "boxes", "tracks", "gravity", "pixels_per_meter",
}  # fmt: skip


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "truth.jsonl").read_text().splitlines()]


def test_every_kind_has_a_pair_and_every_control_a_clip(whole_set):
    rows = rows_of(whole_set)
    kinds = [
        "vanish", "appear", "swap", "no_reappearance", "gravity_reversed", "hover", "slow_fall", "energy_gain",
        "time_reversed", "teleport", "velocity_jump", "pass_through", "freeze", "jump_cut", "flicker",
    ]  # fmt: skip
    controls = [
        "leave_enter", "occlusion", "pan", "zoom", "shake", "light", "blur", "compression", "noise", "rest",
        "projectile", "crossing", "collision", "bounce", "wall_stop",
    ]  # fmt: skip
    assert sorted(row["kind"] for row in rows if not row["possible"]) == sorted(kinds)
    assert sorted(row["control"] for row in rows if row["control"]) == sorted(controls)
    for row in rows:
        twins = [other for other in rows if other["pair"] == row["pair"]]
        assert [other["possible"] for other in twins] == ([True] if row["control"] else [False, True])


def test_truth_says_what_the_contract_asks(whole_set):
    for row in rows_of(whole_set):
        assert set(row) == KEYS
        assert row["clip"].startswith(f"{row['look']}/")
        assert 12 <= row["frames"] <= suite.Options().scene.get("frames", 72)
        assert all(len(track["boxes"]) == row["frames"] for track in row["tracks"])
        for box in [b for track in row["tracks"] for b in track["boxes"] if b] + [b["box"] for b in row["boxes"]]:
            assert 0 <= box[0] < box[2] <= row["width"]
            assert 0 <= box[1] < box[3] <= row["height"]
        if row["possible"]:
            assert row["kind"] is row["variant"] is row["start"] is row["end"] is None
            assert row["boxes"] == []
        else:
            assert 0 <= row["start"] <= row["end"] < row["frames"]
            assert all(row["start"] <= box["frame"] <= row["end"] for box in row["boxes"])
            whole = row["kind"] in {"freeze", "jump_cut"} or row["variant"] == "global"
            assert bool(row["boxes"]) != whole


def test_the_folder_is_a_clip_folder_and_metadata_agrees_with_truth(whole_set):
    folder = discover(whole_set)
    rows = {row["clip"]: row for row in rows_of(whole_set)}
    assert {clip.id for clip in folder.clips} == set(rows)
    for clip in folder.clips:
        assert clip.model == rows[clip.id]["look"]
        assert clip.fps == rows[clip.id]["fps"]
        assert clip.pixels_per_meter == rows[clip.id]["pixels_per_meter"]
        if clip.pixels_per_meter:
            assert rows[clip.id]["gravity"] == pytest.approx(9.81 * clip.pixels_per_meter, rel=1e-4)


def test_equal_seeds_give_equal_bytes_whatever_else_is_rendered(look, options, tmp_path):
    few = replace(options, looks=(look,), kinds=("teleport",), control_names=("rest",))
    more = replace(few, kinds=("vanish", "teleport"), control_names=())
    suite.make(tmp_path / "a", few)
    suite.make(tmp_path / "b", more)
    suite.make(tmp_path / "c", replace(few, seed=few.seed + 1, control_names=()))
    clips = {name: sorted((tmp_path / name / look).glob("*teleport*")) for name in "abc"}
    assert [len(found) for found in clips.values()] == [2, 2, 2]
    for one, two, other in zip(*clips.values(), strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.read_bytes() != other.read_bytes()


def test_two_jobs_make_what_one_makes(options, tmp_path):
    needs("flat2d")
    few = replace(options, looks=("flat2d",), kinds=("vanish", "freeze"), control_names=())
    suite.make(tmp_path / "one", few)
    suite.make(tmp_path / "two", replace(few, jobs=2))
    for name in ("truth.jsonl", "metadata.csv", "flat2d/0001-freeze-impossible.mp4"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_looks_rendered_later_join_those_that_are_there(options, tmp_path):
    needs("flat2d")
    few = replace(options, kinds=("vanish",), control_names=())
    suite.make(tmp_path / "set", replace(few, looks=("flat2d",), pairs=2))
    suite.make(tmp_path / "set", replace(few, looks=("composite",)))
    assert [row["look"] for row in rows_of(tmp_path / "set")] == ["composite"] * 2 + ["flat2d"] * 4
    suite.make(tmp_path / "set", replace(few, looks=("flat2d",)))
    names = {row["clip"] for row in rows_of(tmp_path / "set")}
    assert names == {f"{p.parent.name}/{p.name}" for p in (tmp_path / "set").glob("*/*.mp4")}
    with (tmp_path / "set" / "metadata.csv").open() as file:
        assert {row["file_name"] for row in csv.DictReader(file)} == names


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"looks": ("lit2d",)}, "unknown look 'lit2d'; did you mean lit3d"),
        ({"looks": ("oil",)}, "unknown look 'oil'; there are: lit3d, flat2d, composite"),
        ({"kinds": ("vanishing",)}, "unknown kind 'vanishing'; did you mean vanish"),
    ],
)
def test_unknown_names_get_a_hint(options, tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        suite.make(tmp_path / "set", replace(options, **change))
    assert not (tmp_path / "set").exists()


def test_a_foreign_folder_is_left_alone(options, tmp_path):
    needs("flat2d")
    (tmp_path / "mine.mp4").write_bytes(b"precious")
    with pytest.raises(
        InputError, match=r"is not empty and was not made by `vidbench physics make`; choose another -o"
    ):
        suite.make(tmp_path, replace(options, looks=("flat2d",)))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.mp4"]
    with pytest.raises(InputError, match="is a file; choose another -o"):
        suite.make(tmp_path / "mine.mp4", replace(options, looks=("flat2d",)))


@pytest.mark.parametrize(("look", "module"), [("flat2d", "pymunk"), ("lit3d", "mujoco"), ("composite", "pymunk")])
def test_a_missing_engine_names_the_pip_line(options, tmp_path, monkeypatch, look, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"needs the extra 'physics': pip install 'vidbench\[physics\]'"):
        suite.make(tmp_path / "set", replace(options, looks=(look,)))


def test_composites_without_footage_say_what_to_give(options, tmp_path):
    needs("composite")
    (tmp_path / "empty").mkdir()
    for folder, words in ((tmp_path / "empty", "holds no video"), (tmp_path / "none", "is not a folder")):
        with pytest.raises(InputError, match=words):
            suite.make(tmp_path / "set", replace(options, looks=("composite",), backgrounds=folder))
    (tmp_path / "empty" / "broken.mp4").write_bytes(b"no video at all")
    with pytest.raises(InputError, match=r"background .*broken\.mp4 cannot be read"):
        suite.make(tmp_path / "set", replace(options, looks=("composite",), backgrounds=tmp_path / "empty"))


def test_the_command_makes_a_set_and_reports_wrong_use_in_one_line(vidbench, tmp_path):
    needs("flat2d")
    words = ("physics", "make", "--seed", 1, "-o", tmp_path / "set", "--looks", "flat2d", "--pairs", 0, "--controls", 0)
    done = vidbench(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"made 0 clips in {tmp_path / 'set'}: truth.jsonl, metadata.csv\n"
    wrong = vidbench("physics", "make", "-o", tmp_path / "set", "--kinds", "teleprot")
    assert wrong.returncode == 2
    assert wrong.stderr == "vidbench: unknown kind 'teleprot'; did you mean teleport?\n"
    page = vidbench("physics", "--help")
    assert "make" in page.stdout
