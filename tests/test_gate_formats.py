"""The verdict in other programs' formats, with names that try to be more than text."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

from vidbench.gate import github, junit, sarif, words
from vidbench.gate.judge import judge
from vidbench.gate.policy_file import parse_policy

HOSTILE = [
    '<b>"x"</b>&amp;.mp4',
    "a\n::set-env name=PATH::evil\r\n##[error]x.mp4",
    "]]></failure><testcase/>.mp4",
    "50%25,file=x:y|`code`_*[link](javascript:x)*.mp4",
    "\x00\x1b[31m\ufffe\u202egnp.mp4",
    "-- <script>alert(1)</script>.mp4",
]


def held(run, text: str, *, file: bool = True):
    folder = Path() if file else None
    return judge(run, parse_policy(text, source="rules/p: 1%.toml", folder=folder))


@pytest.fixture
def hostile(gate_run):
    """A verdict of every outcome, with hostile names wherever a name can stand."""
    model = "evil\n::error::model %0A <m>"
    run = gate_run(
        Path("runs/<r>"),
        {"m": [0.1] * len(HOSTILE), "n": [None] * len(HOSTILE)},
        model=model,
        names=HOSTILE,
        findings=[(i, "m", f"kind<{i}>\n::warning::", 0.9) for i in range(len(HOSTILE))],
        failed={"bad\n::error::x": "moov <atom>\n::stop-commands::y"},
    )
    rules = (
        'policy = 1\n[require]\ncoverage = 0.5\n[[rule]]\nname = "a < b\\n::error::rule & ]]>"\nfindings = ["m"]\n'
        'max_clips = 0\nnote = "note <n>\\n::x"\n[[rule]]\nmetric = "m"\nmax = 0.5\n[[rule]]\nmetric = "n"\nmin = 0\n'
    )
    return held(run, rules)


@pytest.fixture
def clean(gate_run):
    """A verdict that passes, with a finding that is allowed."""
    run = gate_run(Path("r"), {"m": [1.0] * 3}, findings=[(1, "m", "freeze", None)])
    return held(run, 'policy = 1\n[[rule]]\nfindings = ["m"]\nmax_clips = 1\n')


# JUnit

SUITE = {"package", "id", "name", "timestamp", "hostname", "tests", "failures", "errors", "time"}
"""Attributes of a suite, all required by JUnit.xsd of github.com/windyroad/JUnit-Schema; the order of its children and
the attributes of the others are from there too."""


def suites_of(verdict) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(junit.render(verdict))
    assert root.tag == "testsuites"
    assert root.attrib == {}
    for number, suite in enumerate(root):
        assert suite.tag == "testsuite"
        assert set(suite.keys()) == SUITE
        assert suite.get("id") == str(number)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
        first, *cases, out, err = suite
        assert (first.tag, out.tag, err.tag) == ("properties", "system-out", "system-err")
        assert all(p.tag == "property" and set(p.keys()) == {"name", "value"} for p in first)
        for case in cases:
            assert case.tag == "testcase"
            assert set(case.keys()) == {"name", "classname", "time"}
            assert float(case.get("time", "no")) >= 0
            assert [child.tag for child in case] in ([], ["failure"], ["error"])
            assert all(set(child.keys()) == {"type", "message"} for child in case)
        for counted, tag in (("tests", None), ("failures", "failure"), ("errors", "error")):
            assert int(suite.get(counted, "no")) == sum(tag is None or case.find(tag) is not None for case in cases)
    return {suite.get("name", ""): suite for suite in root}


def test_junit_has_a_case_a_rule_and_one_a_clip(hostile):
    suites = suites_of(hostile)
    rules = suites["vidbench.gate.rules"].findall("testcase")
    assert [len(case) for case in rules] == [1, 1, 1, 0, 1]
    assert [case[0].tag for case in rules if len(case)] == ["error", "error", "failure", "error"]
    clips = suites["vidbench.gate.clips"].findall("testcase")
    assert len(clips) == len(HOSTILE)
    assert all(case[0].tag == "failure" for case in clips)
    assert "frames 3 to 7" in clips[0][0].text
    assert "Something does a kind" in clips[0][0].get("message")


def test_hostile_names_stay_text_in_junit(hostile):
    suites = suites_of(hostile)
    names = {case.get("name") for case in suites["vidbench.gate.clips"].findall("testcase")}
    assert HOSTILE[0] in names
    assert HOSTILE[2] in names
    assert "a\\n::set-env name=PATH::evil\\r\\n##[error]x.mp4" in names
    assert "\\x00\\x1b[31m\ufffd\\u202egnp.mp4" in names
    # No line of the file is one of a name's making.
    assert not [line for line in junit.render(hostile).splitlines() if line.lstrip().startswith("::")]


def test_what_is_allowed_passes_in_junit(clean):
    suites = suites_of(clean)
    [case] = suites["vidbench.gate.clips"].findall("testcase")
    assert len(case) == 0
    assert "freeze" in suites["vidbench.gate.clips"].find("system-out").text
    assert "Gate passed" in suites["vidbench.gate.rules"].find("system-out").text


# GitHub

COMMAND = re.compile(r"::(error|warning)((?: |,)(?:title|file|line)=[^\r\n:,]*)*::[^\r\n]*")


def undone(text: str) -> str:
    """As the runner undoes the escapes of a message."""
    return text.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")


def test_annotations_are_one_command_each(hostile):
    lines = github.annotate(hostile)
    assert all(COMMAND.fullmatch(line) for line in lines)
    errors = [line for line in lines if line.startswith("::error")]
    assert len(errors) == len(hostile.of("failed", "incomplete"))
    warnings = [line for line in lines if line.startswith("::warning")]
    assert len(warnings) == len(HOSTILE)
    told = [undone(line.split("::", 2)[2]) for line in warnings]
    for message in told:
        assert "\n" not in message
    assert any(
        message.startswith("50%25,file=x:y|`code`_*[link](javascript:x)*.mp4: kind<3>\\n::warning::")
        for message in told
    )
    assert "file=rules/p%3A 1%25.toml,line=4::" in errors[2]


def test_a_message_of_several_lines_undoes_to_them():
    line = github.command("error", ["one", "two % three\n::x"], title="a,b:c\nd")
    assert line == "::error title=a%2Cb%3Ac\\nd::one%0Atwo %25 three\\n::x"
    assert undone(line.split("::", 2)[2]) == "one\ntwo % three\\n::x"


def test_only_as_many_annotations_as_github_shows(gate_run):
    run = gate_run(Path("r"), {"m": [0.1] * 40}, findings=[(i, "m", "freeze", 0.5) for i in range(40)])
    rules = "".join(f'[[rule]]\nmetric = "m"\nmin = {i}\n' for i in range(1, 20))
    verdict = held(run, f'policy = 1\n{rules}[[rule]]\nfindings = ["m"]\nmax_clips = 0\n')
    lines = github.annotate(verdict)
    assert sum(line.startswith("::error") for line in lines) == 10
    assert sum(line.startswith("::warning") for line in lines) == 10


def test_a_policy_that_is_no_file_has_no_line(gate_run):
    run = gate_run(Path("r"), {"m": [0.1]})
    text = 'policy = 1\n[[rule]]\nmetric = "m"\nmin = 1\n'
    assert "file=" not in github.annotate(held(run, text, file=False))[0]
    assert "file=" in github.annotate(held(run, text))[0]


def test_no_commands_are_taken_between_the_tokens():
    said: list[str] = []
    with pytest.raises(KeyError), github.no_commands(said.append):
        said.append("::error::a name")
        raise KeyError
    stop, name, resume = said
    token = stop.removeprefix("::stop-commands::")
    assert len(token) == 32
    assert name == "::error::a name"
    assert resume == f"::{token}::"


def test_the_summary_is_a_page_without_html_or_links(hostile):
    text = github.summary(hostile)
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]
    page = MarkdownIt("gfm-like", {"linkify": False, "html": True}).enable("table").render(text)
    for element in ("<script", "<b>", "<a ", "<m>", "<r>", "<n>", "<em>", "<code>"):
        assert element not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.mp4" in page
    assert page.count("<table>") == 2
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    assert {row.count("<td>") for row in rows if "<td>" in row} == {2, 4}
    assert "FAILED" in page
    assert "INCOMPLETE" in page


# SARIF


def test_sarif_says_where_and_what(hostile):
    document = json.loads(sarif.render(hostile, "CLIPS"))
    assert (document["version"], document["$schema"]) == ("2.1.0", sarif.SCHEMA)
    [run] = document["runs"]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(ids) == len(set(ids))
    assert {result["ruleId"] for result in run["results"]} <= set(ids)
    levels = {"none", "note", "warning", "error"}
    for result in run["results"]:
        assert set(result) <= {"ruleId", "level", "message", "locations", "properties"}
        assert result["level"] in levels
        assert set(result["message"]) == {"text"}
        [location] = result["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert re.fullmatch(r"[A-Za-z0-9%/._~-]+", uri), "a relative reference without a scheme"
    findings = [result for result in run["results"] if "properties" in result]
    uris = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in findings}
    assert {unquote(uri) for uri in uris} == {f"CLIPS/{name}" for name in HOSTILE}
    assert findings[0]["properties"]["startFrame"] == 3
    assert "frames 3 to 7" in findings[0]["message"]["text"]
    rules = [r for r in run["results"] if "region" in r["locations"][0]["physicalLocation"]]
    assert [r["locations"][0]["physicalLocation"]["region"] for r in rules] == [{"startLine": 4}, {"startLine": 12}]


def test_what_is_allowed_is_a_note_in_sarif(clean):
    [result] = json.loads(sarif.render(clean, "/data/clips"))["runs"][0]["results"]
    assert result["level"] == "note"
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "file:///data/clips/ours/1.mp4"


# Words


def test_the_headline(hostile, clean, gate_run):
    assert words.headline(hostile) == "Gate failed: 1 of 3 rules broken; 3 others could not be decided."
    assert words.headline(clean) == "Gate passed: 3 checks met."
    few = held(gate_run(Path("r"), {"m": [1.0]}), 'policy = 1\n[[rule]]\nfindings = ["m"]\nmax_rate = 0.1\n')
    assert words.headline(few) == "Gate incomplete: 1 of 3 checks could not be decided, so nothing is passed."
