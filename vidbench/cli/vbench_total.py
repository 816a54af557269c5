"""`vidbench vbench-total`: VBench's Quality, Semantic and Total score from a table of its 16 dimensions."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path

import click

from vidbench.errors import InputError

EPILOG = """\b
Examples:
  vidbench vbench-total scores.csv
  vidbench vbench-total scores.csv --json
"""
ENTRY = "model"


@click.command("vbench-total", epilog=EPILOG)
@click.argument("scores", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(scores: Path, *, as_json: bool) -> int:
    """Work out what VBench's leaderboard would show for the dimension values in SCORES, a CSV file.

    SCORES has a column for each of the 16 dimensions, named as VBench names it (subject_consistency or "subject
    consistency"), and one row; several rows need a column `model`. Values are shares of 1 (0.9628) or per cent with the
    sign (96.28%).

    Normalised dimensions are not cut off, as in VBench: motion smoothness above 0.9975 counts more than 1. The second
    line of each model shows what comes out if they are cut to 0 … 1.
    """
    from vidbench.wording import plain
    from vidbench_suites.vbench import DIMENSIONS, totals

    table = read_table(scores)
    if as_json:
        click.echo(json.dumps({name: _as_json(values) for name, values in table.items()}, indent=2))
        return 0
    for name, values in table.items():
        click.echo(plain(name))
        for how, clamp in (("as VBench", False), ("cut to 0 … 1", True)):
            found = totals(values, clamp=clamp)
            click.echo(
                f"  {how + ':':<14}Quality {found.quality:.2%}, Semantic {found.semantic:.2%}, Total {found.total:.2%}"
            )
        beyond = [
            f"{dimension} {term.normalised(values[dimension]):.4f}"
            for dimension, term in DIMENSIONS.items()
            if not 0 <= term.normalised(values[dimension]) <= 1
        ]
        if beyond:
            click.echo(f"  normalised beyond 0 … 1: {', '.join(beyond)}")
    return 0


def _as_json(values: Mapping[str, float]) -> dict[str, object]:
    from dataclasses import asdict

    from vidbench_suites.vbench import DIMENSIONS, totals

    return {
        "raw": asdict(totals(values)),
        "clamped": asdict(totals(values, clamp=True)),
        "normalised": {name: term.normalised(values[name]) for name, term in DIMENSIONS.items()},
    }


def read_table(path: Path) -> dict[str, dict[str, float]]:
    """Model to dimension to value.

    Raises:
        InputError: the file cannot be read, a column is missing or stands twice, a value is no number or out of range,
            or rows cannot be told apart; names the file, the row and the remedy.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"{path} cannot be read ({reason}); give a CSV file with VBench's 16 dimensions") from None
    try:
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV table ({error})") from None
    if len(rows) < 2:
        raise InputError(f"{path} has no row of values; it needs a line of column names and a line of values")
    columns = _columns(path, rows[0])
    if len(rows) > 2 and ENTRY not in columns:
        raise InputError(
            f"{path} has {len(rows) - 1} rows of values and no column '{ENTRY}' that tells them apart; add one, or "
            "keep one row"
        )
    table: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise InputError(f"{path} row {number} has {len(row)} cells, the line of names has {len(rows[0])}")
        name = row[columns[ENTRY]].strip() if ENTRY in columns else path.stem
        if not name or name in table:
            what = f"'{name}' stands twice" if name else f"the column '{ENTRY}' is empty"
            raise InputError(f"{path} row {number}: {what}; every row needs a name of its own")
        table[name] = {d: _value(path, number, d, row[at]) for d, at in columns.items() if d != ENTRY}
    return table


def _columns(path: Path, names: list[str]) -> dict[str, int]:
    """Where each dimension, and the model where there is one, stands; other columns are passed over."""
    from vidbench_suites.vbench import DIMENSIONS

    columns: dict[str, int] = {}
    for at, name in enumerate(names):
        known = "_".join(name.strip().lower().replace("_", " ").split())
        if known not in DIMENSIONS and known != ENTRY:
            continue
        if known in columns:
            raise InputError(f"{path} has the column '{known}' twice")
        columns[known] = at
    missing = [name for name in DIMENSIONS if name not in columns]
    if missing:
        raise InputError(
            f"{path} lacks {len(missing)} of VBench's 16 dimensions: {', '.join(missing)}; VBench would count them as "
            "0, which is no score: add the columns"
        )
    return columns


def _value(path: Path, row: int, dimension: str, cell: str) -> float:
    from vidbench_suites.vbench import COSINES

    where = f"{path} row {row}: {dimension}"
    number = cell.strip()
    try:
        value = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        raise InputError(f"{where} is '{number}', which is no number" if number else f"{where} is empty") from None
    low = -1.0 if dimension in COSINES else 0.0
    if not math.isfinite(value) or not low <= value <= 1:
        hint = f"; if it is per cent, write {number}%" if 1 < value <= 100 else ""
        raise InputError(f"{where} is {number}, outside {low:g} to 1{hint}")
    return value
