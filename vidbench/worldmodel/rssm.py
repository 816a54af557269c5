"""Latent dynamics: what follows is imagined without drawing it, and what it is worth is told beforehand.

A recurrent state-space model (Hafner et al. 2023, DreamerV3, arXiv 2301.04104): what is remembered, `h`, moves on with
the last sample `z` and the action; a *prior* says which z to expect, a *posterior* which z the frame shows. From (h, z)
come the frame, the reward and whether play goes on. Where no frame is seen, z is drawn from the prior: imagination.

    h' = gru(h, z, action)        z' ~ posterior(h', frame')   or   z' ~ prior(h')

    loss = drawing + reward + goes on + 1.0 max(1, KL(sg(posterior) | prior)) + 0.1 max(1, KL(posterior | sg(prior)))

sg stops the gradient: the prior runs after the posterior ten times faster than the other way (KL balance); one nat is
free, so that a good state need not forget. z is categorical, its gradient straight-through, a small share
is drawn evenly (unimix).

Two things differ from Dreamer, both for one CPU core. The state lies on a grid of places, one for each patch of the
frame, and convolutions move it on: what holds in one corner then holds in the others, and a wall is a matter of
neighbours. And the drawing error counts more where the frame changed, since a small thing that moves is otherwise no
part of the loss worth learning (danijar/dreamerv3#23: the background is learned, the object never appears).

Axes: b clips, t frames, c channels of h, (gh, gw) the grid, s categoricals a place of k classes each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from vidbench.errors import InputError
from vidbench.files import write_atomic

FORMAT = "vidbench-rssm-1"


@dataclass(frozen=True)
class RssmConfig:
    """Sizes and weights of the losses."""

    actions: int = 5
    """How many actions there are."""
    patch: int = 2
    """Side of a place of the grid in pixels."""
    width: int = 32
    """c, channels of what is remembered at each place."""
    categoricals: int = 1
    """s, of each place."""
    classes: int = 8
    """k, of each categorical."""
    unimix: float = 0.00125
    """Share of an even distribution in every categorical: as many odd draws in a frame of 256 categoricals as Dreamer's
    0.01 gives among its 32."""
    free_nats: float = 1.0
    """KL divergence of a frame that costs nothing."""
    dynamics_weight: float = 1.0
    """Of the KL that trains the prior."""
    representation_weight: float = 0.1
    """Of the KL that trains the posterior."""
    changed_weight: float = 8.0
    """How much more a pixel's error counts where the frame changed."""
    reward_weight: float = 1.0
    """Of the errors of reward and of going on."""

    def __post_init__(self) -> None:
        whole = (self.actions, self.patch, self.width, self.categoricals, self.classes)
        if any(type(number) is not int for number in whole) or min(whole) < 1 or max(whole) > 4096:
            raise InputError(f"sizes are whole numbers from 1, got {self}")
        weights = (self.free_nats, self.dynamics_weight, self.representation_weight, self.changed_weight)
        if not 0 <= self.unimix < 1 or min(*weights, self.reward_weight) < 0:
            raise InputError(f"weights must be 0 or more and unimix a share below 1, got {self}")


class State(NamedTuple):
    """Where a clip stands."""

    memory: Tensor
    """(b, c, gh, gw) h"""
    sample: Tensor
    """(b, s * k, gh, gw) z, one of k in each categorical"""


class Losses(NamedTuple):
    """Means over clips and frames."""

    total: Tensor
    drawing: Tensor
    reward: Tensor
    goes_on: Tensor
    divergence: Tensor
    """Nats a frame."""


class Heads(NamedTuple):
    """What a state says."""

    frames: Tensor
    """(n, 3, h, w) from -1 to 1"""
    reward: Tensor
    """(n,) logit of a reward with this frame"""
    goes_on: Tensor
    """(n,) logit of play going on after it"""


class Rssm(nn.Module):
    """See the module."""

    def __init__(self, config: RssmConfig) -> None:
        super().__init__()
        self.config = config
        c, pixels, sample = config.width, 3 * config.patch**2, config.categoricals * config.classes
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(config.patch), nn.Conv2d(pixels, c, 3, padding=1), nn.SiLU(), nn.Conv2d(c, c, 1)
        )
        self.action = nn.Embedding(config.actions, c)
        self.mix = nn.Conv2d(c + sample, c, 3, padding=1)
        self.gates = nn.Conv2d(2 * c, 3 * c, 1)  # the mix has already looked at the neighbours
        self.prior = nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.SiLU(), nn.Conv2d(c, sample, 1))
        self.posterior = nn.Sequential(nn.Conv2d(2 * c, c, 1), nn.SiLU(), nn.Conv2d(c, sample, 1))
        self.decoder = nn.Sequential(
            nn.Conv2d(c + sample, c, 3, padding=1), nn.SiLU(), nn.Conv2d(c, pixels, 3, padding=1)
        )
        self.draw = nn.PixelShuffle(config.patch)
        self.events = nn.Sequential(nn.Conv2d(c + sample, c, 3, padding=1), nn.SiLU(), nn.Conv2d(c, c, 1))
        self.says = nn.Linear(2 * c, 2)
        with torch.no_grad():
            # Before anything is learned, no reward and play goes on.
            self.says.weight.zero_()
            self.says.bias.copy_(torch.tensor([-3.0, 3.0]))

    def begin(self, b: int, grid: tuple[int, int], device: torch.device | str = "cpu") -> State:
        """Nothing remembered, nothing drawn."""
        config = self.config
        memory = torch.zeros(b, config.width, *grid, device=device)
        return State(memory, torch.zeros(b, config.categoricals * config.classes, *grid, device=device))

    def advance(self, state: State, actions: Tensor) -> Tensor:
        """What is remembered after the actions (b,); -1 before the first frame: (b, c, gh, gw)."""
        told = self.action(actions.clamp(min=0)) * (actions >= 0)[:, None]
        mixed = F.silu(self.mix(torch.cat(state, 1)) + told[:, :, None, None])
        reset, new, update = self.gates(torch.cat((state.memory, mixed), 1)).chunk(3, 1)
        # As Dreamer's cell: an update is rather left out at first (bias -1).
        share = torch.sigmoid(update - 1)
        return share * torch.tanh(torch.sigmoid(reset) * new) + (1 - share) * state.memory

    def expected(self, memory: Tensor) -> Tensor:
        """Log-probabilities of the prior: (b, s, k, gh, gw)."""
        return self._log_probabilities(self.prior(memory))

    def seen(self, memory: Tensor, encoded: Tensor) -> Tensor:
        """Log-probabilities of the posterior: (b, s, k, gh, gw)."""
        return self._log_probabilities(self.posterior(torch.cat((memory, encoded), 1)))

    def heads(self, state: State) -> Heads:
        """Frame, reward and going on by states."""
        both = torch.cat(state, 1)
        events = F.silu(self.events(both))
        said = self.says(torch.cat((events.amax((2, 3)), events.mean((2, 3))), 1))
        return Heads(self.draw(self.decoder(both)), said[:, 0], said[:, 1])

    def observe(
        self,
        frames: Tensor,
        actions: Tensor,
        generator: torch.Generator | None = None,
        *,
        likeliest: bool = False,
    ) -> tuple[State, Tensor, Tensor]:
        """Go through clips that are seen.

        Args:
            frames: (b, t, 3, h, w) from -1 to 1.
            actions: (b, t) the action that led to each frame; -1: none did.
            generator: of the samples.
            likeliest: take the likeliest class instead of drawing one.

        Returns:
            States (b * t, ...) in the order of clips, then of time; the log-probabilities of posterior and prior,
            (b, t, s, k, gh, gw).
        """
        b, t = frames.shape[:2]
        encoded = self.encoder(frames.flatten(0, 1)).unflatten(0, (b, t))
        state = self.begin(b, (encoded.shape[3], encoded.shape[4]), frames.device)
        memories, samples, seen, expected = [], [], [], []
        for step in range(t):
            memory = self.advance(state, actions[:, step])
            posterior = self.seen(memory, encoded[:, step])
            state = State(memory, _drawn(posterior, generator, likeliest=likeliest))
            memories.append(memory)
            samples.append(state.sample)
            seen.append(posterior)
            expected.append(self.expected(memory))
        flat = State(torch.stack(memories, 1).flatten(0, 1), torch.stack(samples, 1).flatten(0, 1))
        return flat, torch.stack(seen, 1), torch.stack(expected, 1)

    def losses(
        self,
        frames: Tensor,
        actions: Tensor,
        rewards: Tensor,
        goes_on: Tensor,
        generator: torch.Generator | None = None,
    ) -> Losses:
        """All of Dreamer's losses of the world model.

        Args:
            frames: (b, t, 3, h, w) from -1 to 1.
            actions: (b, t) that led to each frame; -1: none did.
            rewards: (b, t) 0 or 1, with each frame.
            goes_on: (b, t) 0 or 1, whether play goes on after it.
            generator: of the samples.
        """
        config = self.config
        states, seen, expected = self.observe(frames, actions, generator)
        said = self.heads(states)
        changed = torch.zeros_like(frames[:, :, :1])
        changed[:, 1:] = ((frames[:, 1:] - frames[:, :-1]).abs().amax(2, keepdim=True) > 0.02).float()
        # What was left behind and what came; also in the frame after, when it has to stay where it is.
        weights = 1 + config.changed_weight * torch.maximum(changed, changed.roll(1, 1))
        error = (said.frames.view_as(frames) - frames).square() * weights
        drawing = error.sum((2, 3, 4)).mean()
        reward = F.binary_cross_entropy_with_logits(said.reward, rewards.flatten())
        going = F.binary_cross_entropy_with_logits(said.goes_on, goes_on.flatten())
        dynamics = divergence(seen.detach(), expected)
        representation = divergence(seen, expected.detach())
        free = config.free_nats
        total = (
            drawing
            + config.reward_weight * (reward + going)
            + config.dynamics_weight * dynamics.clamp(min=free).mean()
            + config.representation_weight * representation.clamp(min=free).mean()
        )
        return Losses(total, drawing.detach(), reward.detach(), going.detach(), dynamics.detach().mean())

    def imagine(
        self, state: State, actions: Tensor, generator: torch.Generator | None = None, *, likeliest: bool = False
    ) -> list[Heads]:
        """Go on without frames.

        Args:
            state: of b clips.
            actions: (b, t) what is done.
            generator: of the samples.
            likeliest: take the likeliest class instead of drawing one.

        Returns:
            For each step what the states say of b clips.
        """
        said = []
        for step in range(actions.shape[1]):
            memory = self.advance(state, actions[:, step])
            state = State(memory, _drawn(self.expected(memory), generator, likeliest=likeliest))
            said.append(self.heads(state))
        return said

    def _log_probabilities(self, logits: Tensor) -> Tensor:
        config = self.config
        each = logits.unflatten(1, (config.categoricals, config.classes)).softmax(2)
        return ((1 - config.unimix) * each + config.unimix / config.classes).log()


def divergence(seen: Tensor, expected: Tensor) -> Tensor:
    """KL divergence of log-probabilities (b, t, s, k, gh, gw), all categoricals of a frame together: (b, t) nats."""
    return (seen.exp() * (seen - expected)).sum((2, 3, 4, 5))


def _drawn(log_probabilities: Tensor, generator: torch.Generator | None, *, likeliest: bool = False) -> Tensor:
    """One of k in each categorical, straight-through: (b, s, k, gh, gw) to (b, s * k, gh, gw)."""
    scores = log_probabilities.detach()
    if not likeliest:
        # The largest after adding Gumbel noise is a sample.
        uniform = torch.rand(scores.shape, generator=generator).clamp(1e-10, 1 - 1e-7).to(scores.device)
        scores = scores - (-uniform.log()).log()
    hard = F.one_hot(scores.argmax(2), scores.shape[2]).movedim(-1, 2).to(scores.dtype)
    probabilities = log_probabilities.exp()
    return (hard + probabilities - probabilities.detach()).flatten(1, 2)


@dataclass(frozen=True, slots=True)
class Play:
    """What dynamics are learned from: N clips of T frames."""

    frames: NDArray[np.uint8]
    """(N, T, H, W, 3)"""
    actions: NDArray[np.int64]
    """(N, T - 1)"""
    rewards: NDArray[np.float32]
    """(N, T - 1) 0 or 1, with frame t + 1."""
    goes_on: NDArray[np.bool_]
    """(N, T) whether play goes on after each frame."""

    def __post_init__(self) -> None:
        shape = self.frames.shape
        between = (shape[0], shape[1] - 1) if len(shape) == 5 else ()
        if len(shape) != 5 or shape[4] != 3 or self.frames.dtype != np.uint8 or shape[1] < 2:
            raise InputError(f"play is (clips, frames from 2, height, width, 3) uint8, got {shape}")
        if self.actions.shape != between or self.rewards.shape != between or self.goes_on.shape != shape[:2]:
            raise InputError(f"{shape[1]} frames have {shape[1] - 1} actions and rewards between them")


class RssmTraining:
    """Training that can be stopped after any step and gone on with.

    Args:
        play: what to learn from.
        config: sizes.
        seed: of weights and draws.
        batch: clips a step.
        window: frames of each.
        rate: highest learning rate (AdamW).
    """

    def __init__(
        self,
        play: Play,
        config: RssmConfig = RssmConfig(),
        *,
        seed: int = 0,
        batch: int = 8,
        window: int = 12,
        rate: float = 2e-3,
    ) -> None:
        if play.frames.shape[1] < window:
            raise InputError(f"clips of {play.frames.shape[1]} frames hold no window of {window}")
        self.play, self.config, self.batch, self.window, self.rate = play, config, batch, window, rate
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = Rssm(config)
        self._optimiser = torch.optim.AdamW(self.network.parameters(), lr=rate, betas=(0.9, 0.99), eps=1e-8)
        rewarded = np.argwhere(play.rewards > 0)
        self._rewarded = rewarded
        self.steps_done = 0

    def step(self, share: float) -> Losses:
        """One optimiser step at a share of the training; half of the clips hold a reward, where there are any."""
        play, count, window = self.play, self.batch, self.window
        warm = min(1.0, (self.steps_done + 1) / 50)
        for group in self._optimiser.param_groups:
            group["lr"] = self.rate * warm * min(1.0, (1 - share) / 0.4 + 0.02)
        clip = self._rng.integers(0, play.frames.shape[0], count)
        first = self._rng.integers(0, play.frames.shape[1] - window + 1, count)
        if len(self._rewarded):
            half = count // 2
            chosen = self._rewarded[self._rng.integers(0, len(self._rewarded), half)]
            clip[:half] = chosen[:, 0]
            # Frame r + 1 carries reward r; it may be any but the first of the window.
            earliest = chosen[:, 1] + 2 - window
            first[:half] = np.clip(self._rng.integers(earliest, chosen[:, 1] + 1), 0, play.frames.shape[1] - window)
        frames, actions, rewards, goes_on = _window(play, clip, first, window)
        losses = self.network.losses(frames, actions, rewards, goes_on, self._generator)
        self._optimiser.zero_grad()
        losses.total.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 100.0)
        self._optimiser.step()
        self.steps_done += 1
        return losses

    def state_dict(self) -> dict[str, Any]:
        """To go on later."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "steps_done": self.steps_done,
            "draws": self._rng.bit_generator.state,
            "noise": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.steps_done = int(state["steps_done"])
        self._rng.bit_generator.state = state["draws"]
        self._generator.set_state(state["noise"])


def as_tensor(frames: NDArray[np.uint8]) -> Tensor:
    """(..., H, W, 3) uint8 to (..., 3, H, W) from -1 to 1."""
    return torch.from_numpy(np.ascontiguousarray(frames)).movedim(-1, -3).float() / 127.5 - 1


def as_pixels(frames: Tensor) -> NDArray[np.uint8]:
    """(..., 3, H, W) from -1 to 1 to (..., H, W, 3) uint8."""
    levels = ((frames.clamp(-1, 1) + 1) * 127.5).round().byte()
    return np.ascontiguousarray(levels.movedim(-3, -1).cpu().numpy())


def _window(
    play: Play, clip: NDArray[np.int64], first: NDArray[np.int64], window: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    at = first[:, None] + np.arange(window)
    before = np.maximum(at - 1, 0)
    # The first frame of a window is met without knowing what led to it, as a history begins in use.
    actions, rewards = play.actions[clip[:, None], before], play.rewards[clip[:, None], before]
    actions[:, 0] = -1
    rewards = np.where(at > 0, rewards, 0).astype(np.float32)
    return (
        as_tensor(play.frames[clip[:, None], at]),
        torch.from_numpy(actions),
        torch.from_numpy(rewards),
        torch.from_numpy(play.goes_on[clip[:, None], at].astype(np.float32)),
    )


def save(path: Path, network: Rssm, notes: Mapping[str, str] | None = None) -> None:
    """Write the network as safetensors, with its configuration and `notes` in the header."""
    from safetensors.torch import save as as_bytes

    header = {**(notes or {}), "format": FORMAT, "config": json.dumps(asdict(network.config))}
    try:
        write_atomic(path, as_bytes({k: v.detach().contiguous() for k, v in network.state_dict().items()}, header))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error})") from None


def load(path: Path) -> tuple[Rssm, dict[str, str]]:
    """The network of a file, and the notes beside it.

    Raises:
        InputError: the file cannot be read or is none of these; names it.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            header = dict(file.metadata() or {})
            if header.pop("format", None) != FORMAT:
                raise InputError(f"it is no latent dynamics ({FORMAT})")  # noqa: TRY301
            network = Rssm(RssmConfig(**json.loads(header.pop("config", "{}"))))
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, TypeError, RuntimeError, InputError) as error:
        raise InputError(f"{path} cannot be read as latent dynamics: {' '.join(str(error).split())[:160]}") from None
    return network.eval(), header
