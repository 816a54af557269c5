"""`vidbench list`: what is installed."""

from __future__ import annotations

import click

EPILOG = """\b
Examples:
  vidbench list
  vidbench list metrics
"""

GROUPS = ("metrics", "extractors", "suites", "reports", "generators")


@click.command("list", epilog=EPILOG)
@click.argument("group", required=False, type=click.Choice(GROUPS))
def command(group: str | None) -> int:
    """List what is installed, group by group; what fails to load is listed as failed, with the cause."""
    from vidbench import plugins

    for name in (group,) if group else GROUPS:
        registry: plugins.Registry[object] = getattr(plugins, name)()
        loaded = registry.load_all()
        failures = {failure.name: failure for failure in registry.failures()}
        click.echo(f"{name}:")
        width = max((len(n) for n in registry.names()), default=0)
        for entry in registry.names():
            if entry in failures:
                click.echo(f"  {entry:<{width}}  FAILED ({failures[entry].distribution}): {failures[entry].reason}")
                continue
            missing = missing_piece(loaded[entry], name)
            note = f"  [{missing}]" if missing else ""
            click.echo(f"  {entry:<{width}}  {getattr(loaded[entry], 'summary', '')}{note}")
    return 0


def missing_piece(plugin: object, group: str) -> str | None:
    """What must be installed before a metric, extractor or generator can work."""
    from vidbench.errors import PluginError
    from vidbench.extractor import BaseExtractor
    from vidbench.generator import Generator
    from vidbench.metric import Metric
    from vidbench.run.plan import missing, requirements

    if group == "extractors" and isinstance(plugin, type) and issubclass(plugin, BaseExtractor):
        return plugin.requires.missing()
    if group == "generators" and isinstance(plugin, type) and issubclass(plugin, Generator):
        return plugin.requires.missing()
    if group == "metrics" and isinstance(plugin, type) and issubclass(plugin, Metric):
        try:
            return missing(requirements(plugin()))
        except PluginError as error:
            return str(error)
    return None
