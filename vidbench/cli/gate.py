"""`vidbench gate`: may these clips ship?"""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidbench.errors import EXIT_DONE, InputError, PolicyError

if TYPE_CHECKING:
    from vidbench.gate.policy import Policy
    from vidbench.gate.verdict import Verdict
    from vidbench.results import Run

BUILT_IN = "plausibility"
"""The suite whose policy is taken where none is given."""

EPILOG = """\b
Without --policy the policy of the suite plausibility is taken: no clip may have a finding of object permanence,
gravity, continuity or solidity; each of these must have judged 80 % of the clips; no file may be unreadable. About 3 to
7 in 100 clips in which nothing is wrong have a finding by mistake: see docs/gate.md. `vidbench gate policy` prints it.

\b
Exit codes: 0 passed; 1 failed; 2 wrong use, or made with other settings than policy or baseline ask for;
3 incomplete: not enough clips, an unreadable clip, too low coverage, a metric without a value; 130 interrupted.

\b
Examples:
  vidbench gate runs/ours
  vidbench gate CLIPS/ --out runs/gate --junit gate.xml
  vidbench gate runs/ours --policy policy.toml --baseline runs/shipped
  vidbench gate init runs/shipped -o policy.toml
  vidbench gate policy
"""


class _Gate(click.Group):
    """`gate RUN` judges; `gate init` and `gate policy` are its subcommands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["judge", *args]
        return super().parse_args(ctx, args)


class _Judge(click.Command):
    """Called without its own name."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        path = ctx.parent.command_path if ctx.parent is not None else ctx.command_path
        formatter.write_usage(path, " ".join(self.collect_usage_pieces(ctx)))


@click.group("gate", cls=_Gate, epilog=EPILOG)
def command() -> None:
    """Judge a run, or a folder of clips, by a policy."""


@command.command("judge", cls=_Judge, epilog=EPILOG)
@click.argument("path", metavar="RUN|CLIPS", type=click.Path(path_type=Path))
@click.option("--policy", "policy_file", type=click.Path(path_type=Path), help="Policy file; see docs/gate.md.")
@click.option(
    "--baseline", type=click.Path(path_type=Path), help="Run folder to compare with, for rules with max_loss."
)
@click.option("--junit", type=click.Path(path_type=Path), help="Write JUnit XML: a test case a rule, and one a clip.")
@click.option("--sarif", type=click.Path(path_type=Path), help="Write SARIF 2.1.0.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the whole verdict as JSON.")
@click.option(
    "--github/--no-github",
    default=None,
    help="Print annotations and add to $GITHUB_STEP_SUMMARY.  [default: where $GITHUB_ACTIONS is true]",
)
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.option("--out", type=click.Path(path_type=Path), help="CLIPS: run folder to write.  [default: runs/gate-NAME]")
@click.option("--reference", type=click.Path(path_type=Path), help="CLIPS: real clips to compare sets with.")
@click.option("--model", help="CLIPS: name of the model, for a flat folder.")
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="CLIPS: frame rate, whatever the files say.")
@click.option("--jobs", "-j", type=click.IntRange(1), help="CLIPS: worker processes.  [default: one a core]")
@click.option("--overwrite", is_flag=True, help="CLIPS: replace another run in the output folder.")
def judge_command(path: Path, **options: Any) -> int:
    """Judge RUN, a run folder, or CLIPS, a folder of clips, by a policy.

    A run folder is only read. Clips are scored first with the metrics that the policy needs; a second time only what
    has changed is scored.
    """
    from vidbench.cli.show_verdict import show_verdict
    from vidbench.gate.github import no_commands
    from vidbench.gate.judge import judge
    from vidbench.results import load_run

    on_github = options["github"] if options["github"] is not None else os.environ.get("GITHUB_ACTIONS") == "true"
    say = nullcontext() if not on_github else no_commands(click.echo)
    for file in (options["junit"], options["sarif"], options["json_file"]):
        if file is not None and not file.absolute().parent.is_dir():
            raise InputError(f"{file}: there is no folder {file.parent}")
    with say:
        policy = _policy(options["policy_file"])
        before = options["baseline"] or policy.baseline
        baseline = load_run(before) if before is not None else None
        run = _read(path, options) if (path / "run.json").is_file() else _score(path, policy, options)
        _check_names(policy, run)
        verdict = judge(run, policy, baseline)
        if not options["quiet"]:
            show_verdict(verdict, run)
    _write(verdict, run, options)
    if on_github:
        _tell_github(verdict)
    return verdict.exit_code


@command.command(
    "init",
    epilog="\b\nExamples:\n  vidbench gate init runs/shipped -o policy.toml\n"
    "  vidbench gate init runs/shipped --model ours -o policy.toml\n",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Policy file to write.  [default: print it]")
@click.option("--model", help="Whose clips are the good ones, where RUN has several models.")
@click.option("--overwrite", is_flag=True, help="Replace the policy file.")
def init_command(run: Path, output: Path | None, model: str | None, *, overwrite: bool) -> int:
    """Write a policy from RUN, the run folder of clips that are good, with margins from its own noise."""
    from vidbench.files import write_atomic
    from vidbench.gate.draft import draft
    from vidbench.gate.policy import FindingsRule
    from vidbench.results import load_run

    locating = {
        name for rule in _policy(None).rules if isinstance(rule, FindingsRule) for name in rule.findings.metrics
    }
    text = draft(load_run(run), model=model, locating=locating)
    if output is None:
        click.echo(text, nl=False)
        return EXIT_DONE
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists; take another name, or --overwrite")
    try:
        write_atomic(output, text)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror or error}") from None
    click.echo(str(output))
    return EXIT_DONE


@command.command("policy", epilog="\b\nExamples:\n  vidbench gate policy\n")
def policy_command() -> int:
    """Print the built-in policy, to begin one's own with."""
    click.echo(_built_in_text(), nl=False)
    return EXIT_DONE


def _built_in_text() -> str:
    from vidbench.plugins import suites

    text = suites().load(BUILT_IN).policy
    if text is None:
        raise InputError(f"the suite {BUILT_IN} has no policy; give one with --policy")
    return text


def _policy(path: Path | None) -> Policy:
    from vidbench.gate.policy_file import parse_policy, read_policy

    return read_policy(path) if path is not None else parse_policy(_built_in_text(), source=f"suite {BUILT_IN}")


def _read(path: Path, options: dict[str, Any]) -> Run:
    from vidbench.results import load_run

    given = [f"--{name}" for name in ("out", "reference", "model", "fps", "jobs", "overwrite") if options[name]]
    if given:
        raise InputError(f"{path} is a run folder, which is only read: {', '.join(given)} is for clips")
    return load_run(path)


def _score(path: Path, policy: Policy, options: dict[str, Any]) -> Run:
    from vidbench.cli.run import write_reports
    from vidbench.cli.show import Console
    from vidbench.run.engine import Request, execute

    request = Request(
        clips=path,
        out=options["out"] or Path("runs") / f"gate-{path.resolve().name or 'clips'}",
        reference=options["reference"],
        metrics=tuple(dict.fromkeys([*policy.metrics, *policy.run_metrics])),
        suite=policy.suite,
        parameters=policy.settings,
        model=options["model"],
        fps=options["fps"],
        jobs=options["jobs"],
        overwrite=options["overwrite"],
        command=shlex.join(["vidbench", *sys.argv[1:]]),
    )
    with Console(quiet=options["quiet"]) as console:
        result = execute(request, console)
    write_reports(result.run)
    return result.run


def _check_names(policy: Policy, run: Run) -> None:
    """A metric that neither the run nor any installed package knows is a slip of the pen, not a metric that is missing.

    Raises:
        PolicyError: with close matches.
    """
    import difflib

    from vidbench.plugins import metrics

    known = {facts.name for facts in run.info.metrics} | {left.metric for left in run.info.left_out}
    known |= set(metrics().names())
    for name in policy.metrics:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=2)
            hint = f"did you mean {' or '.join(close)}?" if close else "see `vidbench list metrics`"
            raise PolicyError(f"{policy.source}: no metric is called '{name}'; {hint}")


def _write(verdict: Verdict, run: Run, options: dict[str, Any]) -> None:
    from vidbench.files import write_atomic, write_json
    from vidbench.gate import junit, sarif

    try:
        if options["junit"] is not None:
            write_atomic(options["junit"], junit.render(verdict).encode("utf-8", "replace"))
        if options["sarif"] is not None:
            write_atomic(options["sarif"], sarif.render(verdict, run.info.folder))
        if options["json_file"] is not None:
            write_json(options["json_file"], verdict.to_json())
    except OSError as error:
        raise InputError(f"the verdict ({verdict.outcome}) could not be written: {error}") from None


def _tell_github(verdict: Verdict) -> None:
    from vidbench.gate import github

    for line in github.annotate(verdict):
        click.echo(line)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8", errors="replace") as file:
                file.write(github.summary(verdict))
        except OSError as error:
            click.echo(f"vidbench: the step summary could not be written: {error.strerror or error}", err=True)
