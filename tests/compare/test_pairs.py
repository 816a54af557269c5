"""Which clip stands beside which, and which model."""

from __future__ import annotations

import pytest

from vidbench.compare.sides import clip_name, pair_clips, read_side
from vidbench.compare.verdict import compare
from vidbench.errors import InputError, RunFolderError
from vidbench.results import ClipRow


def clip(name: str, prompt: str | None = None) -> ClipRow:
    return ClipRow(name, name.split("/", maxsplit=1)[0], "scored", prompt=prompt)


def names(pairing):
    return [(pair.before.clip, pair.after.clip) for pair in pairing.pairs]


def test_equal_prompt_and_name_go_before_equal_prompt():
    pairing = pair_clips(
        [clip("a/1.mp4", "cat"), clip("a/2.mp4", "cat"), clip("a/3.mp4", "dog")],
        [clip("b/2.mp4", "cat"), clip("b/1.mp4", "cat"), clip("b/9.mp4", "dog")],
    )
    assert names(pairing) == [("a/1.mp4", "b/1.mp4"), ("a/2.mp4", "b/2.mp4"), ("a/3.mp4", "b/9.mp4")]
    assert pairing.only_before == pairing.only_after == ()


def test_an_equal_name_with_another_prompt_is_no_pair():
    pairing = pair_clips([clip("a/1.mp4", "cat")], [clip("b/1.mp4", "dog")])
    assert pairing.pairs == ()
    assert [row.clip for row in (*pairing.only_before, *pairing.only_after)] == ["a/1.mp4", "b/1.mp4"]


def test_names_pair_where_a_side_has_no_prompt_whatever_the_suffix():
    pairing = pair_clips([clip("a/x/1.mp4"), clip("a/2.mp4")], [clip("b/x/1.gif", "cat"), clip("b/3.mp4")])
    assert names(pairing) == [("a/x/1.mp4", "b/x/1.gif")]
    assert [row.clip for row in pairing.only_before] == ["a/2.mp4"]


def test_every_clip_is_in_one_pair_at_most():
    pairing = pair_clips([clip("a/1.mp4", "cat"), clip("a/2.mp4", "cat")], [clip("b/2.mp4", "cat")])
    assert names(pairing) == [("a/2.mp4", "b/2.mp4")]
    assert [row.clip for row in pairing.only_before] == ["a/1.mp4"]


def test_a_name_has_neither_the_models_folder_nor_the_suffix():
    assert [clip_name(clip(n)) for n in ("m/1.mp4", "1.mp4", "m/scene/1.mp4", "m/frames")] == [
        "1",
        "1",
        "scene/1",
        "frames",
    ]


def test_a_model_may_have_a_colon_in_its_name(runs):
    folder = runs("run", {"x": {"quality_score": [0.1]}, "x:y": {"quality_score": [0.2]}})
    assert read_side(f"{folder}:x:y").models == ("x:y",)
    assert read_side(f"{folder}:x").models == ("x",)
    assert read_side(str(folder)).models == ("x", "x:y")


def test_a_run_folder_may_have_a_colon_in_its_name(runs):
    folder = runs("run:x", {"m": {"quality_score": [0.1]}})
    assert not read_side(str(folder)).chosen


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("one", "one", "both sides are the run"),
        ("one:a", "one:a", "same model of the same run"),
        ("one:z", "one:b", "has no model 'z'; its models are a, b"),
        ("one", "other", "have no model in common"),
        ("one", "other:c", "has several models"),
        ("nowhere", "other", "is not a run folder"),
        ("unfinished", "other", "is not complete"),
    ],
)
def test_what_cannot_be_compared_says_why(runs, tmp_path, before, after, told):
    runs("one", {"a": {"quality_score": [0.1, 0.2]}, "b": {"quality_score": [0.3, 0.4]}})
    runs("other", {"c": {"quality_score": [0.1, 0.2]}, "d": {"quality_score": [0.1, 0.2]}})
    runs("unfinished", {"c": {"quality_score": [0.1, 0.2]}}, complete=False)
    with pytest.raises((InputError, RunFolderError), match=told):
        compare(read_side(f"{tmp_path}/{before}"), read_side(f"{tmp_path}/{after}"))


def test_models_of_equal_name_are_compared_and_the_others_named(runs):
    one = runs("one", {m: {"quality_score": [0.1, 0.2]} for m in ("a", "b", "old")})
    two = runs("two", {m: {"quality_score": [0.1, 0.3]} for m in ("a", "b", "new")})
    done = compare(read_side(str(one)), read_side(str(two)))
    assert [(m.before, m.after) for m in done.models] == [("a", "a"), ("b", "b")]
    assert (done.only_before, done.only_after) == (("old",), ("new",))


def test_single_models_are_compared_whatever_they_are_called(runs):
    one, two = (runs(name, {name: {"quality_score": [0.1, 0.2]}}) for name in ("v1", "v2"))
    done = compare(read_side(str(one)), read_side(str(two)))
    assert [(m.before, m.after) for m in done.models] == [("v1", "v2")]


def test_no_pair_of_clips_is_an_error(runs):
    one = runs("one", {"m": {"quality_score": [0.1, 0.2]}})
    two = runs("two", {"m": {"quality_score": [0.1, 0.2]}}, prompts=lambda i: f"another {i}")
    with pytest.raises(InputError, match="there are no pairs"):
        compare(read_side(str(one)), read_side(str(two)))
