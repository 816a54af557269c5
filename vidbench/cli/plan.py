"""`vidbench plan`: let planners walk in the game, with a world model to imagine in, and count who arrives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vidbench.errors import InputError

if TYPE_CHECKING:
    from vidbench.worldmodel.inverse import InverseDynamics
    from vidbench.worldmodel.plan.contest import Row
    from vidbench.worldmodel.plan.words import WordsPlanner

KEY = "VIDBENCH_PLANNER_KEY"

EPILOG = """\b
Examples:
  vidbench plan --planners random,greedy,oracle
  vidbench plan --model simulator --rooms 50 --save-inverse inverse.safetensors
  vidbench plan --planners words --inverse inverse.safetensors --say "first the coin, then the upper left corner"
  vidbench plan --planners greedy,search --model copy --rooms 25 -o plan.json
  vidbench plan --model dit-action=action.safetensors,dit=goal.safetensors --film walk.png
"""


@click.command("plan", epilog=EPILOG)
@click.option(
    "--model",
    default="simulator",
    show_default=True,
    help="What planners imagine with: simulator, deaf, copy, or a generator as NAME or NAME=FILE; two with a comma, "
    "where one is told actions and one is told prompts.",
)
@click.option("--planners", default="random,greedy,oracle,search,words", show_default=True, help="Who walks.")
@click.option("--rooms", "count", type=click.IntRange(1), default=50, show_default=True, help="Held-out rooms.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Which rooms.")
@click.option("--inverse", type=click.Path(path_type=Path), help="Trained inverse dynamics.  [default: train, 20 s]")
@click.option("--save-inverse", type=click.Path(path_type=Path), help="Where to keep what was trained.")
@click.option("--say", help="Sentence to follow, in every room.  [default: a goal a room, in turn]")
@click.option("--planner-url", help=f"OpenAI-compatible endpoint that understands sentences; key in ${KEY}.")
@click.option("--planner-model", help="Its model's name; without --planner-url a model of `transformers`.")
@click.option("--film", "film_path", type=click.Path(path_type=Path), help="Picture of the last planner's first walk.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="JSON file with every episode.")
def command(
    model: str, planners: str, count: int, seed: int, say: str | None, output: Path | None, **options: Any
) -> int:
    """Send an agent through rooms with dead ends: with planners that imagine, and with baselines that do not.

    Success is to be within 2 pixels of the goal after at most twice the steps of the shortest way plus 4; SPL weighs
    it by the way's length. The model `simulator` is the true game, the ceiling of a planner; with `deaf` and `copy`
    every planner must fail.
    """
    import numpy as np

    from vidbench.cli.show import wide_table
    from vidbench.files import write_json
    from vidbench.worldmodel.game import Goal, Rooms, heldout_seed
    from vidbench.worldmodel.plan import contest
    from vidbench.worldmodel.plan.learned import trained_models

    names = [name.strip() for name in planners.split(",") if name.strip()]
    unknown = [name for name in names if name not in contest.PLANNERS]
    if unknown or not names:
        raise InputError(f"--planners: {', '.join(contest.PLANNERS)}; got {planners!r}")
    film_path: Path | None = options["film_path"]
    for path in (output, film_path, options["save_inverse"]):
        if path is not None and not path.absolute().parent.is_dir():
            raise InputError(f"{path}: there is no folder {path.parent}")
    words = _words(options["planner_url"], options["planner_model"])
    rooms = Rooms(count, seed=heldout_seed(seed))
    goals = np.arange(count) % len(Goal)
    if model in contest.UNTRAINED:
        models = contest.named_models(model, rooms, seed=seed)
    else:
        models = trained_models(model, seed=seed)
    inverse = _inverse(options["inverse"], options["save_inverse"], seed) if "words" in names else None
    if say is not None:
        return _say(say, rooms, models, inverse, words, seed)
    rows = contest.contest(
        rooms,
        goals,
        names,
        models,
        inverse,
        words=words,
        seed=seed,
        keep_frames=film_path is not None,
        finished=lambda row: click.echo(f"{row.planner}: {row.cpu_seconds:.0f} CPU-seconds", err=True),
    )
    heads = ("planner", "success", "95 % interval", "SPL", "steps nearer", "what it does")
    wide_table(heads, [_cells(row) for row in rows])
    click.echo(f"{count} held-out rooms (seed {seed}), model: {model}; goals: coin and four corners in turn")
    try:
        if film_path is not None:
            _film(rows[-1], film_path)
        if output is not None:
            told = {"model": model, "rooms": count, "seed": seed, "planners": [row.to_json() for row in rows]}
            write_json(output, told)
    except OSError as error:
        raise InputError(f"{output or film_path}: cannot be written: {error.strerror or error}") from error
    return 0


def _cells(row: Row) -> tuple[str, ...]:
    from vidbench.worldmodel.plan.contest import PLANNERS

    result, interval = row.result, row.result.interval
    return (
        row.planner,
        f"{result.rate:.2f}",
        f"{interval.low:.2f} to {interval.high:.2f}",
        f"{result.spl:.2f}",
        f"{result.nearer:.0%}",
        PLANNERS[row.planner],
    )


def _words(url: str | None, model: str | None) -> WordsPlanner:
    from vidbench.worldmodel.plan.words import HttpPlanner, RulesPlanner, TransformersPlanner

    if url is not None:
        if model is None:
            raise InputError("--planner-url needs --planner-model, the model's name there")
        return HttpPlanner(url, model, key=os.environ.get(KEY))
    return TransformersPlanner(model) if model is not None else RulesPlanner()


def _inverse(path: Path | None, keep: Path | None, seed: int) -> InverseDynamics:
    from vidbench.worldmodel.inverse import InverseDynamics
    from vidbench.worldmodel.plan.contest import quick_inverse

    if path is not None:
        return InverseDynamics.load(path)
    trained, score = quick_inverse(seed)
    click.echo(f"inverse dynamics trained; held-out rooms: {score}", err=True)
    if keep is not None:
        try:
            trained.save(keep)
        except OSError as error:
            raise InputError(f"{keep}: cannot be written: {error.strerror or error}") from error
    return trained


def _say(sentence: str, rooms: Any, models: Any, inverse: Any, words: Any, seed: int) -> int:
    """One sentence in all rooms, goal by goal."""
    from vidbench.worldmodel.game import GOAL_WORDS
    from vidbench.worldmodel.plan.unipi import VideoAgent, follow

    if inverse is None:
        raise InputError("--say is for the planner 'words'; add it to --planners")
    if models.words is None:
        raise InputError("the planner 'words' needs a model that is told goals in words")
    agent = VideoAgent(models.words, inverse, seed=seed)
    done = follow([sentence] * len(rooms), rooms, agent, words, observers=models.observers)
    click.echo(f"understood: {', then '.join(GOAL_WORDS[goal] for goal in done.goals[0])}")
    for number, stage in enumerate(done.stages):
        goal = GOAL_WORDS[done.goals[0][number]]
        click.echo(f"{goal}: reached in {int(stage.success.sum())} of {len(stage.success)} rooms, SPL {stage.spl:.2f}")
    click.echo(f"all of it: {int(done.success.sum())} of {len(rooms)} rooms")
    return 0


def _film(row: Row, path: Path) -> None:
    import numpy as np

    from vidbench.worldmodel.plan.film import film

    result = row.result
    if result.frames is None or result.actions is None:
        raise InputError("there is no walk to show: every episode began at its goal")
    steps = int(result.steps[0])
    dreams = getattr(row.agent, "dreams", None)
    imagined = None if not dreams else np.stack([dream[0] for dream in dreams[:steps]])
    film(result.frames[0, : steps + 1], result.actions[0, :steps], imagined, path)
