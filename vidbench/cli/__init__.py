"""The command line: one thin module per command, imported only when that command is asked for."""

from __future__ import annotations

import importlib
import os
import sys

import click

from vidbench import __version__
from vidbench.errors import EXIT_INTERRUPTED, EXIT_USAGE, VidbenchError

COMMANDS = {
    "run": "score a folder of clips and write a report",
    "reference": "write down the statistics of a reference set once, for many runs",
    "inspect": "score one clip and show what was found in it",
    "report": "write the reports of a run again",
    "leaderboard": "put several models, of one run or many, on one board",
    "gate": "judge a run or clips by a policy: may they ship?",
    "compare": "say what got better or worse between two runs or two models",
    "serve": "look through the clips of large runs in a browser",
    "baselines": "make broken copies of your clips, to see what failure looks like",
    "list": "list metrics, extractors, suites, reports and generators",
    "train": "train a reference generator on a budget of CPU-seconds or steps",
    "generate": "make clips with a trained reference generator",
    "play": "steer the world model in the browser, the true game beside it",
    "describe": "say all about one metric",
    "weights": "list, fetch, check and import the weight files that some metrics need",
    "doctor": "say what is installed and what each missing thing costs",
    "physics": "render clips with known violations; train and score the plausibility checks on them",
    "calibrate": "set your own threshold of the plausibility checks from good clips",
    "vbench-total": "VBench's Quality, Semantic and Total score from a table of its 16 dimensions",
    "tokens": "what a clip costs a video transformer: tokens, pairs, operations, memory",
    "selftest": "check that the installed metrics notice broken clips",
    "plan": "let planners walk in the game with a world model to imagine in",
    "demo": "make clips of three made-up models, score them, show the report",
}

EPILOG = """\b
Examples:
  vidbench demo
  vidbench run CLIPS/ --out runs/first
  vidbench run CLIPS/ --reference REAL_CLIPS/ --out runs/second
  vidbench describe temporal_flickering
"""


class _LazyGroup(click.Group):
    """Knows its commands by name and summary; imports a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"vidbench.cli.{cmd_name.replace('-', '_')}").command
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            import difflib

            close = difflib.get_close_matches(name, COMMANDS, n=2)
            hint = f"; did you mean {' or '.join(close)}?" if close else f"; there are: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command is called '{name}'{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vidbench")
def cli() -> None:
    """Metrics for generated video: run them over any folder of clips, get a ranked report."""


def main() -> None:
    """Entry point of the `vidbench` script.

    What the user can mend is one line on standard error; a bug keeps its traceback.
    """
    # Sums over many threads come out differently on machines with more cores; set before numpy is imported.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = EXIT_USAGE
    except VidbenchError as error:
        from vidbench.wording import plain

        click.echo(f"vidbench: {plain(str(error))}", err=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("vidbench: interrupted", err=True)
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`vidbench list | head`): not an error of ours. Point stdout at nothing so
        # that the interpreter's own flush at exit stays quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)
