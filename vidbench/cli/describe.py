"""`vidbench describe`: all about one metric."""

from __future__ import annotations

import dataclasses

import click

EPILOG = """\b
Examples:
  vidbench describe temporal_flickering
  vidbench describe frechet_frame_distance
"""


@click.command("describe", epilog=EPILOG)
@click.argument("metric")
def command(metric: str) -> int:
    """Say what METRIC measures, how, in which unit and range, what it needs, and where it comes from."""
    from vidbench.cli.list import missing_piece
    from vidbench.plugins import metrics

    registry = metrics()
    kind = registry.load(metric)
    low, high = kind.value_range
    facts = kind()
    needs = [name for name in ("prompt", "actions", "fps") if getattr(kind.needs, name)]
    needs += [f"a metadata column '{column}'" for column in kind.needs.columns]
    needs += ["each clip's true clip"] if kind.granularity == "pair" else []
    needs += ["a reference set"] if kind.granularity == "set" and kind.needs.reference_set else []
    rows = {
        "name": f"{kind.name}, version {kind.version}, from {registry.distribution(metric)}",
        "measures": kind.summary,
        "direction": ("higher is better" if kind.higher_is_better else "lower is better")
        + (" (described, not judged)" if kind.diagnostic else ""),
        "unit": kind.unit,
        "range": f"{low:g} to {high:g}",
        "over": f"{kind.granularity}; clips are aggregated by {kind.aggregation}",
        "protocol": kind.protocol,
        "reference": kind.reference,
        "extractors": ", ".join(spec.name for spec in facts.extractor_specs()),
        "needs": ", ".join(needs) or "a readable clip",
        "least frames": str(facts.frames_needed()),
        "missing": missing_piece(kind, "metrics") or "nothing",
    }
    for label, text in rows.items():
        click.echo(f"{label + ':':<14}{text}")
    click.echo("parameters:" if dataclasses.fields(kind.parameters_type) else "parameters:   none")
    for field in dataclasses.fields(kind.parameters_type):
        click.echo(f"  --set {kind.name}.{field.name}={getattr(facts.parameters, field.name)}")
    return 0
