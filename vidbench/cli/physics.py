"""`vidbench physics`: make clips with known violations, train the plausibility checks on them, score the checks."""

from __future__ import annotations

import importlib

import click

COMMANDS = {
    "make": "render matched possible and impossible clips with truth",
    "train": "fit the learned layer to clips with known truth",
    "score": "say how good the learned layer is on clips with known truth",
}
"""Subcommand to summary; each is `vidbench.cli.physics_<name>.command`."""

EPILOG = """\b
Examples:
  vidbench physics make --seed 1 -o physics-set --looks flat2d --kinds teleport,hover --pairs 2
  vidbench physics train physics-set --seed 0 -o model.safetensors
  vidbench physics score physics-set --out-of-fold
"""


class _LazyGroup(click.Group):
    """Imports a subcommand's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"vidbench.cli.physics_{cmd_name}").command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group("physics", cls=_LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Clips with known violations of physics, and what the plausibility checks make of them."""
