"""`vidbench reference`: statistics of a reference set in a file, instead of its clips in every run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidbench.errors import EXIT_DONE, EXIT_INCOMPLETE

if TYPE_CHECKING:
    from vidbench.reference import ReferenceFile

EPILOG = """\b
Examples:
  vidbench reference build REAL_CLIPS/ -o real.safetensors
  vidbench reference build REAL_CLIPS/ --metrics fvd,kvd --protocol videogpt -o real.safetensors
  vidbench reference show real.safetensors
  vidbench reference merge one.safetensors two.safetensors -o both.safetensors
  vidbench run CLIPS/ --reference real.safetensors
"""


@click.group("reference", epilog=EPILOG)
def command() -> None:
    """Write down once what set metrics keep of a reference set; `vidbench run --reference FILE` uses it.

    A file carries the settings that its numbers depend on, and is refused where a run has others.
    """


@command.command(
    "build",
    epilog="""\b
Examples:
  vidbench reference build REAL_CLIPS/ -o real.safetensors
  vidbench reference build REAL_CLIPS/ --protocol videogpt --no-features -o small.safetensors
  vidbench reference build REAL_CLIPS/ --metrics fvmd_lk --set fvmd_lk.stride=8 -o motion.safetensors
""",
)
@click.argument("clips", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="File to write: FILE.safetensors.")
@click.option(
    "--metrics", "names", default="", help="Set metrics by name, comma-separated.  [default: all that can run]"
)
@click.option(
    "--protocol", help="Protocol of all metrics that have protocols, as videogpt; see `vidbench describe fvd`."
)
@click.option("--set", "settings", multiple=True, metavar="METRIC.NAME=VALUE", help="Set a metric's parameter.")
@click.option("--no-features", is_flag=True, help="Keep no row of a single clip; metrics that need rows are left out.")
@click.option(
    "--fps", type=click.FloatRange(0, min_open=True), help="Frame rate of all clips without one in the metadata."
)
@click.option("--jobs", "-j", type=click.IntRange(1), help="Worker processes.  [default: one a core]")
@click.option(
    "--clip-timeout", type=click.FloatRange(0, min_open=True), default=600.0, show_default=True, help="Seconds a clip."
)
@click.option("--no-cache", is_flag=True, help="Neither read nor fill the cache of observations.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no summary; errors only.")
def build_command(clips: Path, **options: Any) -> int:
    """Write down what set metrics keep of the clips in folder CLIPS.

    Exit code 3 where a clip could not be read; the file then holds the others.
    """
    from vidbench.cli.run import read_settings
    from vidbench.errors import InputError
    from vidbench.reference import SUFFIX
    from vidbench.run.reference import BuildRequest, build
    from vidbench.wording import plain

    out: Path = options["out"]
    if out.suffix != SUFFIX:
        raise InputError(f"-o {out}: the file must end in {SUFFIX}, as {out.stem}{SUFFIX}")
    if not out.parent.is_dir():
        raise InputError(f"-o {out}: the folder {out.parent} does not exist; make it first")
    request = BuildRequest(
        clips=clips,
        out=out,
        metrics=tuple(name.strip() for name in options["names"].split(",") if name.strip()),
        protocol=options["protocol"],
        parameters=read_settings(options["settings"]),
        features=not options["no_features"],
        fps=options["fps"],
        jobs=options["jobs"],
        clip_timeout=options["clip_timeout"],
        cache=not options["no_cache"],
    )
    from vidbench.cli.show import Console

    console = Console(quiet=options["quiet"])
    with console:
        built = build(request, lambda total, jobs: console.begins(total, 0, jobs), console.clip_done)
    for row in built.failed:
        click.echo(plain(f"vidbench: clip {row.clip} failed: {row.reason}"), err=True)
    if not options["quiet"]:
        _show(out, built.reference)
        for name, reasons in built.unscored.items():
            for reason, count in reasons.items():
                click.echo(plain(f"  {name} could not use {count} clips: {reason}"))
        for item in built.left_out:
            click.echo(plain(f"  left out {item.metric}: {item.reason}"))
    return EXIT_INCOMPLETE if built.failed else EXIT_DONE


@command.command("show", epilog="\b\nExamples:\n  vidbench reference show real.safetensors\n")
@click.argument("file", type=click.Path(path_type=Path))
def show_command(file: Path) -> int:
    """Say what is in a reference file, after it was looked over."""
    from vidbench.reference import read_reference
    from vidbench.run.reference import unpacked

    reference = read_reference(file)
    unpacked(file, reference)
    _show(file, reference)
    return EXIT_DONE


@command.command(
    "merge", epilog="\b\nExamples:\n  vidbench reference merge one.safetensors two.safetensors -o both.safetensors\n"
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="File to write.")
def merge_command(files: tuple[Path, ...], *, out: Path) -> int:
    """Put reference files of different clips together, as if all had been one folder."""
    from vidbench.run.reference import merge_files

    _show(out, merge_files(files, out))
    return EXIT_DONE


def _show(path: Path, reference: ReferenceFile) -> None:
    from vidbench.wording import plain

    def span(name: str) -> str:
        low, high = reference.spans.get(name, (None, None))
        if low is None or high is None:
            return "unknown"
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"

    rows = "and rows of single clips" if reference.features else "no row of a single clip"
    lines = [
        f"{path}: {reference.clips} clips, {span('frames')} frames, {span('fps')} fps, "
        f"{span('width')}x{span('height')}; moments, {rows}",
        f"  built by vidbench {reference.vidbench}, {reference.decoder}",
    ]
    for name, kept in sorted(reference.metrics.items()):
        settings = ", ".join(f"{key}={value}" for key, value in kept.parameters.items() if value != "")
        lines.append(f"  {name} {kept.version}: {kept.clips} clips{'; ' if settings else ''}{settings}")
        lines += [
            f"    {stamp.name} {stamp.version}{', weights ' + stamp.weights[:23] + '…' if stamp.weights else ''}"
            for stamp in kept.extractors
        ]
    click.echo("\n".join(plain(line) for line in lines))
