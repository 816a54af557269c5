"""`vidbench play`: steer a world model in the browser."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  vidbench play
  vidbench play --checkpoint quick.safetensors --seed 5 --port 8765 --no-browser
"""


@click.command("play", epilog=EPILOG)
@click.option("--generator", default="dit-action", show_default=True, help="Any generator that is told actions.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Trained file.  [default: comes with vidbench]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first room.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="On 127.0.0.1.  [default: any that is free]")
@click.option("--browser/--no-browser", default=True, help="Open the page.  [default: yes]")
def command(generator: str, checkpoint: Path | None, seed: int, port: int, browser: bool) -> int:
    """Steer the world model with the keys and see the true game beside it, in a page that this machine alone can open.

    Press Ctrl-C here to end.
    """
    from vidbench.errors import InputError
    from vidbench.plugins import generators
    from vidbench.worldmodel.generators import one_thread
    from vidbench.worldmodel.play import Game, PlayServer

    kind = generators().load(generator)
    missing = kind.requires.missing()
    if missing is not None:
        raise InputError(f"{generator}: {missing}")
    one_thread()
    with PlayServer(Game(kind.open(checkpoint), seed), port) as server:
        click.echo(f"{server.url}  (Ctrl-C ends)")
        if browser:
            import webbrowser

            webbrowser.open(server.url)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            click.echo("", err=True)
    return 0
