from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from vidbench import wording
from vidbench.results import ClipRow, Run
from vidbench_reports import markdown

HOSTILE = "<img src=x onerror=alert(1)> a|b `c` *d* _e_ [f](http://g) # h\n- i & &amp; ~~j~~ \\"


def _parsed(text: str) -> list[Token]:
    """As GitHub would: an independent reader of CommonMark with tables, raw HTML let through."""
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def _tables(text: str) -> list[list[list[Token]]]:
    """Inline tokens by table, row and cell."""
    tables: list[list[list[Token]]] = []
    for token, after in zip(_parsed(text), [*_parsed(text)[1:], None], strict=True):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in ("th_open", "td_open") and after is not None:
            tables[-1][-1].append(after)
    return tables


def _shown(token: Token) -> str:
    """What a reader sees of an inline token."""
    return "".join("\n" if c.content == "<br>" else c.content for c in token.children or [])


def test_the_ranked_table_has_models_values_intervals_and_coverage(run: Run) -> None:
    ranked, described, *_ = _tables(markdown.render(run))
    assert [len(row) for row in ranked] == [9] * 6, "rank, model, mean rank and 6 metrics; 5 models below the header"
    assert [len(row) for row in described] == [4] * 6
    header = [_shown(cell) for cell in ranked[0]]
    assert header[3:5] == ["temporal_flickering ↑", "frozen_frames ↓\nshare of frames"]
    assert run.summary is not None
    for row, place in zip(ranked[1:], run.summary.overall, strict=True):
        assert _shown(row[0]) == str(place.rank)
        assert _shown(row[1]) == place.model
        score = run.summary.score(place.model, "temporal_flickering")
        assert score is not None and score.value is not None and score.low is not None and score.high is not None
        value, facts = _shown(row[3]).split("\n")
        assert value == f"{score.value:.4f}"
        assert facts.startswith(f"[{score.low:.4f}, {score.high:.4f}] · rank ")
        assert (f"{score.n_scored}/" in facts.split(" · ")[-1]) == (score.n_unscored > 0)
        bold = any(c.type == "strong_open" for c in row[3].children or [])
        assert bold == (score.rank == 1)
        level = any(c.type == "strong_open" for c in row[5].children or [])
        assert not level, "in black_frames nobody stands out"


def test_what_has_no_value_says_why(run: Run) -> None:
    ranked = _tables(markdown.render(run))[0]
    psnr = [_shown(row[-1]) for row in ranked[1:]]
    assert all(cell.startswith("unscored: has no reference clip") for cell in psnr)


def test_left_out_failed_and_skipped_files_are_named(run: Run) -> None:
    text = markdown.render(run)
    _, left, failed, skipped = _tables(text)[2:]  # the first are the findings
    assert _shown(left[1][1]) == "needs each clip's true clip: add a 'reference' column to metadata.csv"
    assert {_shown(row[0]) for row in failed[1:]} == {
        "cogvideo/<script>alert(3)</script>.mp4",
        "modelscope/\\u202egnp.4pm",
        "zeroscope/empty 'file'.mp4",
    }
    assert _shown(skipped[1][0]) == "ratings.csv"
    assert "the container promised 20 frames" in text


def test_the_only_html_is_ours(run: Run) -> None:
    html = [c.content for t in _parsed(markdown.render(run)) for c in [t, *(t.children or [])] if "html" in c.type]
    assert set(html) == {"<br>"}


@pytest.mark.parametrize("text", [HOSTILE, "- item", "1. item", "+x", "# head", "> quote", "    code", "|", "<!--"])
def test_a_hostile_name_shows_as_it_is(text: str, run: Run) -> None:
    failed = ClipRow(text, "m", "failed", text)
    render = markdown.render(dataclasses.replace(run, clips=(failed,), summary=None))
    cells = _tables(render)[-1][1]
    assert [_shown(c) for c in cells] == [text.strip().replace("\n", "\\n")] * 2
    assert all(c.type in ("text", "text_special") for cell in cells for c in cell.children or [])


@example("- item")
@example("1. item")
@example("12) item")
@given(st.text(min_size=1, max_size=40))
def test_any_text_is_one_paragraph_of_plain_text(text: str) -> None:
    tokens = _parsed(markdown.escape(text).strip() or "x")
    assert [t.type for t in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {c.type for c in tokens[1].children or []} <= {"text", "text_special"}


def test_an_unfinished_run_has_no_table(unfinished: Run) -> None:
    text = markdown.render(unfinished)
    assert "not complete" in text
    assert "## Ranking" not in text


def test_a_command_with_fences_stays_in_its_block(run: Run) -> None:
    info = dataclasses.replace(run.info, command="vidbench run '```' && <b>\n# x")
    fences = [t for t in _parsed(markdown.render(dataclasses.replace(run, info=info))) if t.type == "fence"]
    assert [t.content for t in fences] == ["vidbench run '```' && <b>\\n# x\n"]


def test_writing_replaces_the_file_whole(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text("old" * 10000)
    markdown.MarkdownReport().write(run, path)
    assert path.read_text(encoding="utf-8") == markdown.render(run) + "\n"
    assert [p.name for p in tmp_path.glob("*.tmp")] == []


def test_findings_are_listed_with_links_to_their_pictures(run: Run, with_evidence: Callable[[Run], Run]) -> None:
    run = with_evidence(run)
    text = markdown.render(run)
    table = next(t for t in _tables(text) if _shown(t[0][0]) == "clip")
    assert [_shown(cell) for cell in table[0]] == ["clip", "what", "when", "in words", "confidence", "picture"]
    assert len(table) - 1 == min(len(run.findings), markdown.MANY_FINDINGS)
    first = next(f for f in run.findings if f.confidence == max(g.confidence or 0 for g in run.findings))
    row = [_shown(cell) for cell in table[1]]
    assert row[:2] == [wording.plain(first.clip), first.kind]
    assert row[2].startswith(f"frame {first.start}" if first.start == first.end else f"frames {first.start} to ")
    assert row[3].startswith("the picture jumps here <b>at once</b>\ncan't tell: whether it was meant")
    assert row[4] == "91%"
    links = [
        child.attrGet("href") for cells in table[1:] for child in cells[5].children or [] if child.type == "link_open"
    ]
    assert set(links) <= {f.evidence for f in run.findings}
    assert len(links) >= len(table) - 2
    assert f"and {len(run.findings) - markdown.MANY_FINDINGS} more in findings.jsonl" in text


def test_a_finding_without_a_picture_says_why_and_hostile_names_are_no_links(run: Run) -> None:
    rows = [
        dataclasses.replace(run.findings[0], evidence="javascript:alert(1)"),
        dataclasses.replace(run.findings[0], evidence="evidence/../../x.jpg"),
        dataclasses.replace(run.findings[0], no_evidence=HOSTILE, message=HOSTILE, kind=HOSTILE, limitation=""),
    ]
    text = markdown.render(dataclasses.replace(run, findings=tuple(rows)))
    table = next(t for t in _tables(text) if _shown(t[0][0]) == "clip")
    inline = [child for cells in table[1:] for cell in cells for child in cell.children or []]
    assert not [child for child in inline if child.type in ("link_open", "image", "em_open", "strong_open")]
    assert {child.content for child in inline if child.type == "html_inline"} <= {"<br>"}
    assert [_shown(cells[5]) for cells in table[1:]] == ["none", "none", wording.plain(HOSTILE)]
    assert [_shown(table[3][i]) for i in (1, 3)] == [wording.plain(HOSTILE)] * 2
