"""`vidbench selftest`: do the installed metrics notice broken clips on this machine?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vidbench.selftest import Claim

EPILOG = """\b
Examples:
  vidbench selftest
  vidbench selftest --metrics temporal_flickering,frozen_frames
"""


@click.command("selftest", epilog=EPILOG)
@click.option("--metrics", "names", default="", help="Metrics by name, comma-separated.  [default: all that can run]")
@click.option("--jobs", "-j", type=click.IntRange(1), help="Worker processes.  [default: one a core]")
def command(names: str, jobs: int | None) -> int:
    """Make good and broken clips, score them, and check that each metric sees what it claims to see.

    Takes about a minute on one core, reads no clips of yours and leaves nothing behind. Exits with 0 if every claim
    that could be tested held, with 1 if not.
    """
    from vidbench import wording
    from vidbench.errors import EXIT_DONE, EXIT_GATE_FAILED, InputError
    from vidbench.selftest import selftest

    chosen = tuple(name.strip() for name in names.split(",") if name.strip())
    try:
        with tempfile.TemporaryDirectory(prefix="vidbench-selftest-") as folder:
            report = selftest(Path(folder), chosen, jobs=jobs, tell=lambda line: click.echo(line, err=True))
    except OSError as error:
        raise InputError(
            f"cannot write the clips of the test to {tempfile.gettempdir()} ({error.strerror or error}); set TMPDIR"
        ) from None
    tested = [claim for claim in report.claims if claim.outcome != "not tested"]
    _show(tested)
    reasons: dict[str, list[str]] = {}
    for claim in report.claims:
        if claim.outcome == "not tested":
            reasons.setdefault(claim.reason or "no reason given", []).append(claim.metric)
    for reason, of in reasons.items():
        click.echo(wording.plain(f"not tested: {', '.join(dict.fromkeys(of))}: {reason}"))
    if report.silent:
        click.echo(f"not tested: {', '.join(report.silent)}: they do not state what they see")
    held = sum(claim.outcome == "seen" for claim in tested)
    of_metrics = wording.count(len({claim.metric for claim in tested}), "metric")
    click.echo(f"{held} of {wording.count(len(tested), 'claim')} of {of_metrics} hold")
    if not tested:
        click.echo("vidbench: nothing could be tested; `vidbench doctor` says what is missing", err=True)
    return EXIT_DONE if report.passed else EXIT_GATE_FAILED


def _show(claims: list[Claim]) -> None:
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    from vidbench import wording

    table = Table(header_style="bold", pad_edge=False)
    for head in ("metric", "broken by", "good clips", "broken clips"):
        table.add_column(head, justify="right" if head.endswith("clips") else "left", no_wrap=True)
    table.add_column("the claim")
    for claim in claims:
        values = [v for v in (claim.good, claim.bad) if v is not None]
        shown = [wording.number(v, wording.decimals(values)) for v in values] or ["–", "–"]
        told = {"seen": "holds", "missed": "fails: not worse"}.get(claim.outcome, f"fails: unscored: {claim.reason}")
        table.add_row(
            f"{claim.metric} {'↑' if claim.higher_is_better else '↓'}",
            claim.broken,
            *shown,
            Text(wording.plain(told), style="" if claim.outcome == "seen" else "bold red"),
        )
    console = Console(highlight=False)
    needed = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    (console if console.is_terminal else Console(highlight=False, width=max(needed, console.width))).print(table)
