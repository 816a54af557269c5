"""What a run shows in the terminal: progress while it runs, the ranked table when it is done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import click
from rich.console import Console as RichConsole
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from vidbench import wording
from vidbench.results import is_baseline

if TYPE_CHECKING:
    from vidbench.clips import ClipFolder
    from vidbench.results import ClipRow, MetricFacts, ModelScore, OverallRank, Run, Summary
    from vidbench.run.engine import Result
    from vidbench.run.plan import Selection

PLAIN_EVERY = 5.0
"""Seconds between progress lines where the output is no terminal."""


class Console:
    """Progress of a run: a live bar on a terminal, plain lines elsewhere. Implements the engine's `Listener`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.total = 0
        self.done = 0
        self._quiet = quiet
        self._failed = 0
        self._began = time.monotonic()
        self._finished_before = 0
        self._last_line = 0.0
        self._rich = RichConsole(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def selected(self, folder: ClipFolder, selection: Selection) -> None:
        """Say what was found and what runs."""
        models = len({clip.model for clip in folder.clips})
        self._say(
            f"{wording.count(len(folder.clips), 'clip')} of {wording.count(models, 'model')}; "
            f"metrics: {', '.join(m.name for m in selection.plan.metrics)}"
        )
        alike: dict[str, list[str]] = {}
        for item in selection.left_out:
            alike.setdefault(item.reason, []).append(item.metric)
        for reason, names in alike.items():
            self._say(f"left out: {', '.join(names)}: {reason}")

    def begins(self, total: int, finished: int, jobs: int) -> None:
        """Start the bar."""
        self.total, self.done, self._finished_before = total, finished, finished
        self._began = time.monotonic()
        if finished:
            self._say(f"resuming: {finished} of {wording.count(total, 'clip')} are finished")
        if not self._quiet and self._rich.is_terminal and total > finished:
            self._bar = Progress(
                TextColumn("scoring"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("clips  {task.fields[rate]}  {task.fields[failed]} failed "),
                TimeRemainingColumn(compact=True),
                console=self._rich,
            )
            self._task = self._bar.add_task("scoring", total=total, completed=finished, rate="", failed=0)
            self._bar.start()

    def clip_done(self, row: ClipRow) -> None:
        """Move the bar; a failed clip is named at once."""
        self.done += 1
        spent = max(time.monotonic() - self._began, 1e-9)
        rate = (self.done - self._finished_before) / spent
        if row.status == "failed":
            self._failed += 1
            self._say(f"failed: {row.clip}: {row.reason}")
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, rate=f"{rate:.1f}/s", failed=self._failed)
        elif time.monotonic() - self._last_line >= PLAIN_EVERY or self.done == self.total:
            self._last_line = time.monotonic()
            left = (self.total - self.done) / rate
            of_all = wording.count(self.total, "clip")
            self._say(f"{self.done} of {of_all}, {rate:.1f}/s, {left:.0f} s left, {self._failed} failed")

    def finalising(self, what: str) -> None:
        """A set metric is being computed."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._say(f"comparing sets: {what}")

    def _say(self, line: str) -> None:
        if self._quiet:
            return
        line = wording.plain(line)
        if self._bar is not None:
            self._bar.console.print(Text(line), soft_wrap=True)
        else:
            click.echo(line, err=True)


def print_result(result: Result) -> None:
    """Print the verdict, the ranked table and where everything is."""
    console = RichConsole(highlight=False)
    run = result.run
    print_table(console, run)
    for line in wording.verdict(run):
        click.echo(line)
    for line in wording.totals(run.summary) if run.summary is not None else ():
        click.echo(wording.plain(line))
    for warning in run.summary.warnings if run.summary is not None else ():
        click.echo(f"warning: {wording.plain(warning)}")
    counts = {status: sum(row.status == status for row in run.clips) for status in ("scored", "failed", "skipped")}
    told = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    click.echo(f"files: {told}; {wording.count(len(run.findings), 'finding')}")
    page = run.path / "report.html"
    click.echo(f"report: {page if page.exists() else run.path}")


def wide_table(header: Sequence[str], rows: Sequence[Sequence[str]], styles: Mapping[str, str] | None = None) -> None:
    """Print a table of text from anywhere; `styles` by what stands in the last column.

    A terminal folds what is too long for it. A pipe has no width to fit into: there nothing is cut or folded.
    """
    table = Table(header_style="bold", pad_edge=False)
    for head in header:
        table.add_column(head, overflow="fold", no_wrap=False)
    for row in rows:
        cells = [Text(wording.plain(cell)) for cell in row]
        cells[-1].stylize((styles or {}).get(row[-1], ""))
        table.add_row(*cells)
    console = RichConsole(highlight=False)
    needed = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    wide = console if console.is_terminal else RichConsole(highlight=False, width=max(needed, console.width))
    wide.print(table)


def print_table(console: RichConsole, run: Run) -> None:
    """Models in order of overall rank, metrics beside them; turned on its side where the terminal is too narrow."""
    summary = run.summary
    if summary is None or not summary.models:
        return
    metrics = [*wording.judging(run), *wording.describing(run)]
    places = [(str(place.rank or _unranked(place)), place.model) for place in summary.overall]
    heads = [f"{m.name} {wording.arrow(m) or '–'}" for m in metrics]
    cells = [[_cell(m, summary.score(model, m.name), summary) for m in metrics] for _, model in places]
    wide = Table(header_style="bold", pad_edge=False)
    wide.add_column("rank", justify="right")
    wide.add_column("model")
    for head in heads:
        wide.add_column(head, justify="right", no_wrap=True)
    for (rank, model), row in zip(places, cells, strict=True):
        wide.add_row(rank, Text(wording.plain(model)), *row)
    narrow = Table(header_style="bold", pad_edge=False)
    narrow.add_column("metric", no_wrap=True, min_width=max(map(len, heads)))
    for rank, model in places:
        narrow.add_column(Text(f"{rank}. {wording.plain(model)}"), justify="right", overflow="fold")
    for number, head in enumerate(heads):
        narrow.add_row(head, *(row[number] for row in cells))
    needed = Measurement.get(console, console.options.update(max_width=10_000), wide).maximum
    if console.is_terminal and needed > console.width:
        console.print(narrow)
    else:  # in a pipe there is no width to fit into, and a table cut to 80 columns would lose its numbers
        RichConsole(highlight=False, width=max(needed, console.width)).print(wide)
    click.echo("↑ higher is better, ↓ lower is better, – described and not judged; ± half of the 95 % interval")
    for of, note in wording.notes(summary):
        click.echo(f"* {of}: {wording.plain(note)}")
    click.echo(summary.rule)


def _unranked(place: OverallRank) -> str:
    if is_baseline(place.model):
        return "broken"
    return "ref" if place.note else "–"


def _cell(facts: MetricFacts, score: ModelScore | None, summary: Summary) -> Text:
    if score is None or score.value is None:
        return Text("unscored", style="dim")
    after_point = wording.digits(facts, summary)
    text = wording.number(score.value, after_point)
    if score.low is not None and score.high is not None:
        text += f" ±{wording.number((score.high - score.low) / 2, after_point)}"
    if score.n_unscored:
        text += f" ({wording.coverage(score)})"
    if score.footnote is not None:
        text += " *"
    return Text(text, style="bold" if wording.best(score, facts, summary) else "")
