from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vidbench import wording
from vidbench.results import ClipRow, FindingRow, MetricFacts, ModelScore, Run
from vidbench_reports import html
from vidbench_reports.page import safe_json

VOID = {"meta", "link", "br", "wbr", "img", "input"}


class Page(HTMLParser):
    """An independent reading of the page: elements with their attributes, path and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[dict[str, Any]] = []
        self._open: list[dict[str, Any]] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"left open: {[e['tag'] for e in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = {"tag": tag, "attrs": dict(attrs), "text": "", "inside": tuple(e["tag"] for e in self._open)}
        assert len(element["attrs"]) == len(attrs), f"<{tag}> has an attribute twice"
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1]["tag"] == tag, f"</{tag}> closes <{self._open[-1]['tag']}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element["text"] += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, Any]]:
        """Elements of a tag, by parts of their attributes (class_="x" for class)."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        return [
            e
            for e in self.elements
            if e["tag"] == tag and all(v in (e["attrs"].get(k) or "").split(" ") for k, v in wanted.items())
        ]

    def data(self) -> dict[str, Any]:
        (script,) = self.all("script", id="run-data")
        return json.loads(script["text"])  # type: ignore[no-any-return]


@pytest.fixture
def page(run: Run) -> Page:
    return Page(html.render(run))


def _cells(page: Page) -> dict[tuple[str, str], dict[str, Any]]:
    """Cells of the ranked table by model and metric."""
    models = [e["attrs"]["data-value"] for e in page.all("th", role="rowheader")]
    cells = [e for e in page.all("td", class_="value") if "table" in e["inside"]]
    per_row = len(cells) // len(models)
    return {(models[i // per_row], cell["attrs"]["data-label"].split(" ")[0]): cell for i, cell in enumerate(cells)}


def test_the_table_says_what_the_summary_says(page: Page, run: Run) -> None:
    assert run.summary is not None
    cells = _cells(page)
    assert len(cells) == len(run.summary.scores)
    for score in run.summary.scores:
        cell = cells[score.model, score.metric]
        facts = run.info.metric(score.metric)
        assert facts is not None
        if score.value is None:
            assert cell["attrs"]["data-value"] == ""
            assert f"unscored: {score.reason}" in " ".join(cell["text"].split())
            continue
        assert float(cell["attrs"]["data-value"]) == score.value
        assert wording.number(score.value, wording.digits(facts, run.summary)) in cell["text"]
        assert (f"{score.n_scored}/{score.n_scored + score.n_unscored} clips" in cell["text"]) == (score.n_unscored > 0)
        assert f"{score.n_scored}/{score.n_scored + score.n_unscored} clips scored" in cell["attrs"]["title"]
        if score.low is not None and score.high is not None:
            assert cell["text"].count(" to ") == 1
        assert ("rank " in cell["text"]) == (score.rank is not None and not facts.diagnostic)


def test_models_are_in_order_of_rank_and_metrics_in_their_groups(page: Page, run: Run) -> None:
    assert run.summary is not None
    assert [e["attrs"]["data-value"] for e in page.all("th", role="rowheader")] == list(run.summary.models)
    assert [e["text"].strip() for e in page.all("th", scope="colgroup")] == ["Judged", "Described, not judged"]
    labels = [e["attrs"]["data-label"] for e in page.all("td", class_="value")][: len(run.info.metrics)]
    assert labels[0] == "temporal_flickering ↑"
    assert labels[1] == "frozen_frames ↓"
    assert [label.strip() for label in labels[-3:]] == ["sharpness", "exposure", "motion_magnitude"]


def test_the_best_is_marked_unless_all_are_level(page: Page, run: Run) -> None:
    assert run.summary is not None
    best = {key for key, cell in _cells(page).items() if "best" in cell["attrs"]["class"].split()}
    expected = {
        (s.model, s.metric)
        for s in run.summary.scores
        if s.rank == 1
        and s.metric != "black_frames"
        and (facts := run.info.metric(s.metric)) is not None
        and not facts.diagnostic
    }
    assert best == expected


def test_notes_are_footnotes(page: Page) -> None:
    (note,) = page.all("li", id="note-1")
    assert note["text"].startswith("ground-truth in frechet_frame_distance: all of its clips are in the reference set")
    cell = _cells(page)["ground-truth", "frechet_frame_distance"]
    assert "rank" not in cell["text"]
    assert page.all("a", href="#note-1")


def test_every_metric_tells_how_it_was_made(page: Page, run: Run) -> None:
    cards = page.all("article")
    order = [*wording.judging(run), *wording.describing(run)]
    assert len(cards) == len(order)
    for card, facts in zip(cards, order, strict=True):
        text = " ".join(card["text"].split())
        for told in (facts.summary, facts.protocol, facts.reference, *facts.extractors, *facts.weights.values()):
            assert " ".join(told.split()) in text


def test_text_from_outside_stays_text(run: Run) -> None:
    evil = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>'{{7*7}}<!--"
    summary = run.summary
    assert summary is not None
    info = dataclasses.replace(
        run.info,
        command=evil,
        folder=evil,
        reference=evil,
        created=evil,
        suite=evil,
        suite_hash=evil,
        settings={evil: evil},
        platform={evil: evil},
        inputs={evil: evil},
        plugin_failures=(evil,),
        metrics=tuple(
            dataclasses.replace(
                f,
                summary=evil,
                reference=evil,
                protocol=evil,
                unit=evil,
                extractors=(evil,),
                weights={evil: evil},
                distribution=evil,
                version=evil,
                parameters={evil: evil},
            )
            for f in run.info.metrics
        ),
    )
    scores = tuple(
        dataclasses.replace(s, note=evil, interval=evil, reason=evil if s.value is None else None, reasons={evil: 1})
        for s in summary.scores
    )
    finding = FindingRow("cogvideo", run.clips[0].clip, evil, evil, 0, 1, None, None, evil, limitation=evil)
    hostile = dataclasses.replace(
        run,
        path=run.path.parent / evil.replace("/", "_"),
        info=info,
        summary=dataclasses.replace(summary, scores=scores, rule=evil, warnings=(evil,)),
        clips=tuple(dataclasses.replace(r, prompt=evil, reason=evil, warnings=(evil,)) for r in run.clips),
        findings=(finding,),
    )
    page = Page(html.render(hostile))
    assert [e["attrs"].get("type") for e in page.all("script")] == ["application/json", None]
    assert page.all("img") == []
    assert [name for e in page.elements for name in e["attrs"] if name.startswith("on")] == []
    assert page.data()["clips"][0]["prompt"] == evil
    assert page.data()["clips"][0]["findings"][0]["message"] == evil
    assert "49" not in page.all("h1")[0]["text"]


def test_data_in_the_page_is_the_data_of_the_run(page: Page, run: Run) -> None:
    data = page.data()
    assert [clip["prompt"] for clip in data["clips"]] == [row.prompt for row in run.clips]
    assert sum(len(clip["findings"]) for clip in data["clips"]) == len(run.findings)
    scores = {(s.clip, s.metric): s for s in run.scores}
    for clip, row in zip(data["clips"], run.clips, strict=True):
        for metric, (value, reason, _) in zip(data["metrics"], clip["scores"], strict=True):
            if row.status == "skipped":
                assert value is None
                continue
            expected = scores[row.clip, metric["name"]]
            assert value == (None if expected.value is None else pytest.approx(expected.value, rel=1e-7))
            assert reason == (expected.reason or "")


@given(st.text())
def test_embedded_json_cannot_leave_its_script(text: str) -> None:
    embedded = str(safe_json({"x": text}))
    assert not re.search("[<>&\u2028\u2029]", embedded)
    assert embedded.isascii()
    assert json.loads(embedded) == {"x": text}


def test_the_policy_names_exactly_our_style_and_script(run: Run) -> None:
    text = html.render(run)
    page = Page(text)
    (policy,) = [e["attrs"]["content"] for e in page.all("meta", http_equiv="Content-Security-Policy")]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        # As the browser hashes it: what stands between the tags, to the byte.
        content = text.rpartition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert [e for e in page.elements if "style" in e["attrs"]] == [], "the policy would drop style attributes"


def test_nothing_is_fetched(page: Page) -> None:
    for element in page.elements:
        for name in ("src", "href", "poster", "action", "data", "srcset"):
            target = element["attrs"].get(name)
            assert target is None or target.startswith("#") or target == "data:,", (element["tag"], name, target)
    (style,) = page.all("style")
    assert "url(" not in style["text"]
    assert "@import" not in style["text"]


def test_ids_are_unique_and_links_lead_somewhere(page: Page) -> None:
    ids = [e["attrs"]["id"] for e in page.elements if "id" in e["attrs"]]
    assert len(ids) == len(set(ids))
    targets = {e["attrs"]["href"][1:] for e in page.elements if (e["attrs"].get("href") or "").startswith("#")}
    assert targets <= set(ids)


def test_warnings_of_the_summary_stand_below_the_ranking(page: Page, run: Run) -> None:
    (ranking,) = page.all("section", id="ranking")
    assert run.summary is not None
    assert run.summary.warnings
    assert all(warning in ranking["text"] for warning in run.summary.warnings)


def test_failures_and_what_was_left_out_stand_in_the_page_itself(page: Page, run: Run) -> None:
    (section,) = page.all("section", id="left-out")
    for row in run.clips:
        if row.status != "scored":
            assert wording.plain(row.clip) in section["text"]
            assert row.reason and row.reason in section["text"]
    for left in run.info.left_out:
        assert left.reason in section["text"]
    assert run.info.plugin_failures[0] in section["text"]
    assert "the container promised 20 frames" in section["text"]


def test_a_page_of_sixty_clips_is_small_without_pictures(run: Run) -> None:
    assert len(html.render(run).encode()) < 1_000_000


def _media(page: Page) -> dict[str, bytes]:
    return {e["attrs"]["id"]: base64.b64decode(e["text"], validate=True) for e in page.all("script", type="text/plain")}


def test_pictures_stand_in_the_page(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", clips=2, media=3)
    page = Page(html.render(run))
    inside = _media(page)
    clips = {clip["id"]: clip for clip in page.data()["clips"]}
    pictured = [row for row in run.clips if row.media]
    assert len(pictured) == 3
    for row in pictured:
        media = clips[row.clip]["media"]
        assert media["inside"]
        assert inside[media["strip"]] == (run.path / "media" / f"{row.media}.jpg").read_bytes()
        assert inside[media["video"]] == (run.path / "media" / f"{row.media}.mp4").read_bytes()
        assert tuple(clips[row.clip]["strip"]) == row.strip_frames
    assert len(inside) == 6
    assert "exceed" not in page.all("section", id="clips")[0]["text"]


def test_over_the_budget_clips_with_findings_come_first_and_others_are_linked(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", clips=4, media=4)
    pictured = sorted(row.clip for row in run.clips if row.media)
    last = pictured[-1]
    findings = tuple(FindingRow("cogvideo", last, "m", "freeze", i, i, None, None, "x") for i in range(3))
    run = dataclasses.replace(run, findings=findings)
    stem = next(row.media for row in run.clips if row.clip == last)
    budget = sum(4 * -(-path.stat().st_size // 3) for path in (run.path / "media").glob(f"{stem}.*"))
    page = Page(html.render(run, budget))
    assert sum(len(base64.b64encode(data)) for data in _media(page).values()) <= budget
    by_clip = {clip["id"]: clip["media"] for clip in page.data()["clips"]}
    assert by_clip[last]["inside"]
    for clip in pictured[:-1]:
        assert not by_clip[wording.plain(clip)]["inside"]
        assert (run.path / by_clip[wording.plain(clip)]["video"]).is_file()
        assert (run.path / by_clip[wording.plain(clip)]["strip"]).is_file()
    assert "Pictures of 1 of 4 clips are inside this page" in page.all("section", id="clips")[0]["text"]


def test_a_media_name_cannot_lead_out_of_the_run_folder(run: Run, tmp_path: Path) -> None:
    (run.path / "media").mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    stolen = dataclasses.replace(run.clips[0], media="../../secret")
    page = Page(html.render(dataclasses.replace(run, clips=(stolen, *run.clips[1:]))))
    assert page.data()["clips"][0]["media"] == {"inside": True, "strip": None, "video": None}
    assert _media(page) == {}


def test_lost_pictures_are_no_error(run: Run) -> None:
    gone = dataclasses.replace(run.clips[0], media="0123456789abcdef0123", strip_frames=(0, 5))
    page = Page(html.render(dataclasses.replace(run, clips=(gone, *run.clips[1:]))))
    assert page.data()["clips"][0]["media"]["video"] is None


def test_an_unfinished_run_shows_its_clips_and_no_ranking(unfinished: Run) -> None:
    page = Page(html.render(unfinished))
    assert "not complete" in page.all("div", class_="verdict")[0]["text"]
    assert page.all("table", id="ranked") == []
    assert len(page.data()["clips"]) == len(unfinished.clips)


def test_an_empty_run_is_a_page_too(run: Run) -> None:
    assert run.summary is not None
    empty = dataclasses.replace(
        run,
        clips=(ClipRow("x.mp4", None, "failed"),),
        scores=(),
        findings=(),
        info=dataclasses.replace(run.info, metrics=(), left_out=(), plugin_failures=()),
        summary=dataclasses.replace(run.summary, models=(), scores=(), overall=(), warnings=()),
    )
    assert "No model is ranked" in Page(html.render(empty)).all("div", class_="verdict")[0]["text"]


def test_an_undecodable_name_does_not_stop_the_report(run: Run, tmp_path: Path) -> None:
    odd = dataclasses.replace(run.clips[0], clip="cogvideo/\udcff.mp4", prompt="\udcff", reason="\udcff")
    path = tmp_path / "report.html"
    html.HtmlReport().write(dataclasses.replace(run, clips=(odd, *run.clips[1:])), path)
    assert "cogvideo/\\udcff.mp4" in [c["id"] for c in Page(path.read_text(encoding="utf-8")).data()["clips"]]


def test_the_same_run_gives_the_same_bytes_and_leaves_nothing_else(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    html.HtmlReport().write(run, folder / "report.html")
    first = (folder / "report.html").read_bytes()
    html.HtmlReport().write(run, folder / "report.html")
    assert (folder / "report.html").read_bytes() == first
    assert [p.name for p in folder.iterdir()] == ["report.html"]


finite = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda v: round(v, 6))


@example([(1.0, 1.0, 1.0)], (0.0, 1.0))
@given(st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=6), st.sampled_from([(None, None), (0.0, 1.0)]))
def test_an_axis_holds_everything_that_is_drawn_on_it(
    triples: list[tuple[float, float, float]], bounds: tuple[float | None, float | None]
) -> None:
    if bounds[1] is not None:
        triples = [(abs(a) / 1e6, abs(b) / 1e6, abs(c) / 1e6) for a, b, c in triples]
    facts = MetricFacts("m", "1", "", "", "", True, "1", bounds, "clip", "mean", False, {}, (), {})
    ordered = [sorted(t) for t in triples]
    scores = [ModelScore("a", "m", v, None, lo, hi, "t", 1, 0, {}) for lo, v, hi in ordered]
    axis = html.axis_for(facts, scores)
    assert axis is not None
    for low, value, high in ordered:
        assert axis.low <= low <= high <= axis.high
        assert 0 < axis.at(low) <= axis.at(value) <= axis.at(high) < 100
    places = [x for x, _ in axis.ticks]
    assert places == sorted(places)
    assert len(places) <= 9
    for x, label in axis.ticks:
        assert axis.at(float(label)) == pytest.approx(x, abs=2.5), "a tick stands where its label says"


def _pictures(page: Page) -> list[list[Any]]:
    return [f["picture"] for clip in page.data()["clips"] for f in clip["findings"] if f["picture"] is not None]


def test_pictures_of_findings_stand_in_the_page(run: Run, with_evidence: Callable[[Run], Run]) -> None:
    run = with_evidence(run)
    page = Page(html.render(run))
    by_clip: dict[str, list[FindingRow]] = {}
    for finding in run.findings:
        by_clip.setdefault(wording.plain(finding.clip), []).append(finding)
    seen = 0
    for clip in page.data()["clips"]:
        for shown, finding in zip(clip["findings"], by_clip.get(clip["id"], []), strict=True):
            if finding.evidence is None:
                assert (shown["picture"], shown["unpictured"]) == (None, "only 12 <b>findings</b> get a picture")
                continue
            source, inside = shown["picture"]
            (element,) = page.all("script", id=source)
            assert inside and element["attrs"]["type"] == "text/plain"
            assert base64.b64decode(element["text"]) == (run.path / finding.evidence).read_bytes()
            assert (shown["pictured"], shown["unpictured"]) == ([finding.start, finding.end], None)
            seen += 1
    assert seen == len(run.findings) - 1 > 10
    assert "exceed" not in html.render(run)


def test_over_the_budget_the_most_confident_are_inside_and_the_page_says_where_the_others_lie(
    run: Run, with_evidence: Callable[[Run], Run]
) -> None:
    run = with_evidence(run)
    sure = [f.evidence for f in run.findings if f.confidence is not None and f.evidence is not None]
    assert 0 < len(sure) < len(run.findings) - 1
    budget = sum(4 * math.ceil((run.path / str(name)).stat().st_size / 3) for name in sure)
    page = Page(html.render(run, evidence_budget=budget))
    pictures = _pictures(page)
    assert len(pictures) == len(run.findings) - 1
    inside = {base64.b64decode(page.all("script", id=source)[0]["text"]) for source, within in pictures if within}
    assert inside == {(run.path / str(name)).read_bytes() for name in sure}
    outside = [source for source, within in pictures if not within]
    assert outside and all((run.path / source).is_file() for source in outside)
    (hint,) = [e["text"] for e in page.all("p", class_="hint")]
    assert f"the {len(sure)} most confident are inside this page; the other {len(outside)} exceed 0 MB" in hint
    assert "evidence/ of the run folder" in hint


def test_a_page_with_many_pictures_of_findings_stays_small(run: Run, with_evidence: Callable[[Run], Run]) -> None:
    run = with_evidence(run)
    bare = len(html.render(dataclasses.replace(run, findings=())))
    for number, finding in enumerate(run.findings[:-1]):
        noise = np.random.default_rng(number).integers(0, 256, 300_000, dtype=np.uint8)
        (run.path / str(finding.evidence)).write_bytes(noise.tobytes())
    pictures = _pictures(Page(html.render(run)))
    assert sum(within for _, within in pictures) == html.EVIDENCE_BUDGET // 400_000 == 5
    assert len(html.render(run)) < bare + html.EVIDENCE_BUDGET + 100_000


@pytest.mark.parametrize("name", ["../secret.jpg", "evidence/../../x.jpg", "/etc/passwd", "evidence/gone.jpg", "a.svg"])
def test_no_picture_from_outside_the_folder_is_shown(run: Run, name: str) -> None:
    (run.path.parent / "secret.jpg").write_bytes(b"secret")
    (run.path / "evidence").mkdir()
    finding = dataclasses.replace(run.findings[0], evidence=name)
    text = html.render(dataclasses.replace(run, findings=(finding,)))
    assert base64.b64encode(b"secret").decode() not in text
    page = Page(text)
    assert _pictures(page) == []
    (shown,) = [f for clip in page.data()["clips"] for f in clip["findings"]]
    assert shown["unpictured"] == "its picture is not in the run folder"
