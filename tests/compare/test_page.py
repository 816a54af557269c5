"""The page and the command: text stays text, nothing is fetched, nothing outside a run folder is read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from vidbench.compare import compare, read_side
from vidbench.compare.words import headline, signed
from vidbench.results import FindingRow
from vidbench_reports.comparison import render

NASTY = "<script>alert(1)</script>\"'&\u202e</title>"


class Reader(HTMLParser):
    """Elements and text of a page, read independently."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def sides(runs):
    """A run that got better, with hostile names and a finding in each run."""
    found = FindingRow("m", "m/00.mp4", "quality_score", NASTY, 1, 2, 0.1, 0.2, NASTY, 0.9, NASTY)
    values = [0.1, 0.2, 0.25, 0.4, 0.3, 0.2]
    old = runs(
        "old", {"m": {"quality_score": values}}, [runs.quality], prompts=lambda i: f"{NASTY}{i}", findings=[found]
    )
    new = runs(
        "new",
        {"m": {"quality_score": [v + 0.3 + v / 10 for v in values]}},
        [runs.quality],
        prompts=lambda i: f"{NASTY}{i}",
        findings=[replace(found, kind="teleport", evidence="evidence/../../secret.jpg")],
        clip={"media": "../secret"},
        left_out=(),
        command=NASTY,
    )
    return read_side(str(old)), read_side(str(new))


def test_hostile_names_stay_text_and_nothing_is_fetched(sides):
    page = Reader(render(compare(*sides)))
    assert not [tag for tag, _ in page.elements if tag in ("script", "iframe", "object", "embed")]
    assert not [a for _, attrs in page.elements for a in attrs if a.startswith("on")]
    for _, attributes in page.elements:
        for name in ("src", "href"):
            assert re.match(r"#|data:|$", attributes.get(name) or ""), attributes
    assert NASTY.replace("\u202e", "\\u202e") in page.text
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "script" not in policy


def test_no_file_outside_the_run_folder_is_read(sides, tmp_path):
    for name in ("media", "evidence"):
        (tmp_path / "new" / name).mkdir()
    for place in (tmp_path / "secret.jpg", tmp_path / "new" / "secret.jpg"):
        place.write_bytes(b"secret")
    assert "data:image/jpeg" not in render(compare(*sides))


def test_pictures_of_both_sides_stand_side_by_side_within_the_budget(runs):
    folders = []
    for name, value in (("old", 0.2), ("new", 0.5)):
        folder = runs(name, {"m": {"quality_score": [value, value + 0.1, 0.3]}}, clip={"media": name})
        (folder / "media").mkdir()
        (folder / "media" / f"{name}.jpg").write_bytes(name.encode() * 100)
        folders.append(read_side(str(folder)))
    comparison = compare(*folders)
    page = render(comparison)
    assert page.count("data:image/jpeg;base64,b2xk") == page.count("data:image/jpeg;base64,bmV3") == 2
    assert "data:image/jpeg" not in render(comparison, pictures=100)
    assert "4 pictures did not fit into the page" in render(comparison, pictures=100)


def test_every_number_of_the_table_stands_on_the_page(sides):
    comparison = compare(*sides)
    text = Reader(render(comparison)).text
    (change,) = comparison.models[0].metrics
    for value in (change.before, change.after):
        assert f"{value:.4f}" in text
    for value in (change.difference, change.low, change.high):
        assert value is not None
        assert signed(value, 4) in text
    assert headline(comparison.models[0]) in text


def test_headline_says_what_is_known(runs, sides):
    assert headline(compare(*sides).models[0]) == "m: over 6 pairs of clips, quality_score got better."
    same = compare(
        sides[0],
        read_side(str(runs("copy", {"m": {"quality_score": [0.1]}}, [runs.quality], prompts=lambda i: f"{NASTY}0"))),
    )
    assert "none of 1 metric that judges tells the two apart: every score is equal." in headline(same.models[0])


def test_the_command_prints_json_and_writes_the_page(vidbench, sides, tmp_path):
    page = tmp_path / "page.html"
    done = vidbench("compare", str(tmp_path / "old"), str(tmp_path / "new"), "--json", "--out", str(page))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    (metric,) = told["models"][0]["metrics"]
    assert metric["verdict"] == "better"
    assert metric["difference"] == pytest.approx(0.3 + sum([0.1, 0.2, 0.25, 0.4, 0.3, 0.2]) / 60)
    assert [f["new"] for f in told["models"][0]["findings"]] == [True, False]
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_command_shows_tables(vidbench, sides, tmp_path):
    done = vidbench("compare", str(tmp_path / "old"), f"{tmp_path / 'new'}:m")
    assert done.returncode == 0, done.stderr
    assert re.search(r"quality_score ↑ *│ 0\.2417 │ 0\.5658 │ +\+0\.3242 │", done.stdout)
    assert "new: 1 finding" in done.stdout
    assert "gone: 1 finding" in done.stdout
    assert "<script>" in done.stdout
    assert "\u202e" not in done.stdout


def test_other_settings_end_with_2_and_name_the_difference(vidbench, runs, tmp_path):
    runs("a", {"m": {"quality_score": [0.1, 0.2]}}, [runs.quality])
    runs("b", {"m": {"quality_score": [0.1, 0.3]}}, [replace(runs.quality, protocol="other")])
    folders = str(tmp_path / "a"), str(tmp_path / "b")
    done = vidbench("compare", *folders)
    assert (done.returncode, done.stdout) == (2, "")
    assert "protocol: plain before, other after" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    mixed = vidbench("compare", *folders, "--allow-mixed")
    assert mixed.returncode == 0
    assert "settings differ" in mixed.stdout
    assert "shown without verdict: quality_score: protocol: plain before, other after" in mixed.stdout
