"""`vidbench physics train`: fit the learned layer of the plausibility checks."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from vidbench.errors import InputError

EPILOG = """\b
Examples:
  vidbench physics train SIMULATED/ --seed 0 -o model.safetensors
  vidbench physics train SIMULATED/ --innocent REAL_CLIPS/ --leave-out lit3d --seed 0 -o without-lit3d.safetensors
"""


F = TypeVar("F", bound=Callable[..., Any])


def folder_options(*, needed: bool) -> Callable[[F], F]:
    """The options that say which clips are looked at, shared by the commands."""

    def add(function: F) -> F:
        for option in (
            click.argument("folders", nargs=-1, required=needed, type=click.Path(path_type=Path)),
            click.option(
                "--innocent",
                multiple=True,
                type=click.Path(path_type=Path),
                help="Folder of real clips in which nothing is wrong; may be given again.",
            ),
            click.option("--jobs", "-j", type=click.IntRange(1), default=1, show_default=True, help="Processes."),
            click.option(
                "--cache",
                type=click.Path(path_type=Path),
                help="Where what was seen in a clip is kept.  [default: vidbench's cache folder]",
            ),
        )[::-1]:
            function = option(function)
        return function

    return add


def recipe_options(function: F) -> F:
    """The options that say how to train."""
    for option in (
        click.option("--seed", type=int, default=0, show_default=True, help="Of the folds and the trees."),
        click.option(
            "--false-alarms",
            type=click.FloatRange(0, 0.5, min_open=True),
            default=0.03,
            show_default=True,
            help="Rate of false alarms that the threshold is made for.",
        ),
        click.option(
            "--threshold",
            type=click.Choice(["pooled", "worst", "unseen"]),
            default="pooled",
            show_default=True,
            help="Innocent clips the threshold is made from: all, those of the worst look, or each look scored by a "
            "model fitted without it.",
        ),
        click.option(
            "--innocent-weight",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="How many times a real clip counts beside a rendered one.",
        ),
        click.option(
            "--iterations", type=click.IntRange(1), default=200, show_default=True, help="Trees an event type."
        ),
        click.option("--leaves", type=click.IntRange(2), default=6, show_default=True, help="Leaves a tree."),
    )[::-1]:
        function = option(function)
    return function


@click.command("train", epilog=EPILOG)
@folder_options(needed=True)
@recipe_options
@click.option("--leave-out", multiple=True, metavar="LOOK", help="A look that is not trained on; may be given again.")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Model file to write.")
def command(folders: tuple[Path, ...], innocent: tuple[Path, ...], output: Path, **options: Any) -> int:
    """Fit the learned layer to the clips in FOLDERS, made by `vidbench physics make`.

    A folder without truth.jsonl counts as clips in which nothing is wrong. Everything is deterministic: the same clips,
    options and seed give the same file.
    """
    from vidbench.files import write_atomic
    from vidbench_suites.physics.learn import train

    if output.suffix != ".safetensors":
        raise InputError(f"{output}: a model file ends in .safetensors")
    if not output.absolute().parent.is_dir():
        raise InputError(f"{output}: there is no folder {output.parent}")
    gathered, observer = look(folders, innocent, options)
    left_out = set(options["leave_out"])
    looks = {table.truth.look for table in gathered.tables}
    if not left_out <= looks:
        raise InputError(
            f"no look is called {', '.join(sorted(left_out - looks))}; there are: {', '.join(sorted(looks))}"
        )
    tables = [table for table in gathered.tables if table.truth.look not in left_out]
    told = _command(folders, innocent, options)
    model = train(tables, recipe_of(options, observer), command=told, observer=observer.identity)
    try:
        write_atomic(output, model.to_bytes())
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror or error}") from error
    for kind, event in model.events.items():
        facts = event.facts
        trees = f"{len(event.trees.roots)} trees" if len(event.trees.roots) else "no trees: too few violations"
        click.echo(
            f"{kind:<16}{facts['violations']:>6} violations {facts['innocent']:>7} innocent {facts['left_out']:>6} "
            f"left out  {trees}"
        )
    judged = len(model.innocent["overall"]["pooled"])
    click.echo(
        f"{output}: {len(tables)} clips, {judged} possible ones judged by all checks; "
        f"alarm above log-odds {model.threshold():.2f} ({model.threshold_domain}, {model.false_alarms:g} false alarms)"
    )
    return 0


def look(folders: tuple[Path, ...], innocent: tuple[Path, ...], options: dict[str, Any]) -> Any:
    """The clips of the folders with their events, and the observer; what is left aside goes to standard error."""
    from vidbench.wording import plain
    from vidbench_suites.physics.tables import default_observer, gather

    observer = default_observer()
    with click.progressbar(length=1, label="looking", file=sys.stderr) as bar:

        def tell(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        gathered = gather(folders, observer, innocent=innocent, cache=options["cache"], jobs=options["jobs"], tell=tell)
    for reason in gathered.failed[:10]:
        click.echo(plain(f"vidbench: left aside: {reason}"), err=True)
    if len(gathered.failed) > 10:
        click.echo(f"vidbench: left aside: {len(gathered.failed) - 10} more", err=True)
    return gathered, observer


def recipe_of(options: dict[str, Any], observer: Any) -> Any:
    """The recipe that the options describe."""
    from vidbench_suites.physics.learn import Recipe

    return Recipe(
        seed=options["seed"],
        iterations=options["iterations"],
        leaves=options["leaves"],
        false_alarms=options["false_alarms"],
        threshold=options["threshold"],
        innocent_weight=options["innocent_weight"],
        gate_numbers=tuple(sorted((group, tuple(names)) for group, names in observer.gate_numbers.items())),
    )


def _command(folders: tuple[Path, ...], innocent: tuple[Path, ...], options: dict[str, Any]) -> str:
    """The command as it would be typed beside the folders: where they lie is no part of the model."""
    words = ["vidbench", "physics", "train", *(folder.resolve().name for folder in folders)]
    for folder in innocent:
        words += ["--innocent", folder.resolve().name]
    for name in options["leave_out"]:
        words += ["--leave-out", name]
    usual = {param.name: param.default for param in command.params}
    for name in ("seed", "false_alarms", "threshold", "innocent_weight", "iterations", "leaves"):
        if name == "seed" or options[name] != usual[name]:
            words += [f"--{name.replace('_', '-')}", f"{options[name]}"]
    return shlex.join([*words, "-o", "model.safetensors"])
