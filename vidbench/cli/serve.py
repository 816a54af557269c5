"""`vidbench serve`: runs in a browser, however many clips they have."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  vidbench serve runs/large
  vidbench serve runs/old runs/new --open
  vidbench serve runs/large --port 8420
"""


@click.command("serve", epilog=EPILOG)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on.  [default: a free one]")
@click.option("--open", "open_it", is_flag=True, help="Open it in a browser.")
def command(runs: tuple[Path, ...], port: int, *, open_it: bool) -> int:
    """Show the clips of run folders RUN... in a browser, with filters, sorting and a player.

    The report is one file with every clip in it; this is for runs too large for that. It listens on this machine only,
    writes nothing and ends with Ctrl-C.
    """
    from vidbench import wording
    from vidbench.errors import EXIT_DONE, InputError
    from vidbench.results import load_run
    from vidbench_reports.server import Server

    loaded = [load_run(run) for run in runs]
    try:
        server = Server(loaded, port)
    except OSError as error:
        raise InputError(f"cannot listen on port {port} ({error.strerror or error}); choose another --port") from None
    with server:
        files = sum(len(run.clips) for run in loaded)
        click.echo(f"{wording.count(len(loaded), 'run')}, {wording.count(files, 'file')}: {server.address}")
        click.echo("Ctrl-C ends it", err=True)
        if open_it:
            click.launch(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("ended", err=True)
    return EXIT_DONE
