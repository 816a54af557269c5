"""`action.yml`: its shell lines are run as GitHub runs them, with inputs that try to be more than text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS: dict[str, dict[str, Any]] = {step["name"]: step for step in ACTION["runs"]["steps"]}
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
POLICY = 'policy = 1\n[[rule]]\nmetric = "exposure"\nmin = 0.5\n[[rule]]\nfindings = ["exposure"]\nmax_rate = 0.9\n'


class Ran:
    """What came of a step."""

    def __init__(self, done: subprocess.CompletedProcess[str], folder: Path) -> None:
        self.code = done.returncode
        self.text = done.stdout + done.stderr
        self.summary = (folder / "summary").read_text()
        lines = (folder / "output").read_text().splitlines()
        self.outputs = dict(line.split("=", 1) for line in lines)
        assert len(lines) == len(self.outputs)


@pytest.fixture
def step(tmp_path: Path):
    """Runs one step in an empty folder; inputs that are not given have their defaults."""

    def run(name: str, inputs: Mapping[str, str], extra: Mapping[str, str] | None = None) -> Ran:
        known = {key: str(entry.get("default", "")) for key, entry in ACTION["inputs"].items()}
        assert set(inputs) <= set(known)
        values = {f"inputs.{key}": value for key, value in {**known, **inputs}.items()}
        values["github.action_path"] = str(ROOT)
        environment = {
            key: EXPRESSION.sub(lambda found: values[found[1]], text) for key, text in STEPS[name]["env"].items()
        }
        script = tmp_path / "step.sh"
        script.write_text(STEPS[name]["run"], "utf-8")
        for file in ("output", "summary"):
            (tmp_path / file).write_text("")
        files = {"GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=tmp_path,
            env={**os.environ, **environment, **files, "GITHUB_ACTIONS": "true", **(extra or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(done, tmp_path)

    return run


def given(**inputs: str) -> dict[str, str]:
    return {"python": sys.executable, **inputs}


def test_inputs_reach_the_shell_as_environment_alone():
    for step in STEPS.values():
        assert "${{" not in step["run"]
        assert step["shell"] == "bash"
    used = set(EXPRESSION.findall((ROOT / "action.yml").read_text("utf-8")))
    names = {expression.removeprefix("inputs.") for expression in used if expression.startswith("inputs.")}
    assert names | {"install"} == set(ACTION["inputs"]), "install is asked for in an `if`"
    assert STEPS["Install vidbench"]["if"] == "inputs.install == 'true'"


def test_every_option_that_is_passed_exists(vidbench):
    options = set(re.findall(r"--[a-z]+", STEPS["Judge"]["run"]))
    help_text = vidbench("gate", "--help").stdout
    assert options >= {"--policy", "--baseline", "--reference", "--out", "--junit", "--sarif", "--json", "--github"}
    assert all(re.search(rf"^  .*{option}\b", help_text, re.MULTILINE) for option in options)


@pytest.mark.skipif(
    not (ROOT / "vidbench").is_dir(), reason="the tests lie apart from the package: no checkout to install"
)
def test_it_installs_the_checkout(step, tmp_path: Path):
    offline = {
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_TARGET": str(tmp_path / "site"),
    }
    ran = step("Install vidbench", given(), offline)
    assert ran.code == 0, ran.text
    assert (tmp_path / "site" / "vidbench" / "gate" / "judge.py").is_file()
    entries = next((tmp_path / "site").glob("vidbench-*.dist-info")) / "entry_points.txt"
    assert "vidbench.pytest_plugin" in entries.read_text()


def test_it_passes_and_tells_where_the_run_is(step, gate_run, tmp_path: Path):
    gate_run(tmp_path / "run", {"exposure": [0.9] * 4}, save=True)
    (tmp_path / "p.toml").write_text(POLICY)
    ran = step("Judge", given(path="run", policy="p.toml", junit="j.xml", sarif="s.json", json="v.json"))
    assert ran.code == 0, ran.text
    assert ran.outputs == {"outcome": "passed", "exit-code": "0", "run": "run"}
    assert ran.summary.startswith("## vidbench gate: passed")
    assert all((tmp_path / name).is_file() for name in ("j.xml", "s.json", "v.json"))


def test_it_fails_with_annotations(step, gate_run, tmp_path: Path):
    gate_run(tmp_path / "run", {"exposure": [0.1] * 4}, save=True)
    (tmp_path / "p.toml").write_text(POLICY)
    ran = step("Judge", given(path="run", policy="p.toml"))
    assert ran.code == 1
    assert ran.outputs["outcome"] == "failed"
    assert "::error title=vidbench gate failed,file=p.toml,line=2::exposure at least 0.5: " in ran.text


def test_incomplete_may_be_let_through_and_failure_not(step, gate_run, tmp_path: Path):
    gate_run(tmp_path / "run", {"exposure": [None] * 4}, save=True)
    (tmp_path / "p.toml").write_text(POLICY)
    ran = step("Judge", given(path="run", policy="p.toml"))
    assert (ran.code, ran.outputs["outcome"], ran.outputs["exit-code"]) == (3, "incomplete", "3")
    ran = step("Judge", given(path="run", policy="p.toml", incomplete="pass"))
    assert (ran.code, ran.outputs["outcome"], ran.outputs["exit-code"]) == (0, "incomplete", "3")
    ran = step("Judge", given(path="run", policy="none.toml", incomplete="pass"))
    assert (ran.code, ran.outputs["outcome"]) == (2, "error")


HOSTILE = (
    "$(touch pwned)",
    "`touch pwned`",
    '"; touch pwned; "',
    "'; touch pwned; '",
    "x\ntouch pwned\noutcome=passed",
)


@pytest.mark.parametrize("name", ["path", "policy"])
def test_hostile_inputs_stay_text(step, tmp_path: Path, name):
    for text in HOSTILE:
        ran = step("Judge", given(**{"path": "none", name: text, "out": f"o{text}"}))
        assert ran.code == 2, ran.text
        assert ran.outputs["outcome"] == "error"
    assert not (tmp_path / "pwned").exists()


def test_options_cannot_be_smuggled_in(step, tmp_path: Path):
    ran = step("Judge", given(path="--help"))
    assert ran.code == 2
    assert "no such folder: '--help'" in ran.text
    ran = step("Judge", given(path="none", policy="--quiet"))
    assert "--quiet: cannot be read" in ran.text


def test_hostile_extras_are_refused(step, tmp_path: Path):
    for text in ("x]; touch pwned", "$(touch pwned)", "models] --index-url=http://evil [x"):
        ran = step("Install vidbench", given(extras=text))
        assert ran.code == 2
        assert "extras wants names and commas" in ran.text
    assert not (tmp_path / "pwned").exists()


def test_the_pre_commit_hook_is_a_command_that_exists(vidbench):
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert hook["id"] == "vidbench-gate"
    program, *words = hook["entry"].split()
    assert program == "vidbench"
    assert vidbench(*words, "--help").returncode == 0
    assert re.search(hook["files"], "clips/a.mp4")
    assert not hook["pass_filenames"]


def test_the_workflows_in_the_documentation_use_what_there_is():
    text = (ROOT / "docs" / "gate.md").read_text("utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    workflow, gitlab, pre_commit = blocks
    [use] = [step for step in workflow if "vidbench@" in step.get("uses", "")]
    assert set(use["with"]) <= set(ACTION["inputs"])
    used = re.findall(r"steps\.gate\.outputs\.([\w-]+)", text)
    assert used
    assert set(used) <= set(ACTION["outputs"])
    assert gitlab["gate"]["artifacts"]["reports"]["junit"] in gitlab["gate"]["script"][1]
    assert pre_commit[0]["hooks"][0]["id"] == "vidbench-gate"
