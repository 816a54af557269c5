"""`vidbench generate`: clips of a trained reference generator, as a clip folder."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  vidbench generate dit-action --n 64 -o clips/dit-action
  vidbench generate dit --n 20 --frames 33 --seed 1 -o clips/dit
  vidbench generate dit-action --checkpoint quick.safetensors --n 64 -o clips/quick
  vidbench run clips/dit-action --reference clips/dit-action/true --out runs/dit-action
"""


@click.command("generate", epilog=EPILOG)
@click.argument("name")
@click.option("--n", type=click.IntRange(1), default=64, show_default=True, help="How many clips.")
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="Clip folder to write.")
@click.option("--frames", type=click.IntRange(2), default=17, show_default=True, help="Of a clip; the first is real.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="Trained file.  [default: comes with vidbench]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of scenes, actions and noise.")
@click.option("--model", help="What to call the model.  [default: NAME]")
def command(name: str, n: int, output: Path, frames: int, checkpoint: Path | None, seed: int, model: str | None) -> int:
    """Make clips with the reference generator NAME in scenes it was not trained on, and what truly follows beside them.

    The folder holds the model's clips with their actions or prompts, and the true clips as a model called `true`, which
    the others name as their reference; given to `vidbench run` as --reference it is shown and not ranked. Clips that
    begin in one state have the same `start`.
    """
    from vidbench.errors import InputError
    from vidbench.plugins import generators
    from vidbench.worldmodel.generators import one_thread
    from vidbench.worldmodel.recording import write_clips

    kind = generators().load(name)
    missing = kind.requires.missing()
    if missing is not None:
        raise InputError(f"{name}: {missing}")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; --output names a folder")
    one_thread()
    generator = kind.open(checkpoint)
    made = generator.generate(n, seed, frames=frames)
    called = model or name
    try:
        output.mkdir(parents=True, exist_ok=True)
        if made.references is not None:
            write_clips(made.references, output, model="true")
        written = write_clips(made.clips, output, model=called, reference="true" if made.references else None)
    except OSError as error:
        raise InputError(f"{output} cannot be written ({error.strerror or error})") from None
    click.echo(f"{output}: {len(written)} clips of {called}{' and as many true ones' if made.references else ''}")
    truth = f" --reference {output / 'true'}" if made.references is not None else ""
    click.echo(f"score them: vidbench run {output}{truth} --out runs/{called}")
    return 0
