"""`vidbench demo`: from nothing to a report."""

from __future__ import annotations

from pathlib import Path

import click

MARK = "made-by-vidbench-demo.txt"

EPILOG = """\b
Examples:
  vidbench demo
  vidbench demo --folder my-demo
"""


@click.command("demo", epilog=EPILOG)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("vidbench-demo"),
    show_default=True,
    help="Where to write.",
)
def command(folder: Path) -> int:
    """Make clips of three made-up models (steady, flickering, teleporting), score and compare them."""
    from vidbench.cli.run import exit_code, write_reports
    from vidbench.cli.show import Console, print_result
    from vidbench.demo import make_demo
    from vidbench.errors import EXIT_DONE, EXIT_INCOMPLETE, InputError
    from vidbench.run.engine import Request, execute

    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise InputError(f"{folder} is not empty and was not made by the demo; choose another --folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_text("Made by `vidbench demo`, which may replace what is here.\n", encoding="utf-8")
        folders = make_demo(folder)
    except OSError as error:
        raise InputError(f"cannot write the demo to {folder} ({error.strerror or error}); choose --folder") from None
    click.echo(f"made {sum(1 for _ in folders.clips.glob('*/*.mp4'))} clips of 3 models in {folders.clips}", err=True)
    request = Request(
        clips=folders.clips,
        out=folder / "run",
        reference=folders.real,
        pair_by_name=True,
        overwrite=True,
        command=f"vidbench run {folders.clips} --reference {folders.real} --pair-by-name --out {folder / 'run'}",
    )
    console = Console()
    with console:
        result = execute(request, console)
    _, lost = write_reports(result.run)
    print_result(result)
    click.echo(f"the same by hand: {request.command}")
    return exit_code(result, strict=True) or (EXIT_INCOMPLETE if lost else EXIT_DONE)
