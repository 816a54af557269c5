"""The transformer: what a fresh one does, who may influence whom, conditions, bad shapes and configs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vidbench.errors import InputError

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'vidbench[worldmodel]'")

from vidbench.worldmodel.attention import Joint, Space, Time, Window  # noqa: E402
from vidbench.worldmodel.conditions import Conditions  # noqa: E402
from vidbench.worldmodel.config import DiTConfig  # noqa: E402
from vidbench.worldmodel.dit import DiT, Where, stack_past  # noqa: E402
from vidbench.worldmodel.rope import grid_rotation  # noqa: E402

GAME = DiTConfig(patch=(1, 4, 4), width=24, depth=2, heads=2, past_frames=2, actions=5, classes=3, reward=True)
TEXT = DiTConfig(
    channels=4, patch=(2, 2, 2), width=24, depth=2, heads=2, causal=False, prompt_width=10, classes=3, window=(2, 2, 2)
)
ATTENTIONS = ("joint", "divided", "window")


def _stirred(config: DiTConfig, seed: int = 0):
    """A network of which no weight is zero."""
    torch.manual_seed(seed)
    network = DiT(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def _game(b: int = 2, frames: int = 4, height: int = 8, width: int = 12):
    generator = torch.Generator().manual_seed(1)
    clips = torch.randn(b, 3, 2 + frames, height, width, generator=generator)
    actions = torch.randint(0, 5, (b, frames), generator=generator)
    return clips[:, :, 2:], torch.full((b,), 0.3), Conditions(actions, torch.tensor([0, 2])[:b]), stack_past(clips, 2)


@pytest.mark.parametrize("reward", [False, True])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_fresh_block_changes_nothing(attention, reward) -> None:
    torch.manual_seed(0)
    config = replace(GAME, attention=attention, reward=reward)
    network = DiT(config)
    grid = (3, 2, 4)
    x, condition = torch.randn(2, 3, 8, 24), torch.randn(2, 3, 24)
    shared = network.modulation(condition).unflatten(2, (network.parts, 3, -1))
    where = Where(grid, grid_rotation(grid, 12, 10_000.0, torch.device("cpu")))
    for block in network.blocks:
        assert torch.equal(block(x, shared, where), x)
    assert not torch.equal(_stirred(config).blocks[0](x, shared, where), x)


def test_a_fresh_network_repeats_the_last_frame() -> None:
    x, t, conditions, past = _game()
    said = DiT(GAME)(x, t, conditions, past=past)
    assert torch.equal(said.frames, past[:, -3:])
    assert said.reward.tolist() == [[0.0] * 4] * 2


def test_a_fresh_network_without_past_says_zero() -> None:
    assert not DiT(TEXT)(torch.randn(1, 4, 4, 4, 6), torch.zeros(1)).frames.any()


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_every_weight_is_trained(attention) -> None:
    """After two steps from the start, which open the gates, each parameter has a gradient."""
    config = replace(GAME, attention=attention, action_conditioning="both", prompt_width=6)
    torch.manual_seed(0)
    network = DiT(config)
    optimiser = torch.optim.SGD(network.parameters(), 0.5)
    x, t, given, past = _game()
    conditions = Conditions(
        torch.tensor([[0, 1, -1, 2]] * 2), given.label, torch.randn(2, 3, 6) * torch.tensor([1, 1, 0])[:, None]
    )
    for _ in range(4):
        optimiser.zero_grad()
        said = network(x, t, conditions, past=past)
        ((said.frames - x).square().mean() + (said.reward - 1).square().mean()).backward()
        optimiser.step()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("way", ["modulation", "token", "both"])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_future_is_not_seen(attention, way) -> None:
    network = _stirred(replace(GAME, attention=attention, action_conditioning=way, window=(2, 2, 2)))
    x, t, conditions, past = _game()
    before = network(x, t, conditions, past=past)
    x, past, actions = x.clone(), past.clone(), conditions.actions.clone()
    x[:, :, 3] += 1
    past[:, :, 3] += 1
    actions[:, 3] = (actions[:, 3] + 1) % 5
    times = torch.tensor([[0.3, 0.3, 0.3, 0.9]] * 2)
    after = network(x, times, replace(conditions, actions=actions), past=past)
    torch.testing.assert_close(after.frames[:, :, :3], before.frames[:, :, :3], atol=1e-5, rtol=0)
    torch.testing.assert_close(after.reward[:, :3], before.reward[:, :3], atol=1e-5, rtol=0)
    assert (after.frames[:, :, 3] - before.frames[:, :, 3]).abs().max() > 0.1


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_past_is_seen(attention) -> None:
    """A change in frame 0 reaches frame 1 by attention across time; with no such block it does not."""
    for blocks, reaches in ((None, True), ((), False)):
        network = _stirred(replace(GAME, attention=attention, temporal_blocks=blocks))
        x, t, conditions, past = _game()
        before = network(x, t, conditions, past=past).frames
        x = x.clone()
        x[:, :, 0] += 1
        assert ((network(x, t, conditions, past=past).frames - before)[:, :, 1].abs().max() > 1e-3) == reaches


def test_clips_of_a_batch_do_not_mix() -> None:
    network = _stirred(replace(GAME, action_conditioning="both", attention="window"))
    x, t, conditions, past = _game()
    both = network(x, t, conditions, past=past)
    one = network(x[1:], t[1:], Conditions(conditions.actions[1:], conditions.label[1:]), past=past[1:])
    torch.testing.assert_close(both.frames[1:], one.frames, atol=1e-5, rtol=0)


def test_a_time_for_all_frames_is_the_same_time_for_each() -> None:
    network = _stirred(GAME)
    x, t, conditions, past = _game()
    each = network(x, t[:, None].expand(2, 4), conditions, past=past)
    torch.testing.assert_close(network(x, t, conditions, past=past).frames, each.frames)


@pytest.mark.parametrize("way", ["modulation", "token", "both"])
def test_an_action_changes_its_frame(way) -> None:
    network = _stirred(replace(GAME, action_conditioning=way, temporal_blocks=()))
    x, t, conditions, past = _game()
    other = conditions.actions.clone()
    other[:, 2] = (other[:, 2] + 1) % 5
    changed = (
        network(x, t, replace(conditions, actions=other), past=past).frames
        - network(x, t, conditions, past=past).frames
    )
    assert [bool(changed[:, :, frame].abs().max() > 1e-4) for frame in range(4)] == [False, False, True, False]


def test_what_is_left_out_is_what_is_not_said() -> None:
    config = replace(GAME, prompt_width=6, action_conditioning="both")
    network = _stirred(config)
    x, t, conditions, past = _game()
    said = replace(conditions, prompt=torch.randn(2, 3, 6))
    silent = network(x, t, None, past=past).frames
    unsaid = said.unsaid()
    assert unsaid.actions.tolist() == [[-1] * 4] * 2
    assert unsaid.label.tolist() == [-1, -1]
    one_word = replace(unsaid, prompt=torch.zeros(2, 1, 6))
    torch.testing.assert_close(network(x, t, one_word, past=past).frames, silent)
    assert (network(x, t, said, past=past).frames - silent).abs().max() > 1e-3
    half = said.masked(torch.tensor([True, False]))
    mixed = network(x, t, half, past=past).frames
    torch.testing.assert_close(mixed[0], network(x, t, unsaid, past=past).frames[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(mixed[1], network(x, t, said, past=past).frames[1], atol=1e-5, rtol=0)


def test_conditions_are_forgotten_at_the_rate_asked_for() -> None:
    b = 4000
    conditions = Conditions(
        torch.zeros(b, 2, dtype=torch.long), torch.zeros(b, dtype=torch.long), torch.ones(b, 2, 3)
    ).dropped(0.1, torch.Generator().manual_seed(0))
    assert conditions.actions is not None
    gone = torch.stack(
        (
            conditions.actions[:, 0] == -1,
            conditions.actions[:, 1] == -1,
            conditions.label == -1,
            (conditions.prompt == 0).all((1, 2)),
        )
    ).double()
    assert gone.mean(1).tolist() == pytest.approx([0.1] * 4, abs=0.02)  # four standard deviations
    correlation = torch.corrcoef(gone) - torch.eye(4)
    assert correlation.abs().max() < 0.07
    assert set(conditions.prompt.flatten(1).sum(1).tolist()) == {0.0, 6.0}  # a prompt goes as a whole


def test_words_of_a_prompt_are_told_apart_from_padding() -> None:
    network = _stirred(TEXT)
    x, t = torch.randn(1, 4, 4, 4, 6), torch.zeros(1)
    prompt = torch.randn(1, 3, 10)
    padded = torch.cat((prompt, torch.zeros(1, 2, 10)), 1)
    tokens, mean = network.conditions.prompt(padded)
    torch.testing.assert_close(mean, tokens[:, :3].mean(1))
    torch.testing.assert_close(tokens[:, 3], tokens[:, 4])
    other = prompt.clone()
    other[:, 1] += 1
    first, second = (network(x, t, Conditions(prompt=p)).frames for p in (prompt, other))
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_latents_with_patches_of_two_frames_and_a_time_for_each_patch(attention) -> None:
    network = _stirred(replace(TEXT, attention=attention))
    x = torch.randn(2, 4, 6, 10, 6)  # a grid of 3 x 5 x 3, odd and not square
    said = network(x, torch.rand(2, 3), Conditions(label=torch.tensor([0, -1])))
    assert said.frames.shape == x.shape
    assert said.reward is None


def test_blocks_are_what_the_config_says() -> None:
    assert replace(GAME, depth=3, temporal_blocks=(1,)).groupings(0) == (Space(),)
    assert replace(GAME, depth=3, temporal_blocks=(1,)).groupings(1) == (Joint(causal=True),)
    assert replace(GAME, attention="divided", causal=False).groupings(0) == (Time(), Space())
    windows = replace(GAME, attention="window", depth=6, temporal_blocks=(1, 3, 5))
    assert [windows.groupings(block) for block in (1, 2, 3, 5)] == [
        (Window((4, 4, 4), shifted=False, causal=True),),
        (Space(),),
        (Window((4, 4, 4), shifted=True, causal=True),),
        (Window((4, 4, 4), shifted=False, causal=True),),
    ]


def test_half_precision_runs_and_agrees() -> None:
    network = _stirred(GAME)
    x, t, conditions, past = _game()
    full = network(x, t, conditions, past=past).frames
    with torch.autocast("cpu", torch.bfloat16):
        half = network(x, t, conditions, past=past).frames
    assert (half.float() - full).abs().max() < 0.05 * full.abs().max()


def test_past_frames_are_the_frames_before() -> None:
    clips = torch.arange(7.0).reshape(1, 1, 7, 1, 1)
    past = stack_past(clips, 3)
    assert past[0, :, :, 0, 0].T.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    with pytest.raises(InputError, match="3 frames hold no frame with 3 before it"):
        stack_past(clips[:, :, :3], 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 4, 4, 8, 12)}, r"shape \(batch, 3, frames, height, width\); got \(2, 4, 4, 8, 12\)"),
        ({"x": torch.zeros(2, 3, 4, 9, 12)}, "pad it to 4x12x12"),
        ({"t": torch.zeros(2, 3)}, r"times must have shape \(2,\) or \(2, 4\); got \(2, 3\)"),
        ({"past": None}, r"takes \(2, 6, 4, 8, 12\), got none"),
        ({"past": torch.zeros(2, 3, 4, 8, 12)}, r"got shape \(2, 3, 4, 8, 12\)"),
        (
            {"conditions": Conditions(torch.zeros(2, 3, dtype=torch.long))},
            r"actions must have shape \(2, 4\), got \(2, 3\)",
        ),
        ({"conditions": Conditions(prompt=torch.zeros(2, 3, 4))}, "made without prompt"),
    ],
)
def test_wrong_shapes_are_named(change, message) -> None:
    x, t, conditions, past = _game()
    given = {"x": x, "t": t, "conditions": conditions, "past": past, **change}
    with pytest.raises(InputError, match=message):
        DiT(GAME)(given["x"], given["t"], given["conditions"], past=given["past"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attention": "linear"}, "attention must be one of joint, divided, window, got 'linear'"),
        ({"width": 25}, "width of 25 does not divide into 2 heads"),
        ({"width": 8}, "head of size 4"),
        ({"width": 0}, "width must be a whole number from 1"),
        ({"depth": True}, "depth must be a whole number"),
        ({"patch": (1, 4)}, "patch must be three whole numbers"),
        ({"patch": (2, 4, 4)}, "need patches of one frame; got 2x4x4"),
        ({"temporal_blocks": (2,)}, r"temporal_blocks must be from 0 to 1, got \(2,\)"),
        ({"prediction": "v"}, "set residual=False"),
        ({"rope_theta": float("nan")}, "rope_theta must be a number above 1"),
        ({"causal": 1}, "causal must be true or false"),
    ],
)
def test_configs_that_cannot_be_are_refused(change, message) -> None:
    with pytest.raises(InputError, match=message):
        replace(GAME, **change)


def test_rotary_positions_alone_cannot_tell_where_a_token_is() -> None:
    """If all patches are alike, every token sees the same weighted mean, whatever the weights are."""
    x, t = torch.full((1, 3, 2, 12, 16), 0.5), torch.zeros(1)
    config = DiTConfig(patch=(1, 4, 4), width=24, depth=3, heads=2, causal=False)
    patches = [
        _stirred(replace(config, absolute=absolute))(x, t).frames.detach().unfold(3, 4, 4).unfold(4, 4, 4).flatten(5)
        for absolute in (False, True)
    ]  # (1, 3, 2, 3, 4, 16)
    spread = [float((p - p[:, :, :, :1, :1]).abs().max()) for p in patches]
    assert spread[0] < 1e-5
    assert spread[1] > 0.1
    alone = _stirred(replace(config, temporal_blocks=()))(x, t).frames
    torch.testing.assert_close(alone[:, :, 0], alone[:, :, 1], atol=1e-5, rtol=0)  # which frame it is, is not told
