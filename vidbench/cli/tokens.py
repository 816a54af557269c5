"""`vidbench tokens`: how many tokens a clip is, and what they cost a video transformer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vidbench.worldmodel.tokens import Cost, Grid, NetworkSize

EPILOG = """\b
Examples:
  vidbench tokens
  vidbench tokens --seconds 5 --fps 24 --height 360 --width 640 --patch 2 8 8
  vidbench tokens --fps 24 --vae 4 8 8 --patch 1 2 2 --latent-channels 16
  vidbench tokens --frames 16 --height 32 --width 32 --patch 1 8 8 --model-width 128 --depth 4 --heads 4 --json
"""

POSITIVE = click.IntRange(1)
ABOVE_ZERO = click.FloatRange(0, min_open=True)


@click.command("tokens", epilog=EPILOG)
@click.option("--seconds", type=ABOVE_ZERO, default=5.0, show_default=True, help="Length of the clip.")
@click.option("--fps", type=ABOVE_ZERO, default=24.0, show_default=True, help="Frames a second.")
@click.option("--frames", type=POSITIVE, help="Frames of the clip, instead of --seconds and --fps.")
@click.option("--height", type=POSITIVE, default=360, show_default=True, help="Pixels.")
@click.option("--width", type=POSITIVE, default=640, show_default=True, help="Pixels.")
@click.option("--patch", type=POSITIVE, nargs=3, help="Frames, rows, columns.  [default: 2 8 8; with --vae 1 2 2]")
@click.option("--vae", type=POSITIVE, nargs=3, help="What a causal VAE makes one latent of; the first frame is alone.")
@click.option("--latent-channels", type=POSITIVE, default=16, show_default=True, help="Of the VAE.")
@click.option("--window", type=POSITIVE, nargs=3, default=(4, 9, 8), help="In tokens.  [default: 4 9 8]")
@click.option("--model-width", type=POSITIVE, default=1152, show_default=True, help="Channels of a token.")
@click.option("--depth", type=POSITIVE, default=28, show_default=True, help="Blocks of the network.")
@click.option("--heads", type=POSITIVE, default=16, show_default=True, help="Of attention.")
@click.option("--mlp-ratio", type=POSITIVE, default=4, show_default=True, help="Hidden channels, in widths.")
@click.option(
    "--dtype",
    type=click.Choice(("bfloat16", "float16", "float32")),
    default="bfloat16",
    show_default=True,
    help="Of weights and activations.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def command(**options: Any) -> int:
    """Work out tokens, pairs, operations and memory of a video transformer, for joint, divided and window attention.

    Nothing is run: it is arithmetic, for one clip at a time, and its assumptions are printed. The network is a DiT as
    in vidbench.worldmodel; the default size is DiT-XL's. What does not divide is padded, and said.
    """
    from vidbench.worldmodel import tokens

    vae = options["vae"] or None
    frames = options["frames"] or tokens.frames_of(options["seconds"], options["fps"])
    grid = tokens.tokens_of(
        (frames, options["height"], options["width"]),
        options["patch"] or ((2, 8, 8) if vae is None else (1, 2, 2)),
        channels=3 if vae is None else options["latent_channels"],
        vae=vae,
    )
    network = tokens.NetworkSize(
        options["model_width"], options["depth"], options["heads"], options["mlp_ratio"], options["dtype"]
    )
    window: tuple[int, int, int] = options["window"]
    costs = [tokens.cost(grid, network, kind, window) for kind in ("joint", "divided", "window")]
    if options["as_json"]:
        click.echo(json.dumps(_record(grid, network, window, costs), indent=2))
    else:
        _show(grid, network, window, costs)
    return 0


def _record(grid: Grid, network: NetworkSize, window: tuple[int, int, int], costs: list[Cost]) -> dict[str, object]:
    from dataclasses import asdict

    from vidbench.worldmodel.tokens import DEVICES, window_notes

    return {
        "grid": {**asdict(grid), "tokens": grid.tokens},
        "network": asdict(network),
        "window": window,
        "window_notes": window_notes(grid.grid, window),
        "devices_gb": DEVICES,
        "costs": [asdict(cost) for cost in costs],
    }


def _show(grid: Grid, network: NetworkSize, window: tuple[int, int, int], costs: list[Cost]) -> None:
    from vidbench.worldmodel.patchify import text
    from vidbench.worldmodel.tokens import DEVICES, MODES, window_notes

    click.echo(f"clip     {text(grid.clip)} (frames x height x width)")
    if grid.cells != grid.clip:
        click.echo(f"latents  {text(grid.cells)}")
    click.echo(f"tokens   {text(grid.grid)} = {grid.tokens:,}, each of {grid.numbers} numbers")
    for note in [*grid.notes, *(f"window attention: {note}" for note in window_notes(grid.grid, window))]:
        click.echo(f"         {note}")
    click.echo(
        f"network  width {network.width}, {network.depth} blocks, {network.heads} heads, MLP {network.mlp_ratio} x, "
        f"{network.dtype}; one clip at a time"
    )
    click.echo()
    click.echo(
        f"{'attention':<14}{'pairs':>10}{'of joint':>10}{'weights':>10}{'forward':>12}{'for pairs':>11}{'step':>12}"
    )
    for cost in costs:
        click.echo(
            f"{_name(cost, window):<14}{_short(cost.pairs):>10}{_share(cost.pairs, costs[0].pairs):>10}"
            f"{_short(cost.parameters):>10}{_short(cost.operations) + 'FLOP':>12}"
            f"{cost.attention_operations / cost.operations:>11.1%}{_short(3 * cost.operations) + 'FLOP':>12}"
        )
    click.echo()
    click.echo(f"{'memory, GB':<24}" + "".join(f"{_name(cost, window):>24}" for cost in costs))
    for mode, title in MODES.items():
        cells = (f"{_gb(cost.memory[mode])} ({cost.fits[mode] or 'no device'})" for cost in costs)
        click.echo(f"{title:<24}" + "".join(f"{cell:>24}" for cell in cells))
    click.echo()
    has = ", ".join(f"{gb:.3g}" for gb in DEVICES.values())
    click.echo(f"In brackets the smallest device with as much: {', '.join(DEVICES)},")
    click.echo(f"of which {has} count as usable.")
    click.echo(
        "Estimates for a network that wastes nothing and is not causal. A step of training is three times forward and"
    )
    click.echo("takes 16 bytes a weight. Naive attention keeps a weight for each head and pair, flash attention none.")
    click.echo("Recomputing keeps the input of each block and costs a third more operations.")


def _name(cost: Cost, window: tuple[int, int, int]) -> str:
    from vidbench.worldmodel.patchify import text

    return f"window {text(window)}" if cost.attention == "window" else cost.attention


def _short(count: float) -> str:
    """The number 46656000000 as 46.7 G."""
    for unit in ("", "k", "M", "G", "T", "P"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} E"


def _gb(value: float) -> str:
    """Three digits that count, or whole."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _share(part: int, whole: int) -> str:
    """How many times less, as 1/59."""
    return "1" if part >= whole else f"1/{whole / part:.3g}"
