"""`vidbench train`: a reference generator from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vidbench.generator import Report

EPILOG = """\b
Examples:
  vidbench train dit-action
  vidbench train dit-action --cpu-seconds 40 --seed 1 -o quick.safetensors
  vidbench train dit --steps 500 -o dit.safetensors
  vidbench generate dit-action --checkpoint quick.safetensors --n 64 -o clips/quick
"""


@click.command("train", epilog=EPILOG)
@click.argument("name")
@click.option("--cpu-seconds", type=click.FloatRange(0, min_open=True), help="CPU time to spend.  [default: 600]")
@click.option("--steps", type=click.IntRange(1), help="Optimiser steps to do, instead of CPU time.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of weights, data and order.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File to write.  [default: NAME.safetensors]")
def command(name: str, cpu_seconds: float | None, steps: int | None, seed: int, output: Path | None) -> int:
    """Train the reference generator NAME (`vidbench list generators`) on one CPU core.

    Interrupted, it keeps what it has in OUTPUT.unfinished, and the same command goes on from there. A line a report:
    share of the budget, steps, CPU-seconds, loss, loss by noise time from pure noise to almost none, and PSNR of the
    next frame in rooms that are not trained on, beside that of repeating the last frame.
    """
    from vidbench.errors import InputError
    from vidbench.generator import Budget
    from vidbench.plugins import generators
    from vidbench.worldmodel.generators import one_thread

    kind = generators().load(name)
    target = output or Path(f"{name}.safetensors")
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: a trained generator's file ends in .safetensors")
    if not target.absolute().parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}")
    if cpu_seconds is not None and steps is not None:
        raise InputError("give --cpu-seconds or --steps, not both")
    budget = kind.budget if cpu_seconds is None and steps is None else Budget(cpu_seconds, steps)
    missing = kind.requires.missing()
    if missing is not None:
        raise InputError(f"{name}: {missing}")
    one_thread()
    state = target.with_suffix(".unfinished")
    if state.exists():
        click.echo(f"going on from {state}", err=True)
    click.echo(f"{name}: {budget}, seed {seed}", err=True)
    try:
        trained = kind.train(budget, seed, progress=_show, state=state)
    except KeyboardInterrupt:
        click.echo(f"\nvidbench: kept in {state}; the same command goes on", err=True)
        raise
    trained.save(target)
    click.echo(f"{target}: {', '.join(f'{key} {value}' for key, value in trained.notes.items())}")
    return 0


def _show(report: Report) -> None:
    bins = " ".join("-" if mean is None else f"{mean:.4f}" for mean in report.by_time)
    held_out = ", ".join(f"{name} {value:.2f}" for name, value in report.held_out.items())
    click.echo(
        f"{report.share:4.0%} {report.steps:6d} steps {report.cpu_seconds:6.0f} CPU-s  loss {report.loss:.4f}"
        + (f" ({bins})" if bins else "")
        + (f"  held out: {held_out}" if held_out else ""),
        err=True,
    )
