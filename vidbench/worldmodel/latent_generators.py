"""The reference generators with something hidden: `dit-latent`, whose actions are found, and `rssm`, whose state is.

docs/worldmodel-latent.md says how they are trained and how good they are. torch is imported when they are used.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError, MissingExtraError
from vidbench.files import write_atomic
from vidbench.generator import Budget, Generated, Generator, History, Imagined, Meter, Progress, Report
from vidbench.worldmodel.recording import RecordedClip, recorded
from vidbench.worldmodel.rooms.episodes import Episodes, expert_policy, random_policy, record, sticky_policy
from vidbench.worldmodel.rooms.layout import heldout_seed, training_seed
from vidbench.worldmodel.rooms.settings import Action, RoomSettings
from vidbench.worldmodel.rooms.world import Rooms

if TYPE_CHECKING:
    from vidbench.worldmodel.dit import DiT
    from vidbench.worldmodel.latent import ActionMap
    from vidbench.worldmodel.rssm import Play, Rssm

ANYWHERE = RoomSettings(start="anywhere")
LABELS = 200
"""Labelled transitions that `dit-latent` may see."""
_LATENT_SHARE = 0.2
"""Of dit-latent's budget, for finding the codes."""
_STATE = "vidbench-latent-training-1"
_REPORTS = 20
_WEIGHTS = Path(__file__).parent / "weights"


class LatentGenerator(Generator):
    """What both share: how training goes on after an interrupt, notes, clips."""

    conditions = frozenset({"actions"})
    context_frames: ClassVar[int] = 4

    @classmethod
    def shipped(cls) -> Path | None:
        """See `Generator.shipped`."""
        path = _WEIGHTS / f"{cls.name}.safetensors"
        return path if path.exists() else None

    @classmethod
    def _begin(cls, seed: int) -> None:
        if cls.requires.missing() is not None:
            raise MissingExtraError(cls.name, "worldmodel")
        if seed < 0:
            raise InputError(f"seeds count from 0, got {seed}")

    @classmethod
    def _notes(cls, budget: Budget, seed: int, meter: Meter) -> dict[str, str]:
        from vidbench import __version__

        asked = f"--steps {budget.steps}" if budget.steps is not None else f"--cpu-seconds {budget.cpu_seconds:g}"
        return {
            "generator": cls.name,
            "version": cls.version,
            "vidbench": __version__,
            "command": f"vidbench train {cls.name} {asked} --seed {seed}",
            "seed": str(seed),
            "steps": str(meter.steps),
            "cpu_seconds": f"{meter.cpu_seconds:.0f}",
        }

    def generate(self, n: int, seed: int = 0, *, frames: int = 17) -> Generated:
        """From each start one clip with a player's (sticky) actions and three with random ones; see `Generator`."""
        if n < 1 or frames < 2 or seed < 0:
            raise InputError(f"at least 1 clip of 2 frames and a seed from 0 are needed; got {n}, {frames}, {seed}")
        rooms = Rooms(-(-n // 4), seed=heldout_seed(seed))
        before = record(rooms, sticky_policy(seed), self.context_frames - 1)
        played = record(rooms.repeat(1), sticky_policy(seed + 1), frames - 1).actions.repeat(4, 0)[:n]
        drawn = np.random.default_rng([seed, 3]).integers(0, len(Action), played.shape)
        random = np.arange(n) % 4 != 0
        actions = np.where(random[:, None], drawn, played)
        truth = record(rooms.repeat(4).select(np.arange(n)), actions)
        history = History(before.frames.repeat(4, 0)[:n], before.actions.repeat(4, 0)[:n])
        made = np.concatenate([history.frames[:, -1:], self.imagine(history, actions=actions, seed=seed).frames], 1)
        clips, references = [], []
        for i, true in enumerate(recorded(truth)):
            more = {"start": f"{seed}-{i // 4}", "actions_kind": "random" if random[i] else "true"}
            names = {"action_names": true.extra["action_names"]}
            clips.append(RecordedClip(made[i], actions[i], None, seed, {**more, **names}))
            references.append(RecordedClip(true.frames, true.actions, None, seed, {**true.extra, **more}))
        return Generated(tuple(clips), tuple(references))

    @classmethod
    def _told_actions(
        cls, history: History, actions: NDArray[np.int64] | None, prompts: Sequence[str] | None, steps: int | None
    ) -> NDArray[np.int64]:
        cls.told(history, actions, prompts, steps)
        if actions is None or ((actions < 0) | (actions >= len(Action))).any():
            raise InputError(f"{cls.name} is told actions from 0 to {len(Action) - 1}")
        return actions


class DitLatent(LatentGenerator):
    """A world model of unlabelled video: a transformer told codes that were found, named by 200 labels."""

    name = "dit-latent"
    version = "1"
    summary = "world model of RoomWorld from video without actions: codes are found, 200 labels say which is which"
    budget = Budget(cpu_seconds=160)

    def __init__(self, network: DiT, actions: ActionMap, notes: Mapping[str, str]) -> None:
        self.network, self.actions, self._kept = network, actions, dict(notes)

    @property
    def notes(self) -> Mapping[str, str]:
        """See `Generator.notes`."""
        return self._kept

    @classmethod
    def train(
        cls, budget: Budget, seed: int = 0, *, progress: Progress | None = None, state: Path | None = None
    ) -> Self:
        """See `Generator.train`. A fifth of the budget finds the codes."""
        cls._begin(seed)
        from vidbench.worldmodel.latent import ActionMap, LatentConfig, LatentTraining, code_gain
        from vidbench.worldmodel.latent_dit import DitTraining

        run = _Run(cls.name, budget, seed, progress, state)
        video = record(Rooms(768, seed=training_seed(5000 + seed), settings=ANYWHERE), random_policy(seed), 31)
        latent = LatentTraining(video.frames, LatentConfig(seed=seed))
        run.stage("latent", latent, _LATENT_SHARE, latent.step)
        found = latent.result()
        gain = code_gain(found.explain(video.frames[:64]).errors)
        codes = found.codes(video.frames)
        network = DitTraining(video.frames, codes, found.config.codes, seed)
        run.stage("network", network, 1.0, network.step)
        labelled = np.random.default_rng([seed, 9]).choice(codes.size, LABELS, replace=False)
        actions = ActionMap.fit(
            codes.ravel()[labelled], video.actions.ravel()[labelled], found.config.codes, len(Action)
        )
        run.finish()
        notes = cls._notes(budget, seed, run.meter) | {"labels": str(LABELS), "code_gain": f"{gain:.2f}"}
        return cls(network.average.network, actions, notes)

    def save(self, path: Path) -> None:
        """See `Generator.save`."""
        from vidbench.worldmodel.latent_dit import save

        save(path, self.network, self.actions, self._kept)

    @classmethod
    def load(cls, path: Path) -> Self:
        """See `Generator.load`."""
        cls._begin(0)
        from vidbench.worldmodel.latent_dit import load

        return cls(*load(path))

    def imagine(
        self,
        history: History,
        *,
        actions: NDArray[np.int64] | None = None,
        prompts: Sequence[str] | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> Imagined:
        """See `Generator.imagine`."""
        from vidbench.worldmodel.latent_dit import imagine_codes

        chosen = self._told_actions(history, actions, prompts, steps)
        return Imagined(imagine_codes(self.network, history.frames, self.actions.to_code[chosen], seed=seed))


class RssmGenerator(LatentGenerator):
    """Latent dynamics: imagines without drawing, and tells the reward of what it imagines."""

    name = "rssm"
    version = "1"
    summary = "latent dynamics of RoomWorld (a recurrent state-space model as in Dreamer) with reward"
    budget = Budget(cpu_seconds=560)

    def __init__(self, network: Rssm, notes: Mapping[str, str]) -> None:
        self.network, self._kept = network, dict(notes)

    @property
    def notes(self) -> Mapping[str, str]:
        """See `Generator.notes`."""
        return self._kept

    @classmethod
    def play(cls, seed: int, rooms: int = 700, *, held_out: bool = False) -> tuple[Play, NDArray[np.int64]]:
        """Sticky, expert (to the coin) and random play in as many rooms of each, and where agents are."""
        from vidbench.worldmodel.rssm import Play

        draw = heldout_seed if held_out else training_seed
        parts: list[Episodes] = []
        for k in range(3):
            here = Rooms(rooms, seed=draw(2000 + 3 * seed + k), settings=ANYWHERE)
            goals = np.zeros(rooms, np.int64)
            policy = (
                sticky_policy(2000 + seed),
                expert_policy(here, goals),
                random_policy(2002 + seed),
            )[k]
            parts.append(record(here, policy, 31))

        def joined(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(part, name) for part in parts])

        play = Play(joined("frames"), joined("actions"), joined("rewards"), ~joined("coin_taken"))
        return play, joined("agent")

    @classmethod
    def train(
        cls, budget: Budget, seed: int = 0, *, progress: Progress | None = None, state: Path | None = None
    ) -> Self:
        """See `Generator.train`."""
        cls._begin(seed)
        from vidbench.worldmodel.rssm import RssmTraining

        run = _Run(cls.name, budget, seed, progress, state)
        training = RssmTraining(cls.play(seed)[0], seed=seed)
        run.stage("network", training, 1.0, lambda share: float(training.step(share).total.detach()))
        run.finish()
        return cls(training.network.eval(), cls._notes(budget, seed, run.meter))

    def save(self, path: Path) -> None:
        """See `Generator.save`."""
        from vidbench.worldmodel.rssm import save

        save(path, self.network, self._kept)

    @classmethod
    def load(cls, path: Path) -> Self:
        """See `Generator.load`."""
        cls._begin(0)
        from vidbench.worldmodel.rssm import load

        return cls(*load(path))

    def imagine(
        self,
        history: History,
        *,
        actions: NDArray[np.int64] | None = None,
        prompts: Sequence[str] | None = None,
        steps: int | None = None,
        seed: int = 0,
    ) -> Imagined:
        """See `Generator.imagine`; the likeliest class of each categorical is taken, so that no seed matters.

        Rewards are probabilities. Actions that led to the history are used where they are known.
        """
        import torch

        from vidbench.worldmodel.rssm import State, as_pixels, as_tensor

        chosen = self._told_actions(history, actions, prompts, steps)
        count, length = history.frames.shape[:2]
        before = np.full((count, length), -1)
        if history.actions is not None:
            before[:, 1:] = history.actions
        frames, rewards = [], []
        with torch.inference_mode():
            for at in range(0, count, 64):
                part = slice(at, at + 64)
                states, _, _ = self.network.observe(
                    as_tensor(history.frames[part]),
                    torch.from_numpy(before[part]),
                    torch.Generator().manual_seed(seed),
                    likeliest=True,
                )
                now = State(*(each.unflatten(0, (-1, length))[:, -1] for each in states))
                said = self.network.imagine(now, torch.from_numpy(chosen[part]), likeliest=True)
                frames.append(as_pixels(torch.stack([step.frames for step in said], 1)))
                rewards.append(torch.stack([step.reward for step in said], 1).sigmoid().numpy())
        return Imagined(np.concatenate(frames), np.concatenate(rewards).astype(np.float32))


class _Run:
    """A budget spent on stages one after the other, reported, and kept when it is interrupted."""

    def __init__(self, name: str, budget: Budget, seed: int, progress: Progress | None, state: Path | None) -> None:
        self._identity = json.dumps([name, str(budget), seed])
        self._progress, self._path = progress, state
        self._stages: dict[str, Any] = {}
        kept = _kept(state, self._identity)
        self._resumed = kept["stages"]
        self.meter = Meter(budget, steps=kept["steps"], cpu_seconds=kept["cpu_seconds"])

    def stage(self, name: str, training: Any, until: float, step: Callable[[float], float]) -> None:
        """Train until a share of the whole budget is spent; `step` is told the share of the stage."""
        self._stages[name] = training
        if name in self._resumed:
            training.load_state_dict(self._resumed[name])
        begun = self._resumed.get(f"{name} begun", self.meter.share)
        self._resumed[f"{name} begun"] = begun
        losses: list[float] = []
        due = self.meter.share + 1 / _REPORTS
        try:
            while self.meter.share < until:
                share = min(1.0, (self.meter.share - begun) / max(until - begun, 1e-9))
                losses.append(step(share))
                self.meter.steps += 1
                if self._progress is not None and self.meter.share >= due:
                    self._report(losses)
                    losses = []
                    due = self.meter.share + 1 / _REPORTS
        except KeyboardInterrupt:
            self._keep()
            raise

    def _report(self, losses: list[float]) -> None:
        if self._progress is not None and losses:
            meter = self.meter
            self._progress(Report(meter.share, meter.steps, meter.cpu_seconds, float(np.mean(losses))))

    def _keep(self) -> None:
        if self._path is None:
            return
        import torch

        begun = {name: value for name, value in self._resumed.items() if name.endswith(" begun")}
        stages = {name: training.state_dict() for name, training in self._stages.items()}
        buffer = io.BytesIO()
        torch.save(
            {
                "format": _STATE,
                "identity": self._identity,
                "steps": self.meter.steps,
                "cpu_seconds": self.meter.cpu_seconds,
                "stages": {**begun, **stages},
            },
            buffer,
        )
        write_atomic(self._path, buffer.getvalue())

    def finish(self) -> None:
        """Training is done: what was kept is needed no more."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _kept(path: Path | None, identity: str) -> dict[str, Any]:
    if path is None or not path.exists():
        return {"stages": {}, "steps": 0, "cpu_seconds": 0.0}
    import torch

    try:
        found = torch.load(path, weights_only=True)
    except Exception as error:
        raise InputError(f"{path} cannot be read as unfinished training: remove it, or give another file") from error
    if not isinstance(found, dict) or found.get("format") != _STATE or found.get("identity") != identity:
        raise InputError(f"{path} is of another training: remove it, or give another file")
    return found
