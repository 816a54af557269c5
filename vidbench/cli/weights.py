"""`vidbench weights`: list, fetch, check, find and import weight files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vidbench.errors import EXIT_DONE, EXIT_INCOMPLETE

if TYPE_CHECKING:
    from vidbench.weights import Progress, Status, WeightFile

EPILOG = """\b
Examples:
  vidbench weights list
  vidbench weights fetch i3d
  vidbench weights import i3d ~/Downloads/i3d_pretrained_400.pt
  vidbench weights verify
  vidbench weights path i3d
"""
PLAIN_EVERY = 10.0
"""Seconds between progress lines where the output is no terminal."""


@click.group("weights", epilog=EPILOG)
def command() -> None:
    """List, fetch, check, find and import weight files.

    Files lie in one folder: $VIDBENCH_WEIGHTS, or `weights` in the cache folder. Nothing is downloaded unless `fetch`
    is called; $VIDBENCH_OFFLINE=1 forbids even that. $VIDBENCH_WEIGHTS_MIRROR is an address that is tried first.
    """


@command.command("list", epilog="\b\nExamples:\n  vidbench weights list\n")
def list_command() -> int:
    """List every weight file: is it here, what it is for, its size, licence and checksum."""
    from vidbench import weights

    click.echo(f"folder: {weights.folder()}")
    for row in weights.table().values():
        found = weights.status(row)
        use = {"yes": "allowed", "no": "FORBIDDEN", "unknown": "not known"}[row.commercial]
        click.echo(f"{row.name} ({row.file}, {row.size})")
        click.echo(f"  state:     {state(found)}")
        click.echo(f"  used for:  {row.used_for}")
        click.echo(f"  metrics:   {', '.join(users(row.name)) or 'none that is installed'}")
        click.echo(f"  licence:   {row.licence}; commercial use {use}")
        click.echo(f"  checksum:  {row.published or 'none is published; recorded when the file first comes here'}")
    return EXIT_DONE


@command.command(
    "fetch", epilog="\b\nExamples:\n  vidbench weights fetch i3d\n  vidbench weights fetch i3d clip-vit-b-32\n"
)
@click.argument("names", nargs=-1, required=True)
@click.option("--offline", is_flag=True, help="Download nothing; fail where a file is not here.")
@click.option(
    "--accept-non-commercial", is_flag=True, help="My use is not commercial: fetch files whose licence forbids it."
)
def fetch_command(names: tuple[str, ...], *, offline: bool, accept_non_commercial: bool) -> int:
    """Download weight files; an interrupted download goes on where it stopped."""
    from vidbench import weights

    for row in [weights.find(name) for name in names]:
        with _progress(row) as progress:
            found = weights.fetch(
                row, no_network=offline, accept_non_commercial=accept_non_commercial, progress=progress
            )
        click.echo(f"{row.name}: {state(found)}")
    return EXIT_DONE


@command.command("verify", epilog="\b\nExamples:\n  vidbench weights verify\n  vidbench weights verify i3d\n")
@click.argument("names", nargs=-1)
def verify_command(names: tuple[str, ...]) -> int:
    """Hash files again and compare: all that are here, or those named. Exit code 3 where one is wrong or not here."""
    from vidbench import weights

    rows = [weights.find(name) for name in names] or list(weights.table().values())
    found = [weights.verify(row) for row in rows]
    shown = [one for one in found if names or one.state != "missing"]
    for one in shown:
        click.echo(f"{one.weight.name}: {state(one)}")
    if not shown:
        click.echo(f"no weight files are in {weights.folder()}")
    return EXIT_INCOMPLETE if any(one.state != "present" for one in shown) else EXIT_DONE


@command.command("path", epilog="\b\nExamples:\n  vidbench weights path i3d\n")
@click.argument("name")
def path_command(name: str) -> int:
    """Print where a file is; fails with the command that brings it where it is not here."""
    from vidbench import weights

    click.echo(str(weights.require(name).path))
    return EXIT_DONE


@command.command("import", epilog="\b\nExamples:\n  vidbench weights import i3d i3d_pretrained_400.pt\n")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--unpublished", is_flag=True, help="Take it although its checksum is not the published one; results will say so."
)
def import_command(name: str, file: Path, *, unpublished: bool) -> int:
    """Copy FILE, which came here by other means, to its place once its checksum is right."""
    from vidbench import weights

    found = weights.import_file(weights.find(name), file, unpublished=unpublished)
    click.echo(f"{name}: {state(found)}")
    return EXIT_DONE


def state(found: Status) -> str:
    """One line on what is in the folder under a file's name."""
    from vidbench.weights import fetch_command

    if found.state == "missing":
        return f"missing: {fetch_command(found.weight)}"
    if found.state == "wrong":
        return f"WRONG: {found.reason}"
    vouched = {
        "published": "checksum as published",
        "recorded": "checksum as recorded when it came here; none is published",
        "unpublished": "NOT the published file, imported with --unpublished",
    }[found.origin or "recorded"]
    return f"present, {vouched} ({found.path}, sha256 {(found.sha256 or '')[:16]}…)"


def users(name: str) -> list[str]:
    """Installed metrics that need weights."""
    from vidbench.errors import VidbenchError
    from vidbench.plugins import metrics
    from vidbench.run.plan import requirements

    found = []
    for n, kind in metrics().load_all().items():
        with suppress(VidbenchError):  # a broken plug-in is told of elsewhere
            if any(name in needed.weights for needed in requirements(kind())):
                found.append(n)
    return found


@contextmanager
def _progress(row: WeightFile) -> Iterator[Progress]:
    """A live bar on a terminal, plain lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _PlainProgress(row.name)
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(compact=True))
    with Bar(TextColumn(row.file), *columns, console=console) as bar:
        task = bar.add_task(row.file, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _PlainProgress:
    """A line when the download begins, and now and then."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        from vidbench.weights import megabytes

        now = time.monotonic()
        if now - self._last >= PLAIN_EVERY:
            self._last = now
            of_all = f" of {megabytes(total)}" if total is not None else ""
            click.echo(f"{self._name}: {megabytes(done)}{of_all}", err=True)
