"""`vidbench physics make`: render the physics calibration suite."""

from __future__ import annotations

from pathlib import Path

import click

EPILOG = """\b
Examples:
  vidbench physics make --seed 1 -o physics-set
  vidbench physics make --seed 1 -o physics-set --looks flat2d --kinds teleport,hover --pairs 2
  vidbench physics make --seed 2 -o physics-set --looks composite --backgrounds REAL_VIDEOS/
"""


@click.command("make", epilog=EPILOG)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything random.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder to write; new, or made by this."
)
@click.option("--pairs", type=click.IntRange(0), default=4, show_default=True, help="Pairs of each kind and look.")
@click.option(
    "--controls", type=click.IntRange(0), default=4, show_default=True, help="Clips of each control and look."
)
@click.option("--looks", help="Looks, comma-separated; default: lit3d,flat2d,composite.")
@click.option("--kinds", help="Kinds of violation, comma-separated; default: all fifteen.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option(
    "--backgrounds",
    type=click.Path(path_type=Path),
    help="Folder of real videos for the look composite; default: real clips near by or in installed packages.",
)
def command(
    seed: int,
    out: Path,
    pairs: int,
    controls: int,
    looks: str | None,
    kinds: str | None,
    jobs: int,
    backgrounds: Path | None,
) -> int:
    """Render pairs of possible and impossible clips, and possible controls, with truth.jsonl and metadata.csv.

    Twins are equal until the violation begins. Equal options give equal clips.
    """
    from vidbench_suites.physics import make as suite

    options = suite.Options(
        seed=seed,
        pairs=pairs,
        controls=controls,
        looks=_names(looks, suite.LOOKS),
        kinds=_names(kinds, suite.Options.kinds),
        jobs=jobs,
        backgrounds=backgrounds,
    )

    def report(done: int, total: int, look: str) -> None:
        if done == total or done % 10 == 0:
            click.echo(f"{done} of {total} scenes rendered ({look})", err=True)

    count = suite.make(out, options, report)
    click.echo(f"made {count} clips in {out}: truth.jsonl, metadata.csv")
    return 0


def _names(text: str | None, all_names: tuple[str, ...]) -> tuple[str, ...]:
    if text is None:
        return all_names
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
