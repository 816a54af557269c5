"""`vidbench baselines`: broken copies of the user's own clips."""

from __future__ import annotations

from pathlib import Path

import click

MARK = "made-by-vidbench-baselines.txt"

EPILOG = """\b
Baselines:
  frozen         the first frame, again and again
  shuffled       all frames, out of order
  reversed       time runs backwards
  noise          heavy noise, new in every frame
  teleport       half of the frames are missing in the middle: what moves jumps
  flicker        every frame has a brightness of its own
  wrong-prompt   right pixels, another clip's prompt
  wrong-actions  right pixels, other actions

\b
Examples:
  vidbench baselines CLIPS/ -o broken
  vidbench baselines CLIPS/ -o broken --only frozen,wrong-prompt --most 8
  vidbench run CLIPS/ --baselines all
"""


@click.command("baselines", epilog=EPILOG)
@click.argument("clips", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="Clip folder to write.")
@click.option("--only", metavar="NAMES", default="all", help="Baselines by name, comma-separated.  [default: all]")
@click.option("--most", type=click.IntRange(1), default=24, show_default=True, help="Clips of one baseline.")
@click.option("--model", help="Name of the model, for a flat folder.")
def command(clips: Path, out: Path, only: str, most: int, model: str | None) -> int:
    """Make broken copies of the clips in folder CLIPS, to see what failure looks like.

    They become a clip folder with prompts, actions and true clips; its models are called baseline:frozen and so on.
    Such models are shown and never ranked, and a metric that puts one above another model is flagged.
    """
    from vidbench import wording
    from vidbench.baselines import named, write_folder
    from vidbench.clips import discover
    from vidbench.errors import EXIT_DONE, EXIT_INCOMPLETE, InputError

    names = named(only)
    folder = discover(clips, model=model)
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise InputError(f"{out} is not empty and was not made by `vidbench baselines`; choose another --out")
    if out.resolve().is_relative_to(folder.root.resolve()):
        raise InputError(f"{out} lies within {clips}: a later run would score it too; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / MARK).write_text("Made by `vidbench baselines`, which may replace what is here.\n", encoding="utf-8")
        written = write_folder(folder, out, names, most=most)
    except OSError as error:
        raise InputError(f"cannot write to {out} ({error.strerror or error}); choose another --out") from None
    for name, count in written.clips.items():
        click.echo(f"baseline:{name}: {wording.count(count, 'clip')}")
    for name, reason in written.left_out.items():
        click.echo(wording.plain(f"left out: {name}: {reason}"), err=True)
    for clip, reason in written.failed.items():
        click.echo(wording.plain(f"failed: {clip}: {reason}"), err=True)
    click.echo(str(out))
    return EXIT_INCOMPLETE if written.failed else EXIT_DONE
