"""`vidbench run`: score a folder of clips."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidbench.errors import EXIT_DONE, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_USAGE, InputError

if TYPE_CHECKING:
    from vidbench.results import Run
    from vidbench.run.engine import Request, Result

EPILOG = """\b
Examples:
  vidbench run CLIPS/
  vidbench run CLIPS/ --reference REAL_CLIPS/ --out runs/ours
  vidbench run CLIPS/ --metrics temporal_flickering,shot_cuts --strict
  vidbench run CLIPS/ --suite frames --set frozen_frames.min_repeats=4
  vidbench run CLIPS/ --baselines frozen,shuffled
"""


@click.command("run", epilog=EPILOG)
@click.argument("clips", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to write.  [default: runs/NAME OF CLIPS]")
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    help="Real clips to compare sets with: a folder, or a file of `vidbench reference build`.",
)
@click.option("--pair-by-name", is_flag=True, help="Clips of --reference with equal names are the true clips.")
@click.option("--metrics", "names", default="", help="Metrics by name, comma-separated.  [default: all that can run]")
@click.option("--suite", help="A named selection of metrics; see `vidbench list`.")
@click.option("--set", "settings", multiple=True, metavar="METRIC.NAME=VALUE", help="Set a metric's parameter.")
@click.option("--model", help="Name of the model, for a flat folder.")
@click.option(
    "--fps",
    type=click.FloatRange(0, min_open=True),
    help="Frame rate of all clips without one in the metadata, whatever the file says.",
)
@click.option(
    "--baselines",
    metavar="NAMES",
    default="",
    help="Score broken copies of the clips too: `all`, or names as `vidbench baselines --help` lists them.",
)
@click.option("--jobs", "-j", type=click.IntRange(1), help="Worker processes.  [default: one a core]")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option(
    "--clip-timeout", type=click.FloatRange(0, min_open=True), default=600.0, show_default=True, help="Seconds a clip."
)
@click.option("--max-pixels", type=click.IntRange(1), help="Largest frame, in pixels.  [default: 8K UHD]")
@click.option("--max-frames", type=click.IntRange(1), help="Longest clip, in frames.  [default: 100000]")
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the cache of observations.")
@click.option("--no-media", is_flag=True, help="Make no filmstrips, previews and pictures of findings.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of resampled intervals.")
@click.option(
    "--strict",
    is_flag=True,
    help="Exit with 3 if any clip failed or any score that judges or was asked for is missing.",
)
@click.option("--overwrite", is_flag=True, help="Replace another run in the output folder.")
@click.option("--retry-failed", is_flag=True, help="On resuming, try failed clips again.")
@click.option("--open", "open_it", is_flag=True, help="Open the HTML report in a browser when it is done.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no table; errors only.")
def command(clips: Path, **options: Any) -> int:
    """Score the clips in folder CLIPS and write a report.

    CLIPS holds one folder a model, or clips of one model. Prompts, models and true clips can be named in a metadata.csv
    beside them. A killed run is resumed by the same command.
    """
    from vidbench.cli.show import Console, print_result
    from vidbench.run.engine import execute

    request = _request(clips, options)
    console = Console(quiet=options["quiet"])
    try:
        with console:
            result = execute(request, console)
    except KeyboardInterrupt:
        kept = (
            f"{console.done} of {console.total} clips are finished and kept in {request.out}; the same command goes on "
            "from there"
            if console.total
            else "nothing was begun"
        )
        click.echo(f"vidbench: interrupted; {kept}", err=True)
        return EXIT_INTERRUPTED
    paths, lost = write_reports(result.run)
    if not options["quiet"]:
        print_result(result)
    page = next((path for path in paths if path.suffix == ".html"), None)
    if options["open_it"] and page is not None:
        click.launch(page.resolve().as_uri())
    return exit_code(result, strict=options["strict"]) or (EXIT_INCOMPLETE if lost else EXIT_DONE)


def _request(clips: Path, options: dict[str, Any]) -> Request:
    from vidbench.baselines import named
    from vidbench.run.engine import Request
    from vidbench.video import Limits

    limits = Limits()
    return Request(
        clips=clips,
        out=options["out"] or Path("runs") / (clips.resolve().name or "clips"),
        reference=options["reference"],
        metrics=tuple(name.strip() for name in options["names"].split(",") if name.strip()),
        suite=options["suite"],
        parameters=read_settings(options["settings"]),
        model=options["model"],
        fps=options["fps"],
        pair_by_name=options["pair_by_name"],
        jobs=options["jobs"],
        engine=options["engine"],
        clip_timeout=options["clip_timeout"],
        limits=Limits(options["max_pixels"] or limits.max_pixels, options["max_frames"] or limits.max_frames),
        cache=not options["no_cache"],
        media=not options["no_media"],
        seed=options["seed"],
        overwrite=options["overwrite"],
        retry_failed=options["retry_failed"],
        baselines=named(options["baselines"]) if options["baselines"] else (),
        command=shlex.join(["vidbench", *sys.argv[1:]]),
    )


def read_settings(settings: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Values of `--set METRIC.NAME=VALUE`, by metric and name.

    Raises:
        InputError: one is not of that form.
    """
    parameters: dict[str, dict[str, str]] = {}
    for setting in settings:
        target, equals, value = setting.partition("=")
        metric, dot, name = target.partition(".")
        if not (equals and dot and metric and name):
            raise InputError(f"--set wants METRIC.NAME=VALUE, got '{setting}'; see `vidbench describe METRIC`")
        parameters.setdefault(metric, {})[name] = value
    return parameters


def write_reports(run: Run, names: tuple[str, ...] = ()) -> tuple[list[Path], int]:
    """Write the reports of a run into its folder, all installed ones unless named.

    A report that fails is named on standard error and costs no other.

    Returns:
        The paths written, and how many reports failed.

    Raises:
        PluginError: a named report is unknown or does not load.
    """
    from vidbench.plugins import reports

    registry = reports()
    written: list[Path] = []
    chosen = {name: registry.load(name) for name in names} if names else registry.load_all()
    failures = [] if names else [str(failure) for failure in registry.failures()]
    for name, kind in chosen.items():
        path = run.path / kind.file_name
        try:
            kind().write(run, path)
            written.append(path)
        except Exception as error:  # a stranger's report may raise anything; the others are still written
            failures.append(f"report '{name}' could not write {path} ({type(error).__name__}: {error})")
    for failure in failures:
        click.echo(f"vidbench: {failure}", err=True)
    return written, len(failures)


def exit_code(result: Result, *, strict: bool) -> int:
    """The run's exit code: 2 if no clip could be read, 3 if something required is missing, else 0."""
    from vidbench.results import is_baseline
    from vidbench.wording import plain

    clips = result.run.clips
    if not any(row.status == "scored" for row in clips):
        failed = sum(row.status == "failed" for row in clips)
        click.echo(
            f"vidbench: none of the {failed} clips could be read; {result.run.path}/clips.jsonl says why", err=True
        )
        return EXIT_USAGE
    # A broken baseline that a metric will not judge is no lack of the run.
    scores = [
        s for s in (result.run.summary.scores if result.run.summary is not None else ()) if not is_baseline(s.model)
    ]
    missing = [s for s in scores if s.metric in result.selection.required and s.value is None]
    for score in missing:
        line = f"vidbench: {score.metric} of {score.model} is required and unscored: {score.reason}"
        click.echo(plain(line), err=True)
    if missing:
        return EXIT_INCOMPLETE
    if strict:
        failed = sum(row.status == "failed" for row in clips)
        # A metric that only describes and was not asked for may abstain: nothing that counts is missing.
        described = {f.name for f in result.selection.facts if f.diagnostic} - result.selection.required
        unscored = sum(
            row.value is None and row.metric not in described and not is_baseline(row.model)
            for row in result.run.scores
        )
        if failed or unscored:
            click.echo(f"vidbench: --strict: {failed} clips failed, {unscored} scores are missing", err=True)
            return EXIT_INCOMPLETE
    return EXIT_DONE
