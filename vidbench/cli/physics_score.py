"""`vidbench physics score`: how good the learned layer of the plausibility checks is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vidbench.cli.physics_train import folder_options, look, recipe_of, recipe_options
from vidbench.errors import InputError

EPILOG = """\b
Examples:
  vidbench physics score SIMULATED/ -o score.json
  vidbench physics score SIMULATED/ --innocent REAL_CLIPS/ --model model.safetensors
  vidbench physics score SIMULATED/ --leave-out lit3d --unseen-kinds -o lit3d.json -o lit3d.csv
  vidbench physics score SIMULATED/ --innocent REAL_CLIPS/ --out-of-fold
"""


@click.command("score", epilog=EPILOG)
@folder_options(needed=False)
@recipe_options
@click.option(
    "--model", type=click.Path(path_type=Path), help="Model file.  [default: the one that comes with vidbench]"
)
@click.option(
    "--leave-out",
    metavar="LOOK",
    help="Score this look alone; without --model, by a model that is now fitted to all other clips.",
)
@click.option(
    "--out-of-fold", is_flag=True, help="Score every clip by a model fitted without its pair or source video."
)
@click.option("--unseen-kinds", is_flag=True, help="Also leave each kind of violation out of fitting in turn.")
@click.option("--no-baselines", is_flag=True, help="Leave the frame-difference, flow and file-size baselines out.")
@click.option(
    "--output",
    "-o",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Report to write: .json (all) or .csv (figures).",
)
def command(folders: tuple[Path, ...], innocent: tuple[Path, ...], output: tuple[Path, ...], **options: Any) -> int:
    """Score the plausibility checks on the clips in FOLDERS, made by `vidbench physics make`.

    A folder without truth.jsonl counts as clips in which nothing is wrong.
    """
    from vidbench_suites.physics.baselines import all_baselines
    from vidbench_suites.physics.scoring import (
        figures,
        leave_out,
        out_of_fold,
        score_tables,
        table_text,
        unseen_kinds,
        write_report,
    )

    _check(folders, innocent, output, options)
    kept = None
    if not (options["out_of_fold"] or (options["leave_out"] and options["model"] is None)):
        from vidbench_metrics.physics.model import PhysicsModel, shipped

        kept = PhysicsModel.load(options["model"]) if options["model"] is not None else shipped()
    gathered, observer = look(folders, innocent, options)
    tables = list(gathered.tables)
    recipe = recipe_of(options, observer)

    def pairs(without: str | None = None) -> Any:
        if options["out_of_fold"]:
            return out_of_fold(tables, recipe, without=without)
        return leave_out(tables, options["leave_out"], recipe, without=without)

    scored = pairs() if kept is None else [(table, kept) for table in _chosen(tables, options["leave_out"])]
    clips = {table.id: table.clip for table, _ in scored if table.clip is not None}
    rows = score_tables(scored, {} if options["no_baselines"] else all_baselines(clips, options["cache"]))
    found = figures(rows)
    if options["unseen_kinds"]:
        found += unseen_kinds([table for table, _ in scored], pairs)
    click.echo(table_text(found, rows, gathered.failed))
    facts = {
        "model": kept.checksum if kept is not None else None,
        "training": dict(kept.training) if kept is not None else None,
        "mode": "out of fold" if options["out_of_fold"] else "model" if kept is not None else "look left out",
        "leave_out": options["leave_out"],
        "seed": options["seed"],
        "failed": list(gathered.failed),
    }
    for path in output:
        write_report(path, found, rows, facts)
    return 0


def _check(
    folders: tuple[Path, ...], innocent: tuple[Path, ...], output: tuple[Path, ...], options: dict[str, Any]
) -> None:
    """Refuse before an hour's work what can only fail after it."""
    if not folders and not innocent:
        raise InputError("name a folder of clips, or --innocent with one; see `vidbench physics score --help`")
    if options["out_of_fold"] and (options["model"] is not None or options["leave_out"]):
        raise InputError("--out-of-fold fits its own models: leave --model and --leave-out away")
    if options["unseen_kinds"] and options["model"] is not None:
        raise InputError("--unseen-kinds fits its own models: leave --model away")
    if options["unseen_kinds"] and not (options["out_of_fold"] or options["leave_out"]):
        raise InputError("--unseen-kinds takes --leave-out LOOK or --out-of-fold")
    for path in output:
        if path.suffix not in (".json", ".csv"):
            raise InputError(f"{path}: the report is written as .json or .csv; give one of these suffixes")
        if not path.absolute().parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}")


def _chosen(tables: Any, leave_out: str | None) -> Any:
    """The clips of the look that was asked for."""
    looks = sorted({table.truth.look for table in tables})
    if leave_out is not None and leave_out not in looks:
        raise InputError(f"no look is called '{leave_out}'; there are: {', '.join(looks)}")
    return [table for table in tables if leave_out is None or table.truth.look == leave_out]
