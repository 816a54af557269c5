"""A real third-party plug-in, installed by pip where only these tests see it."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vidbench import plugins
from vidbench.errors import PluginError
from vidbench.testing import extractor_checks, install_plugin, metric_checks, score, synthetic_clips

PROJECT = Path(__file__).resolve().parent / "plugin_package"
ROOT = PROJECT.parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed plug-in and nothing else."""
    target = tmp_path_factory.mktemp("site")
    install_plugin(PROJECT, target)
    return target


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process sees the plug-in until the test ends."""
    monkeypatch.syspath_prepend(str(site))
    plugins.forget()
    yield
    monkeypatch.undo()
    plugins.forget()
    for name in [name for name in sys.modules if name.split(".")[0] == "vidbench_colour"]:
        del sys.modules[name]


def _python(*arguments: str, site: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(site) if site else "", os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
    )


def test_the_environment_stays_as_it_was(site):
    ask = "from importlib.metadata import distributions as d; print(sorted(x.name for x in d()))"
    without, with_site = _python("-c", ask), _python("-c", ask, site=site)
    assert "vidbench-colour" not in without.stdout
    assert "vidbench-colour" in with_site.stdout
    assert sorted(p.name for p in PROJECT.iterdir() if p.name != "__pycache__") == ["pyproject.toml", "vidbench_colour"]


def test_without_it_the_names_are_unknown():
    assert "colour_strength" not in plugins.metrics().names()
    with pytest.raises(PluginError, match="no metric is called 'colour_strength'"):
        plugins.metrics().load("colour_strength")


def test_it_is_a_real_distribution(installed):
    assert importlib.metadata.version("vidbench-colour") == "0.3.0"
    assert plugins.metrics().distribution("colour_strength") == "vidbench-colour 0.3.0"
    assert {"colour_strength", "broken_on_import"} <= set(plugins.metrics().names())
    assert "opponent_colours" in plugins.extractors().names()


def test_listing_names_imports_nothing(site):
    names = (
        "from vidbench import plugins; import sys; print(plugins.metrics().names(), 'vidbench_colour' in sys.modules)"
    )
    done = _python("-c", names, site=site)
    assert "'colour_strength'" in done.stdout
    assert done.stdout.endswith("False\n")


def test_contract(installed):
    metric = plugins.metrics().load("colour_strength")
    for metric_check in metric_checks(metric):
        metric_check(metric)
    extractor = plugins.extractors().load("opponent_colours")
    for extractor_check in extractor_checks():
        extractor_check(extractor)


def test_value_matches_closed_form(installed):
    metric = plugins.metrics().load("colour_strength")
    halves = np.zeros((3, 4, 6, 3), np.uint8)
    halves[:, :, :3] = (200, 0, 0)  # red beside black: rg 200 or 0, yb 100 or 0
    expected = math.hypot(100, 50) + 0.3 * math.hypot(100, 50)
    assert score(metric, halves).value == pytest.approx(expected, rel=1e-12)
    assert score(metric, np.full((2, 4, 4, 3), 90, np.uint8)).value == 0


def test_a_broken_metric_names_its_package_and_breaks_nothing(installed):
    registry = plugins.metrics()
    with pytest.raises(PluginError, match=r"broken_on_import.*vidbench-colour 0\.3\.0.*ModuleNotFoundError") as caught:
        registry.load("broken_on_import")
    assert "\n" not in str(caught.value)
    loaded = registry.load_all()
    assert "colour_strength" in loaded
    assert "broken_on_import" not in loaded
    [failure] = [f for f in registry.failures() if f.name == "broken_on_import"]
    assert (failure.group, failure.distribution) == ("vidbench.metrics", "vidbench-colour 0.3.0")
    assert "vidbench_colour_missing_dependency" in failure.reason


def test_a_second_package_with_the_same_name_is_refused_and_named(site, tmp_path, installed, monkeypatch):
    text = (PROJECT / "pyproject.toml").read_text()
    rival = tmp_path / "rival"
    (rival / "vidbench_rival").mkdir(parents=True)
    (rival / "pyproject.toml").write_text(
        text.replace("vidbench-colour", "vidbench-rival").replace("_colour", "_rival")
    )
    (rival / "vidbench_rival" / "__init__.py").write_text("")
    install_plugin(rival, tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    plugins.forget()
    with pytest.raises(PluginError, match=r"vidbench-colour 0\.3\.0 .*and vidbench-rival 0\.3\.0"):
        plugins.metrics().load("colour_strength")
    loaded = plugins.metrics().load_all()
    assert "colour_strength" not in loaded
    assert "sharpness" in loaded


def test_pip_failure_is_told(tmp_path):
    text = (PROJECT / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(text.replace('version = "0.3.0"\n', ""))
    with pytest.raises(RuntimeError, match=r"(?s)pip could not install .*:\n.*version"):
        install_plugin(tmp_path, tmp_path / "site")


def _clip_folder(folder: Path) -> Path:
    for model, clips in (
        ("vivid", synthetic_clips(2)),
        ("grey", [c.mean(-1, keepdims=True) for c in synthetic_clips(2)]),
    ):
        (folder / model).mkdir(parents=True)
        for number, pixels in enumerate(clips):
            whole = np.broadcast_to(pixels, (*pixels.shape[:3], 3)).astype(np.uint8)
            np.save(folder / model / f"{number}.npy", whole)
    return folder


def test_list_shows_the_metric_and_the_failure(site):
    done = _python("-m", "vidbench", "list", site=site)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "colour_strength" in said
    assert "broken_on_import" in said
    assert "vidbench-colour 0.3.0" in said
    assert "vidbench_colour_missing_dependency" in said
    assert "Traceback" not in said


def test_describe_tells_where_it_comes_from(site):
    done = _python("-m", "vidbench", "describe", "colour_strength", site=site)
    assert done.returncode == 0, done.stderr
    assert "vidbench-colour 0.3.0" in done.stdout
    assert "hasler2003" in done.stdout


def test_describe_of_the_broken_one_is_one_line(site):
    done = _python("-m", "vidbench", "describe", "broken_on_import", site=site)
    assert done.returncode == 2
    assert "vidbench-colour 0.3.0" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_scores_with_it(site, tmp_path):
    clips, out = _clip_folder(tmp_path / "clips"), tmp_path / "run"
    done = _python("-m", "vidbench", "run", str(clips), "--metrics", "colour_strength", "--out", str(out), site=site)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    values = {row["clip"]: row["value"] for row in rows if row["metric"] == "colour_strength"}
    assert set(values) == {"vivid/0.npy", "vivid/1.npy", "grey/0.npy", "grey/1.npy"}
    assert values["grey/0.npy"] == 0
    assert values["vivid/0.npy"] > 5
    facts = json.loads((out / "run.json").read_text())
    [metric] = facts["metrics"]
    assert metric["distribution"] == "vidbench-colour 0.3.0"
