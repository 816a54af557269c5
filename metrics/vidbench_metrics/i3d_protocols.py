"""The choices behind published FVD numbers, by name, and what must be said of two sets before they are compared.

Every paper's FVD means something else; numbers under two protocols can't be compared. Facts were read in the sources
named with each protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vidbench.errors import InputError
from vidbench.metric import ExtractorSpec
from vidbench_metrics import set_facts
from vidbench_metrics.i3d_network import CLASSES, MIN_FRAMES, SIDE
from vidbench_metrics.set_facts import SetFacts


@dataclass(frozen=True, slots=True)
class Protocol:
    """One set of choices."""

    epsilon: float
    """Of the network's batch norms."""
    ddof: int
    """What is taken from n in the covariance."""
    resize: str
    """To 224x224; see `extractors.resize`."""
    start: str
    """Which window of a clip that is longer than one."""
    clips: int
    """Clips a set that the source uses; 0 where it names no number."""
    source: str
    native_size: bool = False
    """Whether the source takes frames of 224x224 only."""


DEFAULT = "stylegan-v"
PROTOCOLS = {
    "stylegan-v": Protocol(
        1e-3, 0, "squash", "random", 2048, "universome/stylegan-v 3fecd69c src/metrics/frechet_video_distance.py"
    ),
    "tf": Protocol(
        1e-3, 1, "squash_tf1", "first", 0, "google-research/google-research 00907287 frechet_video_distance.py"
    ),
    "videogpt": Protocol(1e-5, 1, "crop", "first", 256, "wilson1yan/VideoGPT 733d2b15 videogpt/fvd/fvd.py"),
    "cd-fvd": Protocol(1e-5, 0, "squash", "random", 2048, "songweige/content-debiased-fvd a1e037ab (I3D)"),
    "fvd-comparison": Protocol(1e-3, 1, "squash", "first", 0, "universome/fvd-comparison 33a5552c", native_size=True),
}
DESCRIBED = (
    "a named protocol (--set METRIC.protocol=NAME). All: windows of 16 consecutive frames, 2x / 255 - 1, 400 logits of "
    "I3D, bilinear without antialiasing, float64 statistics. "
    "stylegan-v (meant where nothing is said): epsilon 1e-3, covariance over n, squash to 224, one window at random, "
    "2048 clips. "
    "tf: epsilon 1e-3, n - 1, squash to 224 by TensorFlow 1's legacy bilinear, first window. "
    "videogpt: epsilon 1e-5, n - 1, shorter side to 224 and centre crop, first window, 256 clips. "
    "cd-fvd: epsilon 1e-5, n, squash to 224, one window at random, 2048 clips; resolution=R does what its loader does "
    "before. "
    "fvd-comparison: epsilon 1e-3, n - 1, frames of 224x224, first window. "
    "The random window is drawn from the clip's own content, on both sides alike; a clip of exactly one window gives "
    "that window under every protocol"
)


@dataclass(frozen=True)
class ProtocolParameters:
    """Which protocol, and what it leaves open."""

    protocol: str = DEFAULT
    """A name in `PROTOCOLS`."""
    frames: int = 16
    """Length of the windows; shorter clips are unscored."""
    start: str = ""
    """`first`, `random` or `all` windows of a clip; empty for the protocol's choice."""
    resolution: int = 0
    """For cd-fvd: the size to which its loader brings the clips first; 0 takes them as they are."""
    backend: str = "checkpoint"
    """`checkpoint` or `torchscript`: which weight file holds the network."""
    seed: int = 0
    """Of random windows."""

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise InputError(f"there is no protocol '{self.protocol}'; there are: {', '.join(PROTOCOLS)}")
        if self.frames < MIN_FRAMES:
            raise InputError(f"frames must be at least {MIN_FRAMES}, the least that I3D takes; got {self.frames}")
        if self.resolution and self.protocol != "cd-fvd":
            raise InputError(f"resolution belongs to the protocol cd-fvd; {self.protocol} has no such step")
        if self.backend == "torchscript" and self.facts.epsilon != PROTOCOLS["stylegan-v"].epsilon:
            raise InputError(
                f"the torchscript network has the epsilon of tf and stylegan-v, not that of {self.protocol}; "
                "leave backend at checkpoint"
            )
        if self.start not in ("", "first", "random", "all"):
            raise InputError(f"start must be first, random or all, got '{self.start}'")

    @property
    def facts(self) -> Protocol:
        """The protocol's choices."""
        return PROTOCOLS[self.protocol]

    def extractor(self) -> ExtractorSpec:
        """I3D with these choices."""
        values: dict[str, Any] = {
            "backend": self.backend,
            "epsilon": self.facts.epsilon,
            "resize": self.facts.resize,
            "resolution": self.resolution,
            "frames": self.frames,
            "start": self.start or self.facts.start,
            "seed": self.seed,
        }
        return ExtractorSpec("i3d", values)


def caution(
    generated: SetFacts, reference: SetFacts, rows: tuple[int, int], parameters: ProtocolParameters
) -> str | None:
    """`set_facts.caution` for I3D's logits, and where a protocol is for frames of one size, whether they have it."""
    native = str(SIDE), str(SIDE)
    other_size = any((str(s.width), str(s.height)) != native for s in (generated, reference))
    squashed = f"{parameters.protocol} is defined for frames of {SIDE}x{SIDE}; others were squashed to that"
    more = [squashed] if parameters.facts.native_size and other_size else []
    return set_facts.caution(generated, reference, rows, CLASSES, more=more)


def remark(generated: SetFacts, reference: SetFacts, parameters: ProtocolParameters) -> str | None:
    """What the protocol's source uses and this value had instead; None where they agree."""
    wanted = parameters.facts.clips
    differs = [f"windows of {parameters.frames} frames instead of 16"] if parameters.frames != 16 else []
    if wanted and (generated.clips, reference.clips) != (wanted, wanted):
        differs.append(f"{generated.clips} and {reference.clips} clips instead of {wanted} a set")
    if parameters.start not in ("", parameters.facts.start):
        differs.append(f"windows from '{parameters.start}' instead of '{parameters.facts.start}'")
    return f"protocol {parameters.protocol} with {', '.join(differs)}" if differs else None
