"""`vidbench calibrate`: a threshold of the user's own, from their own good clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vidbench.errors import InputError

EPILOG = """\b
Examples:
  vidbench calibrate GOOD_CLIPS/ -o calibration.json
  vidbench calibrate GOOD_CLIPS/ --false-alarms 0.05 -o calibration.json
  vidbench run CLIPS/ --metrics plausibility --set plausibility.calibration=calibration.json
"""


@click.command("calibrate", epilog=EPILOG)
@click.argument("clips", type=click.Path(path_type=Path))
@click.option(
    "--false-alarms",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.03,
    show_default=True,
    help="Wanted rate of alarms among clips like these.",
)
@click.option(
    "--model", type=click.Path(path_type=Path), help="Model file.  [default: the one that comes with vidbench]"
)
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Calibration file to write.")
@click.option("--jobs", "-j", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Where what was seen in a clip is kept.  [default: vidbench's cache folder]",
)
def command(clips: Path, false_alarms: float, model: Path | None, output: Path, **options: Any) -> int:
    """Set the threshold of the plausibility checks from CLIPS, in which nothing is wrong.

    A rate of false alarms of A takes at least 1/A - 1 clips that can be judged: 33 for 0.03, 19 for 0.05, 99 for 0.01.
    The promise holds for further clips of the same kind, on average over the choice of these.
    """
    from vidbench.cli.physics_train import look
    from vidbench.files import write_json
    from vidbench_metrics.physics.model import PhysicsModel, least_clips, shipped
    from vidbench_suites.physics.calibrate import calibrate

    if not output.absolute().parent.is_dir():
        raise InputError(f"{output}: there is no folder {output.parent}")
    judge = PhysicsModel.load(model) if model is not None else shipped()
    gathered, _ = look((), (clips,), options)
    found = calibrate(gathered.tables, judge, false_alarms)
    try:
        write_json(output, found.to_json())
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror or error}") from error
    aside = len(gathered.tables) - found.clips
    click.echo(
        f"{output}: from {found.clips} clips (at least {least_clips(false_alarms)} for a rate of {false_alarms:g})"
        + (f", {aside} could not be judged" if aside else "")
        + f"; a clip is an alarm {abs(found.threshold):.2f} log-odds "
        + ("above" if found.threshold >= 0 else "below")
        + " the shipped threshold"
    )
    return 0
