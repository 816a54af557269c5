"""`vidbench inspect`: look at one clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vidbench.errors import EXIT_DONE, EXIT_INCOMPLETE

if TYPE_CHECKING:
    from vidbench.run.inspect import Inspection

EPILOG = """\b
Examples:
  vidbench inspect CLIPS/0.mp4
  vidbench inspect CLIPS/0.mp4 -o looked-at --metrics shot_cuts,frozen_frames
  vidbench inspect CLIPS/0.mp4 --fps 12
"""


@click.command("inspect", epilog=EPILOG)
@click.argument("clip", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder to write.  [default: inspect-NAME OF CLIP]")
@click.option("--metrics", "names", default="", help="Metrics by name, comma-separated.  [default: all that can run]")
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="Frame rate of the clip, whatever the file says.")
@click.option("--max-pixels", type=click.IntRange(1), help="Largest frame, in pixels.  [default: 8K UHD]")
@click.option("--max-frames", type=click.IntRange(1), help="Longest clip, in frames.  [default: 100000]")
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the cache of observations.")
def command(
    clip: Path,
    out: Path | None,
    names: str,
    fps: float | None,
    max_pixels: int | None,
    max_frames: int | None,
    no_cache: bool,
) -> int:
    """Score CLIP and write what was found in it: a video, sentences, curves.

    CLIP is a video file, a folder of frames or an array. It is scored by the metrics that need no reference. The folder
    then holds annotated.mp4 (findings and tracked objects drawn in, a time line below), findings.md (scores and
    findings in words) and curves.svg (numbers per frame).
    """
    import cv2

    from vidbench.run.inspect import inspect_clip
    from vidbench.video import Limits

    cv2.setNumThreads(1)  # as in a run, whose scores these are
    limits = Limits()
    inspection = inspect_clip(
        clip,
        out,
        metrics=tuple(name.strip() for name in names.split(",") if name.strip()),
        fps=fps,
        cache=not no_cache,
        limits=Limits(max_pixels or limits.max_pixels, max_frames or limits.max_frames),
    )
    _show(inspection)
    return EXIT_INCOMPLETE if inspection.missing else EXIT_DONE


def _show(inspection: Inspection) -> None:
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    from vidbench import wording
    from vidbench.run.inspect import table

    scores = Table(header_style="bold", pad_edge=False)
    scores.add_column("metric", no_wrap=True)
    scores.add_column("value", justify="right", no_wrap=True)
    scores.add_column("unit, or why there is none", overflow="fold")
    for cells in table(inspection):
        scores.add_row(*(Text(wording.plain(cell)) for cell in cells))
    console = Console(highlight=False)
    needed = Measurement.get(console, console.options.update(max_width=10_000), scores).maximum
    # In a pipe there is no width to fit into.
    wide = console if console.is_terminal else Console(highlight=False, width=max(needed, console.width))
    wide.print(scores)
    click.echo("↑ higher is better, ↓ lower is better; without an arrow: described, not judged")
    click.echo(f"{wording.count(len(inspection.findings), 'finding')}{':' if inspection.findings else ''}")
    for finding in inspection.findings:
        sure = "" if finding.confidence is None else f", confidence {finding.confidence:.0%}"
        click.echo(wording.plain(f"  {finding.kind}, {wording.span(finding)}{sure}: {finding.message}"))
    for left in inspection.left_out:
        click.echo(wording.plain(f"left out: {left.metric} {left.reason}"), err=True)
    for warning in inspection.warnings:
        click.echo(wording.plain(f"warning: {warning}"), err=True)
    for row in inspection.missing:
        click.echo(wording.plain(f"vidbench: {row.metric} is required and unscored: {row.reason}"), err=True)
    for path in inspection.files:
        click.echo(wording.plain(str(path)))
