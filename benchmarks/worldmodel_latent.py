"""How good latent actions, the generator on them, and latent dynamics are on rooms that nobody trained on.

    python benchmarks/worldmodel_latent.py codes --seeds 0 1 2          # AMI, labels, agent placed by the code
    python benchmarks/worldmodel_latent.py codes --variant gumbel       # what was tried instead
    python benchmarks/worldmodel_latent.py codes --stay 0.85            # sticky players
    python benchmarks/worldmodel_latent.py generator                    # the shipped dit-latent
    python benchmarks/worldmodel_latent.py rssm                         # the shipped rssm
    python benchmarks/worldmodel_latent.py pictures docs                # the pictures of docs/worldmodel-latent.md

Every line is printed with its number of cases and, where something is trained, its CPU-seconds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from vidbench.generator import Generator, History
from vidbench.worldmodel import latent
from vidbench.worldmodel.game import (
    Action,
    Rooms,
    RoomSettings,
    find_agent,
    heldout_seed,
    random_policy,
    record,
    sticky_policy,
    training_seed,
)
from vidbench.worldmodel.latent import ActionMap, CodeDecoder, LatentActions, LatentConfig, LatentTraining
from vidbench.worldmodel.latent_generators import LABELS, DitLatent, RssmGenerator

ANYWHERE = RoomSettings(start="anywhere")
HORIZONS = (1, 4, 8, 16)


class ShiftDecoder(CodeDecoder):
    """Each code moves a layer by a learned displacement; layer, mask and background come from the past."""

    def __init__(self, config: LatentConfig, reach: int = 2) -> None:
        super().__init__(replace(config, codes=2))  # six channels: mask, background, two that are not used
        self.codes, self.reach = config.codes, reach
        self.kernels = nn.Parameter(0.5 * torch.randn(config.codes, (2 * reach + 1) ** 2))

    def forward(self, past: Tensor) -> Tensor:
        """See `CodeDecoder`."""
        drawn, now, reach = self.shuffle(self.out(self.layers(past))), past[:, -3:], self.reach
        mask, background = torch.sigmoid(drawn[:, :1] - 1), now + drawn[:, 1:4]
        layer = torch.cat([mask * now, mask], 1)
        b, _, h, w = layer.shape
        padded, side = F.pad(layer, (reach,) * 4), 2 * reach + 1
        moved = torch.stack([padded[:, :, i : i + h, j : j + w] for i in range(side) for j in range(side)])
        shifted = (self.kernels.softmax(1) @ moved.flatten(1)).view(self.codes, b, 4, h, w).transpose(0, 1)
        return shifted[:, :, :3] + (1 - shifted[:, :, 3:]) * background[:, None]


class GumbelEncoder(nn.Module):
    """Names a code by last frame and change, as Genie's encoder does."""

    def __init__(self, codes: int, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(24, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(width, codes),
        )

    def forward(self, now: Tensor, following: Tensor) -> Tensor:
        """(b, 3, h, w) twice to logits (b, codes)."""
        return self.layers(torch.cat((now, following - now), 1))


def train_gumbel(frames: NDArray[np.uint8], config: LatentConfig) -> tuple[LatentActions, GumbelEncoder]:
    """An encoder chooses, with Gumbel noise whose temperature falls, and a bonus for using all codes."""
    training, rng = LatentTraining(frames, config), np.random.default_rng(config.seed)
    torch.manual_seed(config.seed)
    encoder = GumbelEncoder(config.codes)
    weights = [*training.decoder.parameters(), *encoder.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=config.rate)
    for step in range(config.steps):
        clip = rng.integers(0, len(frames), config.batch)
        at = rng.integers(0, frames.shape[1] - 1, config.batch)
        past, following = latent._tensors(frames, clip, at, config.past_frames)
        logits = encoder(past[:, -3:], following)
        chosen = F.gumbel_softmax(logits, 2.0 * 0.15 ** (step / config.steps), hard=True)
        pictures = (training.decoder(past) * chosen[:, :, None, None, None]).sum(1)
        use = logits.softmax(1).mean(0)
        loss = (pictures - following).square().mean() + 2e-4 * (use * use.clamp(min=1e-8).log()).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return training.result(), encoder.eval()


class _Weighted(LatentTraining):
    """Counts changed pixels ten times more, as other models of small things do."""

    def step(self, share: float | None = None) -> float:
        plain = latent.errors_of

        def weighted(pictures: Tensor, following: Tensor) -> Tensor:
            changed = (following - self._now).abs().amax(1, keepdim=True) > 0.02
            return ((pictures - following[:, None]).square() * (1 + 10 * changed)[:, None]).mean((2, 3, 4)) / 5

        tensors = latent._tensors

        def kept(*given: Any) -> tuple[Tensor, Tensor]:
            past, following = tensors(*given)
            self._now = past[:, -3:]
            return past, following

        latent.errors_of, latent._tensors = weighted, kept  # type: ignore[assignment]
        try:
            return super().step(share)
        finally:
            latent.errors_of, latent._tensors = plain, tensors


def codes(variant: str, seed: int, stay: float, config: LatentConfig) -> dict[str, float]:
    """Train on unlabelled video, measure on held-out rooms whose players draw every action anew."""
    policy = random_policy(seed) if stay == 0 else sticky_policy(seed, stay)
    video = record(Rooms(512, seed=training_seed(1000 + seed), settings=ANYWHERE), policy, 31)
    test = record(Rooms(64, seed=heldout_seed(1000 + seed), settings=ANYWHERE), random_policy(seed + 1), 31)
    config = replace(config, seed=seed)
    began = time.process_time()
    encoder = None
    if variant == "gumbel":
        found, encoder = train_gumbel(video.frames, config)
    else:
        torch.manual_seed(seed)
        decoder = ShiftDecoder(config) if variant == "shift" else None
        kind = _Weighted if variant == "weighted" else LatentTraining
        training = kind(video.frames, config, decoder=decoder)
        for _ in range(config.steps):
            training.step()
        found = training.result()
    spent = time.process_time() - began

    def coded(frames: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        explained = found.explain(frames)
        if encoder is None:
            return explained.codes, explained.pictures
        now, then = frames[:, :-1].reshape(-1, *frames.shape[2:]), frames[:, 1:].reshape(-1, *frames.shape[2:])
        named = []
        with torch.inference_mode():
            for at in range(0, len(now), 512):
                both = [torch.from_numpy(x[at : at + 512]).permute(0, 3, 1, 2).float() / 127.5 - 1 for x in (now, then)]
                named.append(encoder(*both).argmax(1).numpy())
        chosen = np.concatenate(named)
        pictures: list[NDArray[np.uint8]] = []
        for clip in range(len(frames)):
            first = clip * (frames.shape[1] - 1)
            pictures.extend(
                found.decode(frames[clip : clip + 1, : at + 1])[0, chosen[first + at]]
                for at in range(frames.shape[1] - 1)
            )
        return chosen, np.stack(pictures)

    chosen, pictures = coded(test.frames)
    effective, moves = test.effective.ravel(), test.effective.ravel() > 0
    right = (find_agent(pictures)[0] == test.agent[:, 1:].reshape(-1, 2)).all(1)
    few = coded(video.frames[:64])[0]
    labelled = np.random.default_rng(seed).choice(len(few), LABELS, replace=False)
    named = ActionMap.fit(few[labelled], video.actions[:64].ravel()[labelled], config.codes, len(Action))
    return {
        "cases": len(chosen),
        "AMI": latent.adjusted_mutual_information(chosen, effective),
        "AMI labels": latent.adjusted_mutual_information(named.to_action[chosen], effective),
        "accuracy labels": float((named.to_action[chosen] == effective).mean()),
        "agent": float(right.mean()),
        "agent moves": float(right[moves].mean()),
        "gain": latent.code_gain(found.explain(video.frames[:64]).errors),
        "cpu": spent,
    }


def placed(model: Generator, rooms: int = 200, seed: int = 900) -> dict[str, NDArray[np.bool_]]:
    """Whether the agent is where it should be, (rooms, 16), told true and other actions; whether copying has it so."""
    here = Rooms(rooms, seed=heldout_seed(seed), settings=ANYWHERE)
    before = record(here, random_policy(seed), 3)
    truth = record(here, random_policy(seed + 1), 16)
    history = History(before.frames, before.actions)
    found = {"copy-last": (before.agent[:, -1:] == truth.agent[:, 1:]).all(2)}
    other = np.random.default_rng(seed).permuted(truth.actions, axis=0)
    for name, actions in (("model", truth.actions), ("noop", truth.actions * 0), ("shuffled", other)):
        made = model.imagine(history, actions=actions).frames
        cells = find_agent(made.reshape(-1, *made.shape[2:]))[0].reshape(rooms, -1, 2)
        found[name] = (cells == truth.agent[:, 1:]).all(2)
    return found


def one_step(model: Generator, rooms: int = 100, seed: int = 950) -> str:
    """All five true next frames of each room."""
    here = Rooms(rooms, seed=heldout_seed(seed), settings=ANYWHERE)
    before = record(here, random_policy(seed), 3)
    five, actions = here.repeat(5), np.tile(np.arange(5), rooms)
    truth = record(five, actions[:, None])
    history = History(before.frames.repeat(5, 0), before.actions.repeat(5, 0))
    made = model.imagine(history, actions=actions[:, None]).frames[:, 0]
    right = (find_agent(made)[0] == truth.agent[:, 1]).all(1)
    moved, asked = truth.moved[:, 0], actions > 0
    error = [np.square(x.astype(float) - truth.frames[:, 1]).mean((1, 2, 3)).mean() for x in (made, truth.frames[:, 0])]
    psnr = 10 * np.log10(255**2 / np.array(error))
    return (
        f"agent exact {right[moved].mean():.3f} of {moved.sum()} moves, {right[asked & ~moved].mean():.3f} of "
        f"{(asked & ~moved).sum()} blocked moves, {right[~asked].mean():.3f} of {(~asked).sum()} noops; PSNR "
        f"{psnr[0]:.1f} dB, copy-last {psnr[1]:.1f} dB"
    )


def auroc(positive: NDArray[np.bool_], score: NDArray[np.float32]) -> float:
    """Chance that a positive case has the larger score."""
    n = int(positive.sum())
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def rewards(model: RssmGenerator, rooms: int = 120, ahead: int = 8) -> dict[str, Any]:
    """AUROC of the reward so many imagined steps ahead, over starts in sticky, expert and random play."""
    play, _ = model.play(7, rooms, held_out=True)
    said: dict[str, list[NDArray[np.float32]]] = {"model": [], "shuffled actions": [], "noop": []}
    true = []
    rng = np.random.default_rng(0)
    for start in (0, 2, 4, 6, 9, 12, 16):
        # The coin must still be there: where it is taken no reward can follow, which is too easy.
        open_ = np.flatnonzero(play.goes_on[:, start + 3])
        history = History(play.frames[open_, start : start + 4], play.actions[open_, start : start + 3])
        actions = play.actions[open_, start + 3 : start + 3 + ahead]
        true.append(play.rewards[open_, start + 2 + ahead] > 0)
        for name, told in (
            ("model", actions),
            ("shuffled actions", rng.permuted(actions, axis=0)),
            ("noop", actions * 0),
        ):
            imagined = model.imagine(history, actions=told).rewards
            assert imagined is not None
            said[name].append(imagined[:, -1])
    positive = np.concatenate(true)
    scores = {name: auroc(positive, np.concatenate(each)) for name, each in said.items()}
    return {"cases": len(positive), "positive": int(positive.sum()), **scores}


def pictures(folder: Path, seed: int = 0) -> None:
    """Heatmap of codes and actions, one code in six rooms, imagined roll-outs."""
    import cv2

    def enlarged(rows: NDArray[np.uint8], by: int = 4) -> NDArray[np.uint8]:
        """(rows, columns, h, w, 3) side by side with a gap."""
        padded = np.pad(rows.repeat(by, 2).repeat(by, 3), ((0, 0), (0, 0), (2, 2), (2, 2), (0, 0)), constant_values=255)
        r, c, h, w, _ = padded.shape
        return padded.transpose(0, 2, 1, 3, 4).reshape(r * h, c * w, 3)

    def write(name: str, picture: NDArray[np.uint8]) -> None:
        cv2.imwrite(str(folder / name), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])

    video = record(Rooms(512, seed=training_seed(1000), settings=ANYWHERE), random_policy(seed), 31)
    found = latent.train_latent(video.frames, LatentConfig(seed=seed, steps=350))
    test = record(Rooms(64, seed=heldout_seed(1000), settings=ANYWHERE), random_policy(1), 31)
    table = np.zeros((len(Action), found.config.codes), np.int64)
    np.add.at(table, (test.effective.ravel(), found.codes(test.frames).ravel()), 1)
    share = table / table.sum(1, keepdims=True)
    cell, left = 56, 90
    heat = np.full((cell * (len(table) + 1), left + cell * table.shape[1], 3), 255, np.uint8)
    for i, action in enumerate(Action):
        cv2.putText(heat, action.name.lower(), (4, cell * (i + 1) + 34), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1)
        for j in range(table.shape[1]):
            x, y = left + cell * j, cell * (i + 1)
            shade = (np.array((255, 255, 255)) * (1 - share[i, j]) + np.array((30, 80, 160)) * share[i, j]).tolist()
            cv2.rectangle(heat, (x + 1, y + 1), (x + cell - 2, y + cell - 2), shade, -1)
            ink = (255, 255, 255) if share[i, j] > 0.5 else (90, 90, 90)
            cv2.putText(heat, str(table[i, j]), (x + 12, y + 34), cv2.FONT_HERSHEY_SIMPLEX, 0.45, ink, 1)
    for j in range(table.shape[1]):
        cv2.putText(heat, f"code {j}", (left + cell * j + 4, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1)
    write("latent-codes.png", heat)
    six = test.frames[:6, :2]
    write("latent-rooms.png", enlarged(np.concatenate([six[:, 1:], found.decode(six)], 1).transpose(1, 0, 2, 3, 4)))
    for name, kind in (("rssm", RssmGenerator), ("dit-latent", DitLatent)):
        model = kind.open()
        here = Rooms(3, seed=heldout_seed(31), settings=ANYWHERE)
        before = record(here, random_policy(2), 3)
        truth = record(here, random_policy(3), 16)
        made = model.imagine(History(before.frames, before.actions), actions=truth.actions).frames
        steps = [0, 1, 2, 3, 5, 7, 9, 11, 13, 15]
        rows = np.stack([x for n in range(3) for x in (truth.frames[n, 1:][steps], made[n][steps])])
        write(f"{name}-rollouts.png", enlarged(rows, 2))


def main() -> None:
    """See the module."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["codes", "generator", "rssm", "pictures"])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs"))
    parser.add_argument("--variant", default="all-codes", choices=["all-codes", "shift", "gumbel", "weighted"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--stay", type=float, default=0.0, help="probability that a player keeps the action")
    parser.add_argument("--codes", type=int, default=6)
    parser.add_argument("--past", type=int, default=2)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--checkpoint", type=Path)
    given = parser.parse_args()
    if given.what == "pictures":
        pictures(given.folder)
        return
    if given.what == "codes":
        config = LatentConfig(codes=given.codes, past_frames=given.past, steps=given.steps)
        rows = []
        for seed in given.seeds:
            rows.append(codes(given.variant, seed, given.stay, config))
            print(f"seed {seed}:", ", ".join(f"{k} {v:.3f}" for k, v in rows[-1].items()), flush=True)
        if len(rows) > 1:
            for key in rows[0]:
                values = [row[key] for row in rows]
                print(f"{key}: mean {np.mean(values):.3f}, least {min(values):.3f}")
        return
    model = (DitLatent if given.what == "generator" else RssmGenerator).open(given.checkpoint)
    print(dict(model.notes))
    print("one step:", one_step(model))
    for name, right in placed(model).items():
        shares = "  ".join(f"@{h} {right[:, h - 1].mean():.3f}" for h in HORIZONS)
        print(f"agent exact, {name}: {shares}  ({len(right)} rooms)")
    if isinstance(model, RssmGenerator):
        print("reward 8 imagined steps ahead, AUROC:", rewards(model))


if __name__ == "__main__":
    main()
