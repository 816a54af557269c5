"""What outsiders may rely on: exported names, the names of plug-ins, and light imports."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import vidbench
from vidbench import plugins

PACKAGES = ("vidbench", "vidbench_metrics", "vidbench_suites", "vidbench_reports")
HEAVY = ("torch", "torchvision", "timm", "cv2", "pandas")
GROUPS = {
    "vidbench.metrics": plugins.metrics,
    "vidbench.extractors": plugins.extractors,
    "vidbench.suites": plugins.suites,
    "vidbench.reports": plugins.reports,
}
METRIC_NAMES = plugins.metrics().names()


def _modules() -> list[str]:
    found = []
    for name in PACKAGES:
        package = importlib.import_module(name)
        found.append(name)
        found += [module.name for module in pkgutil.walk_packages(package.__path__, f"{name}.")]
    return [name for name in found if not name.endswith("__main__")]


def _source(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def _public_definitions(tree: ast.Module) -> set[str]:
    """Names that a module itself defines, without underscores; type variables are nobody's to import."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Assign) and not ast.unparse(node.value).startswith("TypeVar("):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("module", [name for name in _modules() if "__all__ =" in _source(name).read_text()])
def test_all_equals_the_public_names(module):
    imported = importlib.import_module(module)
    exported = imported.__all__
    assert len(exported) == len(set(exported))
    assert [name for name in exported if not hasattr(imported, name)] == []
    assert _public_definitions(ast.parse(_source(module).read_text())) - set(exported) == set()


def test_the_package_exports_exactly_what_it_says():
    assert set(vidbench.__all__) == {"__version__", "load_run"}
    submodules = {module.name for module in pkgutil.iter_modules(vidbench.__path__)}
    language = {"annotations", "TYPE_CHECKING", "Any"}
    # pytest rewrites packages that bring it a plug-in, which leaves names in them that nobody can write.
    names = {name for name in vars(vidbench) if name.isidentifier() and not name.startswith("_")}
    assert names - submodules - language <= {"load_run"}
    assert callable(vidbench.load_run)
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        vidbench.no_such_name  # noqa: B018 - looking it up is the test


@pytest.mark.parametrize("group", GROUPS)
def test_entry_points_are_called_what_their_plugins_are_called(group):
    entries = [entry for entry in entry_points(group=group) if entry.dist is not None and entry.dist.name == "vidbench"]
    assert entries
    for entry in entries:
        assert entry.load().name == entry.name


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_the_suffix_of_a_metric_agrees_with_its_direction(name):
    metric = plugins.metrics().load(name)
    if name.endswith(("_score", "_index")):
        assert metric.higher_is_better
    if name.endswith(("_distance", "_error")):
        assert not metric.higher_is_better


def _imported_by(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip() for line in lines}


@pytest.mark.parametrize(
    "arguments",
    [("-m", "vidbench", "--help"), ("-m", "vidbench", "run", "--help"), ("-c", "import vidbench")],
    ids=" ".join,
)
def test_import_stays_light(arguments):
    imported = _imported_by(*arguments)
    assert "vidbench" in imported
    assert sorted(imported.intersection(HEAVY)) == []


def test_the_light_import_test_would_notice():
    assert "pandas" in _imported_by("-c", "import vidbench, pandas")


def test_no_module_imports_torch_on_import():
    """But for the world model's networks, which are torch's; its plug-ins and what the commands ask of it are not."""
    plugins = {entry.module for entry in entry_points(group="vidbench.generators") if entry.dist.name == "vidbench"}
    free = [name for name in _modules() if not name.startswith("vidbench.worldmodel.") or name in plugins]
    assert len(plugins) >= 2
    code = f"import importlib, sys\nfor name in {free}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "False\n"
