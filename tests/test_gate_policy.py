"""What a policy file may say, and how it is told that it may not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vidbench.errors import EXIT_USAGE, PolicyError
from vidbench.gate.policy import (
    COVERAGE,
    Accepted,
    FindingsRule,
    QuantileRule,
    RegressionRule,
    Selection,
    ValueRule,
    metrics_of,
)
from vidbench.gate.policy_file import parse_policy, read_policy
from vidbench.plugins import suites

DOCS = Path(__file__).resolve().parent.parent / "docs" / "gate.md"
RULE = 'policy = 1\n[[rule]]\nmetric = "m"\n'


def parsed(text: str):
    return parse_policy(text, source="p.toml", folder=Path("there"))


def test_every_key_of_the_documentation_arrives():
    [text] = re.findall(r"```toml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    policy = parsed(text)
    assert (policy.name, policy.models) == ("release", ("ours",))
    assert (policy.require.clips, policy.require.unreadable, policy.require.coverage) == (52, 0, 0.9)
    assert policy.require.settings == "9cfdbcb00be05b41"
    count, rate, floor, quantile, loss, noise = policy.rules
    assert isinstance(count, FindingsRule)
    assert count.findings == Selection(("continuity", "object_permanence"), ("teleport", "vanish"), 0.5)
    assert (count.max_clips, count.max_rate, count.certain, count.note) == (0, None, False, "Ask Kim.")
    assert isinstance(rate, FindingsRule)
    assert (rate.max_clips, rate.max_rate, rate.certain) == (None, 0.05, True)
    assert isinstance(floor, ValueRule)
    assert (floor.metric, floor.min, floor.max, floor.certain) == ("exposure", 0.8, None, True)
    assert isinstance(quantile, QuantileRule)
    assert (quantile.allowed, quantile.certain) == (0.05, True)
    assert isinstance(loss, RegressionRule)
    assert (loss.metric, loss.max_loss, loss.certain) == ("exposure", 0.02, True)
    assert isinstance(noise, RegressionRule)
    assert (noise.metric, noise.max_loss, noise.certain) == (None, None, False)
    assert policy.accepted[0].sha256 == "3f1c9a20"
    assert policy.baseline == Path("there/../runs/shipped")
    assert (policy.baseline_model, policy.suite, policy.run_metrics) == ("shipped", "plausibility", ("frozen_frames",))
    assert policy.settings == {"frozen_frames": {"min_repeats": 4}}
    assert policy.metrics == ("exposure", "continuity", "object_permanence")
    assert [text.splitlines()[rule.line - 1] for rule in policy.rules] == [
        line for line in text.splitlines() if line.startswith("[[rule]]")
    ]


def test_the_built_in_policy_is_one():
    policy = parse_policy(suites().load("plausibility").policy or "", source="built in")
    [rule] = policy.rules
    assert isinstance(rule, FindingsRule)
    assert rule.max_clips == 0
    assert set(metrics_of(rule)) <= set(suites().load("plausibility").metrics)
    assert rule.line is None, "there is no file to point at"


def test_defaults():
    policy = parsed(RULE + "max = 3")
    assert policy.require.coverage == COVERAGE
    assert policy.require.clips == 1
    assert policy.name == "p"
    assert policy.rules[0].name == "m at most 3"


def test_coverage_by_metric():
    policy = parsed(RULE + 'min = 0\n[require]\nmetrics = ["n"]\n[require.coverage]\ndefault = 0.5\nm = 0.25\n')
    assert (policy.coverage("m"), policy.coverage("n")) == (0.25, 0.5)
    assert policy.metrics == ("n", "m")


def test_settings_in_both_ways_of_writing():
    text = RULE + 'min = 0\n[run.settings]\n"a.x" = 1\nb.y = "z"\n'
    assert parsed(text).settings == {"a": {"x": 1}, "b": {"y": "z"}}


def test_an_accepted_clip():
    text = RULE + 'min = 0\n[[accept]]\nclip = "a"\nsha256 = "00112233"\nreason = "fine"\n'
    assert parsed(text).accepted == (Accepted("a", "00112233", "fine", 5),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "p.toml: its first line must be policy = 1"),
        ("policy = 2", "p.toml line 1: policy = 2 is unknown"),
        ("policy = true", "line 1: policy = True is unknown"),
        ("policy = 1", "neither a [[rule]] nor required metrics"),
        ("policy = 1\nx = [", "p.toml: is not TOML: "),
        ("policy = 1\nmodel = 'a'", "line 2: no key is called 'model'; did you mean models?"),
        ("policy = 1\n[requires]\nclips = 1", "line 2: no key is called 'requires'; did you mean require?"),
        (RULE + "min = 1\n[require]\nclip = 2", "line 6: no key is called 'clip' in [require]; did you mean clips?"),
        (RULE + "mim = 1", "line 4: no key is called 'mim' in [rule]; did you mean min"),
        (RULE + "zzzz = 1", "line 4: no key is called 'zzzz' in [rule]; there are: "),
        (RULE, "line 3: rule 1 needs min, max or max_loss"),
        (RULE + "min = 2\nmax = 1", "line 5: nothing is both at least 2 and at most 1"),
        (RULE + "min = nan", "line 4: 'min' wants a number, got nan"),
        (RULE + "min = true", "line 4: 'min' wants a number, got True"),
        (RULE + "min = 'x'", "line 4: 'min' wants a number, got 'x'"),
        (RULE + "max_rate = 0.1", "line 4: 'max_rate' goes with a rule on findings; rule 1 is one on value"),
        (RULE + "min = 0\nconfidence = 0.9", "line 5: 'confidence' goes with a rule on quantile and findings"),
        (RULE + "quantile = 0.1\nmin = 0\nmax = 1", "line 6: a quantile has either min or max"),
        (RULE + "quantile = 1\nmin = 0", "line 4: 'quantile' wants a number between 0 and 1, got 1"),
        (RULE + "max_loss = -1", "line 4: 'max_loss' wants a number of at least 0, or \"noise\", got -1"),
        (RULE + "max_loss = 'loud'", "or \"noise\", got 'loud'"),
        (RULE + "max_loss = 'noise'\ncertain = true", 'line 5: max_loss = "noise" never makes sure'),
        (RULE + "max_loss = 1\nfindings = ['a']", "line 4: rule 1 needs either a metric or findings"),
        (RULE + "min = 0\ncertain = 1", "line 5: 'certain' wants true or false, got 1"),
        (RULE + "min = 0\nname = ''", "line 5: 'name' wants text in quotes, got ''"),
        ("policy = 1\n[[rule]]\nmin = 1", "line 2: rule 1 names neither a metric nor findings"),
        ("policy = 1\n[[rule]]\nfindings = []\nmax_clips = 0", "line 3: 'findings' names no metric"),
        ("policy = 1\n[[rule]]\nfindings = ['a', 3]\nmax_clips = 0", "line 3: 'findings' wants a list of names"),
        ("policy = 1\n[[rule]]\nfindings = ['a']", "line 3: rule 1 needs either max_clips or max_rate"),
        ("policy = 1\n[[rule]]\nfindings = ['a']\nmax_clips = 1.5", "line 4: 'max_clips' wants a whole number"),
        (
            "policy = 1\n[[rule]]\nfindings = ['a']\nmax_clips = -1",
            "line 4: 'max_clips' wants a whole number of at least 0",
        ),
        (
            "policy = 1\n[[rule]]\nfindings = ['a']\nmax_rate = 5",
            "line 4: 'max_rate' wants a number from 0 to 1, got 5",
        ),
        (
            "policy = 1\n[[rule]]\nfindings = ['a']\nmax_clips = 1\ncertain = true",
            "line 5: max_clips counts these clips",
        ),
        ("policy = 1\nrule = 3", "line 2: 'rule' is a list of tables: write [[rule]]"),
        ("policy = 1\nrequire = 3", "line 2: 'require' is a table: write [require]"),
        (RULE + "min = 0\n[[rule]]\nmetric = 'm'\nmin = 0", "line 5: two rules are called 'm at least 0'"),
        (RULE + "min = 0\n[require]\ncoverage = 90", "line 6: 'coverage' wants a number from 0 to 1, got 90"),
        (RULE + "min = 0\n[require]\ncoverage = {m = 2}", "line 6: 'm' wants a number from 0 to 1, got 2"),
        (RULE + "min = 0\n[[accept]]\nclip = 'a'", "line 5: [[accept]] needs clip, sha256 and reason"),
        (RULE + "min = 0\n[[accept]]\nclip='a'\nreason='b'\nsha256='12'", "line 8: sha256 wants 8 to 64 hex digits"),
        (RULE + "min = 0\n[run]\nsettings = {m = 3}", "line 6: settings are written METRIC.NAME = VALUE"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(text, said):
    with pytest.raises(PolicyError) as refused:
        parsed(text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == EXIT_USAGE


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(PolicyError, match=r"none\.toml: cannot be read: No such file"):
        read_policy(tmp_path / "none.toml")
    with pytest.raises(PolicyError, match="Is a directory"):
        read_policy(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"policy = 1 # \xe9\n")
    with pytest.raises(PolicyError, match=r"latin\.toml: is not UTF-8 text"):
        read_policy(tmp_path / "latin.toml")
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbf" + (RULE + "min = 1").encode())
    assert read_policy(tmp_path / "bom.toml").rules[0].line == 2


def test_lines_are_those_of_the_right_rule():
    text = RULE + 'min = 1\n\n# a comment\n[[rule]]\n  name = "[[rule]]"\n  "metric" = "n"\n  mni = 3\n'
    with pytest.raises(PolicyError, match=r"line 10: no key is called 'mni'"):
        parsed(text)
