"""`vidbench report`: write the reports of a run again."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  vidbench report runs/fetv
  vidbench report runs/fetv --format html --open
"""


@click.command("report", epilog=EPILOG)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "names", multiple=True, help="Only this report; may be given again.  [default: all]")
@click.option("--open", "open_it", is_flag=True, help="Open the HTML report in a browser.")
def command(run: Path, names: tuple[str, ...], *, open_it: bool) -> int:
    """Write the reports of the run folder RUN again, from its rows alone."""
    from vidbench.cli.run import write_reports
    from vidbench.errors import EXIT_DONE, EXIT_INCOMPLETE, InputError
    from vidbench.results import load_run

    paths, lost = write_reports(load_run(run), names)
    for path in paths:
        click.echo(str(path))
    if open_it:
        page = next((path for path in paths if path.suffix == ".html"), None)
        if page is None:
            raise InputError("--open needs the html report; leave --format out or add --format html")
        click.launch(page.resolve().as_uri())
    return EXIT_INCOMPLETE if lost else EXIT_DONE
