"""`vidbench compare`: two runs, or two models, set side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from vidbench.compare import Comparison, MetricChange, ModelComparison

EPILOG = """\b
Examples:
  vidbench compare runs/old runs/new
  vidbench compare runs/old runs/new --out comparison.html
  vidbench compare runs/fetv:cogvideo runs/fetv:zeroscope
  vidbench compare runs/old runs/new --json
"""


@click.command("compare", epilog=EPILOG)
@click.argument("before", metavar="BEFORE[:MODEL]")
@click.argument("after", metavar="AFTER[:MODEL]")
@click.option("--out", "-o", type=click.Path(path_type=Path, dir_okay=False), help="Write a page (HTML) there too.")
@click.option("--json", "as_text", is_flag=True, help="Print the comparison as JSON instead of tables.")
@click.option("--allow-mixed", is_flag=True, help="Show metrics whose settings differ, without a verdict.")
@click.option("--top", type=click.IntRange(0), default=5, show_default=True, help="Clips to name in each direction.")
def command(before: str, after: str, out: Path | None, top: int, *, as_text: bool, allow_mixed: bool) -> int:
    """Say what got better or worse from run BEFORE to run AFTER.

    Both are run folders; a model can be named after a colon, so that two models of one run can be compared. Clips are
    paired by prompt and name. Metrics that were not computed in the same way are not compared. The exit code is 0
    whatever comes out; `vidbench gate` fails a build.
    """
    import json

    from vidbench.compare import compare, read_side
    from vidbench.compare.words import as_json
    from vidbench.errors import EXIT_DONE, InputError

    comparison = compare(read_side(before), read_side(after), allow_mixed=allow_mixed)
    if out is not None:
        from vidbench_reports.comparison import write_page

        try:
            write_page(comparison, out)
        except OSError as error:
            raise InputError(f"cannot write {out} ({error.strerror or error}); choose another --out") from None
    if as_text:
        click.echo(json.dumps(as_json(comparison), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _show(comparison, top)
        if out is not None:
            click.echo(f"page: {out}")
    return EXIT_DONE


def _show(comparison: Comparison, top: int) -> None:
    from rich.console import Console

    from vidbench import wording
    from vidbench.compare.words import headline, label

    console = Console(highlight=False)
    click.echo(f"before: {label(comparison.before)}; after: {label(comparison.after)}")
    for model in comparison.models:
        click.echo("")
        click.echo(headline(model))
        said = _notes(model)
        _print(console, _metric_table(model, said))
        for number, note in enumerate(said, 1):
            click.echo(wording.plain(f"[{number}] {note}"))
        _clips(console, model, top)
        for note in model.notes:
            click.echo(wording.plain(f"note: {note}"))
    click.echo("")
    for item in comparison.refused:
        what = "shown without verdict" if comparison.mixed else "not compared"
        click.echo(wording.plain(f"{what}: {item.metric}: {'; '.join(item.reasons)}"))
    for single in comparison.single:
        other = "after" if single.side == "before" else "before"
        click.echo(wording.plain(f"only {single.side}: {single.metric}; {other}: {single.reason}"))
    for models, side in ((comparison.only_before, "before"), (comparison.only_after, "after")):
        if models:
            click.echo(wording.plain(f"only {side}: model{'s' if len(models) > 1 else ''} {wording.listed(models)}"))
    for note in comparison.notes:
        click.echo(wording.plain(f"differs, and may explain small differences: {note}"))
    click.echo("↑ higher is better, ↓ lower is better, – described and not judged; intervals are 95 %")
    click.echo(comparison.rule)


def _notes(model: ModelComparison) -> list[str]:
    """What must be known of values and differences, each once."""
    notes = [change.note for change in model.metrics]
    methods = [change.method if _unexplained(change) else None for change in model.metrics]
    return list(dict.fromkeys(note for note in (*methods, *notes) if note is not None))


def _unexplained(change: MetricChange) -> bool:
    """Whether a difference or its interval is missing, so that the reason must be told."""
    return change.verdict != "same" and (change.difference is None or change.low is None)


def _metric_table(model: ModelComparison, said: list[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from vidbench import wording
    from vidbench.compare.words import VERDICTS, p_value

    table = Table(header_style="bold", pad_edge=False)
    for head in ("metric", "before", "after", "difference", "interval", "p (Holm)", "pairs"):
        table.add_column(head, justify="left" if head == "metric" else "right", no_wrap=True)
    table.add_column("verdict")
    for change in model.metrics:
        style = {"better": "green", "worse": "red"}.get(change.verdict, "")
        marks = [said.index(n) + 1 for n in (change.method, change.note) if n is not None and n in said]
        told = VERDICTS[change.verdict] + "".join(f" [{mark}]" for mark in marks)
        table.add_row(
            f"{change.facts.name} {wording.arrow(change.facts) or '–'}",
            *_numbers(change),
            p_value(change.p_corrected),
            str(change.pairs),
            Text(wording.plain(told), style=style),
        )
    return table


def _numbers(change: MetricChange) -> tuple[str, str, str, str]:
    from vidbench import wording
    from vidbench.compare.words import after_point, signed

    digits = after_point(change)

    def shown(value: float | None) -> str:
        return "unscored" if value is None else wording.number(value, digits)

    interval = ""
    if change.low is not None and change.high is not None:
        interval = f"{signed(change.low, digits)} to {signed(change.high, digits)}"
    return (
        shown(change.before),
        shown(change.after),
        "" if change.difference is None else signed(change.difference, digits),
        interval,
    )


def _clips(console: Console, model: ModelComparison, top: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from vidbench import wording
    from vidbench.compare.words import moved_most, unpaired

    for what, changes in zip(("got worse most", "got better most"), moved_most(model, top), strict=True):
        if not changes:
            continue
        table = Table(header_style="bold", pad_edge=False)
        table.add_column(f"clips that {what}", overflow="fold")
        for head in ("metric", "before", "after", "spreads"):
            table.add_column(head, justify="left" if head == "metric" else "right", no_wrap=True)
        for change in changes:
            digits = wording.decimals([change.before, change.after])
            table.add_row(
                Text(wording.plain(change.pair.after.clip)),
                change.metric,
                wording.number(change.before, digits),
                wording.number(change.after, digits),
                f"{change.spreads:+.1f}",
            )
        _print(console, table)
    for new, what in ((True, "new"), (False, "gone")):
        found = [change.finding for change in model.findings if change.new is new]
        click.echo(f"{what}: {wording.count(len(found), 'finding')}{':' if found and top else ''}")
        for finding in found[:top]:
            sure = "" if finding.confidence is None else f", confidence {finding.confidence:.0%}"
            told = f"  {finding.clip}: {finding.kind}, {wording.span(finding)}{sure}: {finding.message}"
            click.echo(wording.plain(told))
        if len(found) > top > 0:
            click.echo(f"  and {len(found) - top} more (--top, --json or --out show them)")
    for item in model.coverage:
        for clips, what in ((item.lost, "lost"), (item.won, "won")):
            if clips:
                clip, reason = clips[0]
                told = f"{what} scores of {item.metric}: {wording.count(len(clips), 'clip')}, as {clip}: {reason}"
                click.echo(wording.plain(told))
    alone = unpaired(model)
    for side in ("before", "after"):
        names = [row.clip for row, of in alone if of == side]
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            click.echo(wording.plain(f"without a partner, only {side}: {', '.join(names[:3])}{more}"))


def _print(console: Console, table: Table) -> None:
    """Print a table; in a pipe there is no width to fit into."""
    from rich.console import Console as RichConsole
    from rich.measure import Measurement

    needed = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    wide = console if console.is_terminal else RichConsole(highlight=False, width=max(needed, console.width))
    wide.print(table)
