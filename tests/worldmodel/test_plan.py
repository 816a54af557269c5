"""Planners: what they reach with the true game as their model, and what with models that must fail."""

from typing import Any

import numpy as np
import pytest

from vidbench import plugins
from vidbench.errors import InputError
from vidbench.generator import Generator, Imagined
from vidbench.worldmodel.game import PROMPTS, Rooms, find_agent, heldout_seed, random_policy, record
from vidbench.worldmodel.plan.baselines import GreedyAgent, OracleAgent, RandomAgent
from vidbench.worldmodel.plan.contest import Models, contest, named_models, one_step
from vidbench.worldmodel.plan.imagination import CopyLast, Simulator
from vidbench.worldmodel.plan.learned import trained_models
from vidbench.worldmodel.plan.search import SearchAgent, goal_targets
from vidbench.worldmodel.plan.shooting import ShootingAgent
from vidbench.worldmodel.plan.trial import run_trial
from vidbench.worldmodel.plan.unipi import VideoAgent, follow
from vidbench.worldmodel.plan.words import RulesPlanner

COUNT = 30
GOALS = np.arange(COUNT) % 5


@pytest.fixture(scope="module")
def rooms():
    return Rooms(COUNT, seed=heldout_seed(1))


def test_the_baselines_stand_where_they_must(rooms):
    chance = run_trial(rooms, GOALS, RandomAgent(0))
    greedy = run_trial(rooms, GOALS, GreedyAgent(rooms))
    oracle = run_trial(rooms, GOALS, OracleAgent(rooms))
    assert chance.rate <= 0.1
    assert greedy.rate <= 0.4
    assert oracle.rate == oracle.spl == oracle.nearer == 1
    np.testing.assert_array_equal(oracle.steps, oracle.optimal)
    # A greedy walk that arrives has taken a shortest way: it came nearer with each step.
    np.testing.assert_array_equal(greedy.steps[greedy.success], greedy.optimal[greedy.success])
    assert (chance.steps[~chance.success] == 2 * chance.optimal[~chance.success] + 4).all()


def test_search_with_the_true_game_takes_the_shortest_way(rooms):
    game = Simulator(rooms)
    result = run_trial(rooms, GOALS, SearchAgent(game), observers=(game.observe,))
    assert result.rate == 1
    np.testing.assert_array_equal(result.steps, result.optimal)


def test_search_survives_a_model_that_errs_at_times(rooms):
    few = rooms.select(np.arange(15))
    game = Simulator(few, error=0.1, seed=3)
    result = run_trial(few, GOALS[:15], SearchAgent(game), observers=(game.observe,))
    assert result.rate >= 0.75
    assert result.spl < 1


def test_search_with_useless_models_goes_nowhere(rooms):
    few = rooms.select(np.arange(12))
    deaf = Simulator(few, error=1.0)
    assert run_trial(few, GOALS[:12], SearchAgent(deaf), observers=(deaf.observe,)).rate <= 0.25
    copied = run_trial(rooms, GOALS, SearchAgent(CopyLast()))
    assert copied.rate == 0
    assert copied.nearer == 0  # it knows of no move, and does none


def test_search_looks_behind_the_wall_where_straight_distance_stays(rooms):
    """Rooms where greed fails: what sampling futures by straight distance cannot do, search does."""
    hard = np.flatnonzero(~run_trial(rooms, GOALS, GreedyAgent(rooms)).success)[:6]
    world, goals = rooms.select(hard), GOALS[hard]
    game = Simulator(world)
    shooting = run_trial(world, goals, ShootingAgent(game, samples=12, horizon=6), observers=(game.observe,))
    search = run_trial(world, goals, SearchAgent(game), observers=(game.observe,))
    assert search.rate == 1
    assert shooting.rate <= 0.5


def test_shooting_reaches_goals_in_plain_sight():
    world = Rooms(60, seed=heldout_seed(2))
    goals = np.arange(60) % 5
    easy = np.flatnonzero(run_trial(world, goals, GreedyAgent(world)).success)[:6]
    world, goals = world.select(easy), goals[easy]
    game = Simulator(world)
    agent = ShootingAgent(game, samples=12, horizon=5, rounds=2)
    assert run_trial(world, goals, agent, observers=(game.observe,)).rate >= 0.75
    assert run_trial(world, goals, ShootingAgent(CopyLast(), samples=12, horizon=5)).rate < 0.5


@pytest.mark.parametrize(("ahead", "commit"), [(1, 1), (4, 4), (3, 2)])
def test_words_over_video_with_the_true_game_arrive(rooms, inverse, ahead, commit):
    game = Simulator(rooms)
    agent = VideoAgent(game, inverse, ahead=ahead, commit=commit)
    result = run_trial(rooms, GOALS, agent, observers=(game.observe,))
    assert result.rate >= 0.95
    assert result.spl >= 0.9


def test_words_over_video_with_useless_models_do_not(rooms, inverse):
    deaf = Simulator(rooms, error=1.0)
    assert run_trial(rooms, GOALS, VideoAgent(deaf, inverse), observers=(deaf.observe,)).rate <= 0.2
    for nudge in (True, False):
        assert run_trial(rooms, GOALS, VideoAgent(CopyLast(), inverse, nudge=nudge)).rate <= 0.1


def test_the_imagined_frames_are_kept_and_explain_the_actions(rooms, inverse):
    game = Simulator(rooms)
    agent = VideoAgent(game, inverse, nudge=False)
    result = run_trial(rooms, GOALS, agent, observers=(game.observe,), keep_frames=True)
    # With the true game, what was imagined is what came.
    assert result.frames is not None
    for step in range(int(result.steps.min())):
        np.testing.assert_array_equal(agent.dreams[step], result.frames[:, step + 1])


def test_sentences_are_followed_goal_by_goal(rooms, inverse):
    world = rooms.select(np.arange(6))
    game = Simulator(world)
    sentences = ["first the coin, then the upper left corner", "go to the bottom right"] * 3
    done = follow(sentences, world, VideoAgent(game, inverse), RulesPlanner(), observers=(game.observe,))
    assert [len(goals) for goals in done.goals] == [2, 1] * 3
    assert done.success.all()
    assert [len(stage.success) for stage in done.stages] == [6, 3]
    end = done.stages[1].rooms
    assert (np.abs(end.truth().agent).sum(1) <= 1).all()
    assert end.truth().coin_taken.all()
    lost = follow(sentences, world, RandomAgent(0), RulesPlanner())
    assert not lost.success[::2].any()


def test_a_sentence_that_is_misunderstood_is_a_failure(rooms, inverse):
    class Contrary:
        def goals(self, sentence, frame):
            return [type(goal)((goal + 1) % 5) for goal in RulesPlanner().goals(sentence, frame)]

    models = named_models("simulator", rooms)
    [row] = contest(rooms, GOALS, ["words"], models, inverse, words=Contrary())
    assert row.result.rate == 0


def test_one_step_says_how_exact_a_model_is_and_whether_it_can_be_read(inverse):
    still = one_step(CopyLast(), inverse, count=40)
    assert (still.exact_moves, still.exact_rest) == (0, 1)
    assert still.inverse.n == 200
    assert still.inverse.accuracy_moves <= 0.02
    # The true game, shown the moments that are asked about.
    world = Rooms(40, seed=heldout_seed(1000))
    record(world, random_policy(0), 10)
    true = one_step(Simulator(world), inverse, count=40)
    assert (true.exact_moves, true.exact_rest) == (1, 1)
    assert true.inverse.accuracy_moves >= 0.98
    assert "agent exact on 100.0% of" in str(true)


def test_goals_are_found_in_the_frame(rooms):
    played = record(rooms.select(np.arange(COUNT)), random_policy(0), 10)
    for goal in range(5):
        found = goal_targets(np.full(COUNT, goal), played.frames[:, 4])
        wanted = rooms.goals()[:, goal]
        seen = ~played.coin_taken[:, 4] & (np.abs(played.agent[:, 4] - played.coin).sum(1) > 2)
        np.testing.assert_array_equal(found[seen], wanted[seen])


def test_the_simulator_plays_on_from_any_frame_that_it_showed(rooms):
    game = Simulator(rooms)
    actions = np.random.default_rng(0).integers(0, 5, (COUNT, 8))
    imagined = game.imagine(rooms.frames()[:, None], actions)
    np.testing.assert_array_equal(imagined, record(rooms.select(np.arange(COUNT)), actions).frames[:, 1:])
    on = game.imagine(imagined[:, 3:4], actions[:, 4:])
    agent = find_agent(on[:, -1])[0]
    np.testing.assert_array_equal(agent, find_agent(imagined[:, -1])[0])
    with pytest.raises(InputError, match="never drew"):
        game.imagine(np.zeros((1, 1, 32, 32, 3), np.uint8), actions[:1])


def test_trials_leave_the_rooms_as_they_were_and_agents_see_what_they_ask_for(rooms):
    before = rooms.save()
    seen = []

    class Watching(RandomAgent):
        context = 3

        def act(self, view):
            seen.append(view.history)
            return super().act(view)

    run_trial(rooms, GOALS, Watching(0))
    np.testing.assert_array_equal(rooms.save().agent, before.agent)
    assert {history.shape for history in seen} == {(COUNT, 3, 32, 32, 3)}
    np.testing.assert_array_equal(seen[1][:, :2], seen[0][:, 1:])
    # Before the first step that counts the agent has waited and the ball has moved.
    np.testing.assert_array_equal(find_agent(seen[0][:, 0])[0], find_agent(seen[0][:, 2])[0])
    assert (seen[0][:, 0] != seen[0][:, 2]).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda rooms, inverse: run_trial(rooms, GOALS[:3], RandomAgent(0)), "a goal for each"),
        (lambda rooms, inverse: VideoAgent(CopyLast(), inverse, ahead=2, commit=3), "1 to 2"),
        (lambda rooms, inverse: Simulator(rooms, error=2.0), r"\[0, 1\]"),
        (lambda rooms, inverse: named_models("dreamer", rooms), "simulator, deaf, copy"),
        (lambda rooms, inverse: contest(rooms, GOALS, ["clever"], named_models("copy", rooms)), "planners are random"),
        (lambda rooms, inverse: contest(rooms, GOALS, ["words"], named_models("copy", rooms)), "inverse dynamics"),
        (lambda rooms, inverse: follow(["coin"], rooms, RandomAgent(0), RulesPlanner()), "a sentence for each"),
    ],
)
def test_wrong_use_is_said_in_one_line(wrong, message, rooms, inverse):
    with pytest.raises(InputError, match=message):
        wrong(rooms, inverse)


class Echo(Generator):
    """A generator whose frames are those of the true game; only the interface is of interest."""

    name, version, summary = "echo", "1", "the true game"
    conditions = frozenset({"actions"})
    context_frames = 2
    game: Any = None

    @classmethod
    def train(cls, budget, seed=0, *, progress=None, state=None):
        return cls()

    def save(self, path):
        path.write_text("echo")

    @classmethod
    def load(cls, path):
        if not path.exists():
            raise InputError(f"no such file: {path}")
        return cls()

    def generate(self, n, seed=0, *, frames=17):
        raise NotImplementedError

    def imagine(self, history, *, actions=None, prompts=None, steps=None, seed=0):
        steps = self.told(history, actions, prompts, steps)
        if actions is not None:
            return Imagined(self.game.imagine(history.frames, actions))
        goals = np.array([PROMPTS.index(prompt) for prompt in prompts])
        return Imagined(self.game.imagine_goal(history.frames, goals, steps))


class EchoOfWords(Echo):
    name, conditions = "echo-words", frozenset({"prompt"})


class EchoOfBoth(Echo):
    name, conditions = "echo-both", frozenset({"actions", "prompt"})


@pytest.fixture
def echoes(monkeypatch, tmp_path):
    kinds = {kind.name: kind for kind in (Echo, EchoOfWords, EchoOfBoth)}

    class Known:
        def load(self, name):
            return kinds[name]

    monkeypatch.setattr(plugins, "generators", Known)
    (tmp_path / "a.safetensors").write_text("echo")
    return tmp_path / "a.safetensors"


def test_trained_generators_are_asked_as_they_want_to_be(echoes, rooms, inverse, monkeypatch):
    game = Simulator(rooms)
    monkeypatch.setattr(Echo, "game", game)
    models = trained_models(f"echo={echoes},echo-words={echoes}")
    models = Models(models.actions, models.words, (game.observe,))
    for row in contest(rooms, GOALS, ["search", "words"], models, inverse):
        assert row.agent.context == 2
        assert row.result.rate >= 0.95


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("echo=missing.safetensors", "missing.safetensors"),
        ("echo", "train one with"),
        ("echo={file},echo={file}", "two models are told actions"),
        ("echo-both={file}", "told actions or prompts"),
    ],
)
def test_models_that_planners_cannot_use_are_named(names, message, echoes):
    with pytest.raises(InputError, match=message):
        trained_models(names.format(file=echoes))
