"""`vidbench leaderboard`: several models, of one run or many, on one board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vidbench.leaderboard import Board, MixedRunsError

EPILOG = """\b
Examples:
  vidbench leaderboard runs/fetv
  vidbench leaderboard runs/ours runs/theirs --out board --open
  vidbench leaderboard runs/ --metrics temporal_flickering,shot_cuts --weight shot_cuts=2
  vidbench leaderboard runs/a runs/b --name runs/b=ours-v2 --format html --format latex
"""
SHOWN = 60
"""Characters of a setting's value in the table of differences."""


@click.command("leaderboard", epilog=EPILOG)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("leaderboard"), show_default=True, help="Folder to write."
)
@click.option("--format", "formats", multiple=True, help="Only this one; may be given again.  [default: all]")
@click.option("--title", default="Leaderboard", show_default=True, help="Heading of the board.")
@click.option("--metrics", "metrics", default="", help="Metrics on the board, comma-separated.  [default: all]")
@click.option(
    "--weight",
    "weights",
    multiple=True,
    metavar="METRIC=NUMBER",
    help="Weight in the overall ranking; 0 only shows a metric.  [default: the suite's, or 1]",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="RUN=NAME",
    help="What a run's model is called on the board; RUN::MODEL=NAME where the run has several.",
)
@click.option("--allow-mixed", is_flag=True, help="Runs of different settings in one file, each setting in a table.")
@click.option(
    "--copy-clips", is_flag=True, help="Copy the previews of the clips beside the page, to take it elsewhere."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws behind intervals of mean ranks.")
@click.option("--open", "open_it", is_flag=True, help="Open the page in a browser.")
def command(
    runs: tuple[Path, ...],
    *,
    out: Path,
    formats: tuple[str, ...],
    title: str,
    metrics: str,
    weights: tuple[str, ...],
    names: tuple[str, ...],
    allow_mixed: bool,
    copy_clips: bool,
    seed: int,
    open_it: bool,
) -> int:
    """Rank the models of one or many run folders, with the uncertainty of every rank.

    RUN is a run folder, or a folder that holds run folders. Runs must have been made alike; what differs is said.
    """
    from vidbench.errors import EXIT_DONE, EXIT_USAGE, InputError
    from vidbench.leaderboard import MixedRunsError, find_runs, load_sources, make_board
    from vidbench.wording import plain

    sources, notes = load_sources(find_runs(runs), _pairs(names, "--name", "RUN=NAME"))
    try:
        board = make_board(
            sources,
            title=title,
            metrics=[name.strip() for name in metrics.split(",") if name.strip()],
            weights=_numbers(weights),
            allow_mixed=allow_mixed,
            notes=notes,
            seed=seed,
        )
    except MixedRunsError as error:
        for line in _table(error):
            click.echo(plain(line), err=True)
        click.echo(f"vidbench: {plain(str(error))}", err=True)
        return EXIT_USAGE
    written, lost = _write(board, out, formats, copy_clips=copy_clips)
    for line in _standings(board):
        click.echo(plain(line))
    for path in written:
        click.echo(str(path))
    if open_it:
        page = next((path for path in written if path.suffix == ".html"), None)
        if page is None:
            raise InputError("--open needs the page; leave --format out or add --format html")
        click.launch(page.resolve().as_uri())
    return EXIT_DONE if not lost else EXIT_USAGE


def _pairs(given: Sequence[str], option: str, form: str) -> dict[str, str]:
    from vidbench.errors import InputError

    pairs = {}
    for text in given:
        key, equals, value = text.rpartition("=")
        if not (equals and key.strip() and value.strip()):
            raise InputError(f"{option} wants {form}, got '{text}'")
        pairs[key.strip()] = value.strip()
    return pairs


def _numbers(given: Sequence[str]) -> dict[str, float]:
    import math

    from vidbench.errors import InputError

    numbers = {}
    for metric, text in _pairs(given, "--weight", "METRIC=NUMBER").items():
        try:
            numbers[metric] = float(text)
        except ValueError:
            numbers[metric] = math.nan
        if not 0 <= numbers[metric] < math.inf:
            raise InputError(f"--weight {metric}={text}: a weight is a number of 0 or more")
    return numbers


def _write(board: Board, out: Path, formats: tuple[str, ...], *, copy_clips: bool) -> tuple[list[Path], int]:
    """The files written, and how many could not be."""
    from vidbench.errors import InputError
    from vidbench.plugins import leaderboards

    registry = leaderboards()
    chosen = {name: registry.load(name) for name in formats} if formats else registry.load_all()
    failures = [] if formats else [str(failure) for failure in registry.failures()]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} can't be made a folder ({error.strerror}); choose another with --out") from None
    written = []
    for name, kind in chosen.items():
        path = out / kind.file_name
        try:
            kind().write(board, path, copy_clips=copy_clips)
            written.append(path)
        except Exception as error:  # a stranger's view may raise anything; the others are still written
            failures.append(f"leaderboard '{name}' could not write {path} ({type(error).__name__}: {error})")
    for failure in failures:
        click.echo(f"vidbench: {failure}", err=True)
    return written, len(failures)


def _standings(board: Board) -> list[str]:
    """The overall ranking as lines for the terminal."""
    from vidbench.wording import span_of_ranks

    lines = []
    for number, block in enumerate(board.blocks, 1):
        if len(board.blocks) > 1:
            lines.append(f"table {number}: {', '.join(source.label for source in block.sources)}")
        for model in block.summary.models:
            place = block.place(model)
            rank = span_of_ranks(place.rank_low, place.rank_high) or "-"
            told = place.note if place.mean_rank is None else f"mean rank {place.mean_rank:.2f}"
            if place.low is not None and place.high is not None:
                told = f"{told} [{place.low:.2f}, {place.high:.2f}]{', on the Pareto front' if place.pareto else ''}"
            lines.append(f"{rank:>5}  {model}: {told or 'not ranked'}")
        lines += [f"warning: {warning}" for warning in block.summary.warnings]
    return [*lines, *(f"note: {note}" for note in board.notes)]


def _table(error: MixedRunsError) -> list[str]:
    """What differs, one row a setting, one column a run."""
    rows = [("", *error.labels), *((setting.what, *setting.values) for setting in error.settings)]
    short = [[text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…" for text in row] for row in rows]
    widths = [max(len(row[i]) for row in short) for i in range(len(short[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in short]
