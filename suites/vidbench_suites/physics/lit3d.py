"""The look `lit3d`: simulated and rendered by MuJoCo, with a textured floor, shadows and perspective.

The engine runs the scene once for each twin; then poses are replayed, so that shadows and reflections follow whatever
was done to a body. Contacts are damped springs, stiff enough (400 rad/s at half a millisecond a step) that the share of
the speed that a bounce keeps was measured within 0.03 of exp(-pi z / sqrt(1 - z^2)) for damping ratios z up to 0.2.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidbench.errors import InputError, MissingExtraError
from vidbench_suites.physics.world import (
    GRAVITY,
    Floats,
    Intervention,
    Ints,
    Scene,
    Shape,
    Skin,
    Take,
    Trajectory,
    quaternion,
)

SUBSTEPS = 2
_STIFFNESS = 400.0
_FLOOR = 1 << 8
_SLABS = 16
_AWAY = -90.0
"""Height in metres at which bodies are kept that are not to be seen."""


def engine() -> Any:
    """The module mujoco, told how to reach OpenGL without a display.

    Raises:
        MissingExtraError: it is not installed.
    """
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        return importlib.import_module("mujoco")
    except ImportError:
        raise MissingExtraError("the look lit3d", "physics") from None


def check(backgrounds: Path | None = None) -> None:
    """Find out whether MuJoCo can draw here.

    Raises:
        MissingExtraError: it is not installed.
        InputError: there is no OpenGL.
    """
    mujoco = engine()
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
    try:
        mujoco.Renderer(model, 16, 16).close()
    except Exception as error:  # what is raised depends on the OpenGL library that is missing
        raise InputError(
            f"MuJoCo cannot draw here ({type(error).__name__}: {error}); install libegl1 or libosmesa6 and set "
            "MUJOCO_GL to egl or osmesa, or leave out the look lit3d"
        ) from None


class Eye:
    """Camera geometry and label pictures."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def mark(self, take: Take, frame: int) -> bytes:
        """Nothing else."""
        return b""

    def labels(self, take: Take, frame: int, moment: int) -> Ints:
        """MuJoCo's own segmentation, geoms turned into body numbers."""
        stage = self.stage
        stage.pose(take, frame, moment)
        renderer = stage.renderer()
        renderer.enable_segmentation_rendering()
        try:
            stage.shadows(False)
            renderer.update_scene(stage.data, camera=0)
            found = renderer.render()
        finally:
            renderer.disable_segmentation_rendering()
            stage.shadows(True)
        geoms = np.where(found[..., 1] == int(stage.mujoco.mjtObj.mjOBJ_GEOM), found[..., 0], -1)
        return np.asarray(stage.body_of_geom[geoms], np.int64)

    def outline(self, take: Take, frame: int, body: int, moment: int) -> Floats:
        """Projected points of the surface."""
        scene = self.stage.scene
        place, turn = take.pose(scene, frame, body, moment)
        points = take.shape(scene, frame, body).surface() @ rotation(turn).T + place
        return self.stage.project(take.path[frame], points)


class Stage:
    """Simulates and draws the takes of one scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.mujoco = engine()
        self.rng = np.random.default_rng([scene.seed, 1])
        self.multisample = 4 if self.rng.random() < 0.2 else 0
        xml, assets = _Builder(scene, self.rng, self.multisample).build()
        self.model = self.mujoco.MjModel.from_xml_string(xml, assets)
        self.data = self.mujoco.MjData(self.model)
        self.eye = Eye(self)
        self._renderer: Any = None
        self._known: dict[tuple[bytes, int], NDArray[np.uint8]] = {}
        count = len(scene.bodies)
        self.geom = [self.model.geom(f"g{n}").id for n in range(count)]
        self.other = [self._id("geom", f"o{n}") for n in range(count)]
        self.mocap = [self._mocap(n) for n in range(count)]
        # One entry more than there are geoms: index -1 is the background.
        self.body_of_geom = np.full(self.model.ngeom + 1, -1)
        for number in range(count):
            self.body_of_geom[self.geom[number]] = number
            if self.other[number] >= 0:
                self.body_of_geom[self.other[number]] = number
        self.number_of = {geom: number for number, geom in enumerate(self.geom)}
        self.static_of = {self._id("geom", "floor"): -1} | {
            self._id("geom", f"s{n}"): n for n, slab in enumerate(scene.slabs) if slab.solid
        }
        self.colours = self.model.geom_rgba.copy()
        self.qpos = [int(self.model.jnt_qposadr[self.model.joint(f"j{n}").id]) for n in range(count)]
        self.qvel = [int(self.model.jnt_dofadr[self.model.joint(f"j{n}").id]) for n in range(count)]

    def _id(self, kind: str, name: str) -> int:
        return int(self.mujoco.mj_name2id(self.model, getattr(self.mujoco.mjtObj, f"mjOBJ_{kind.upper()}"), name))

    def _mocap(self, number: int) -> int:
        body = self._id("body", f"ob{number}")
        return int(self.model.body_mocapid[body]) if body >= 0 else -1

    def renderer(self) -> Any:
        """The OpenGL context, made when it is first needed."""
        if self._renderer is None:
            self._renderer = self.mujoco.Renderer(self.model, self.scene.height, self.scene.width)
        return self._renderer

    def shadows(self, on: bool) -> None:
        """Label pictures need none."""
        self.renderer().scene.flags[self.mujoco.mjtRndFlag.mjRND_SHADOW] = on

    def close(self) -> None:
        """Give the OpenGL context back."""
        self._known.clear()
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def simulate(self, interventions: tuple[Intervention, ...] = ()) -> Trajectory:
        """Run the scene's physics from time 0; interventions change nothing before their step."""
        # Ghosts clear collision bits of the model for good, so every run starts from the same ones.
        contype = self.model.geom_contype.copy()
        try:
            return self._run(sorted(interventions, key=lambda one: one.step))
        finally:
            self.model.geom_contype[:] = contype

    def _run(self, todo: list[Intervention]) -> Trajectory:
        mujoco, model, data, scene = self.mujoco, self.model, self.data, self.scene
        mujoco.mj_resetData(model, data)
        count, bodies = scene.world_frames * scene.steps, len(scene.bodies)
        for number, body in enumerate(scene.bodies):
            at, speed = self.qpos[number], self.qvel[number]
            data.qpos[at : at + 3], data.qpos[at + 3 : at + 7] = body.place, quaternion(body.angle)
            data.qvel[speed : speed + 3] = body.velocity
            data.qvel[speed + 4] = body.spin
        place, turn = np.zeros((count, bodies, 3)), np.zeros((count, bodies, 4))
        touch, hits = np.zeros((count, bodies), bool), []
        factor = np.ones(bodies)
        held: set[int] = set()
        gains: dict[int, list[float]] = {}
        falling = np.zeros(bodies)
        before: list[set[int]] = [set() for _ in range(bodies)]
        ids = [int(model.geom_bodyid[geom]) for geom in self.geom]
        weight = np.array([model.body_mass[one] for one in ids]) * GRAVITY
        drag = np.array([body.drag for body in scene.bodies])
        dt = model.opt.timestep
        for step in range(count):
            while todo and todo[0].step <= step:
                self._intervene(todo.pop(0), factor, held, gains, before)
            for number in range(bodies):
                at = self.qpos[number]
                place[step, number], turn[step, number] = data.qpos[at : at + 3], data.qpos[at + 3 : at + 7]
            for _ in range(SUBSTEPS):
                for number in range(bodies):
                    data.xfrc_applied[ids[number], 2] = weight[number] * (1 - factor[number])
                    speed = self.qvel[number]
                    if number in held:
                        data.qvel[speed : speed + 6] = 0
                    elif drag[number] and before[number]:
                        data.qvel[speed : speed + 6] *= max(0.0, 1 - drag[number] * dt)
                mujoco.mj_step(model, data)
                found = self._touched()
                for number in range(bodies):
                    if found[number] and step + 1 < count:
                        touch[step + 1, number] = True
                    hits += [(step + 1, number, other) for other in sorted(found[number] - before[number])]
                    self._gain(number, found[number], falling, gains)
                before = found
        return Trajectory(place, turn, touch, hits)

    def _touched(self) -> list[set[int]]:
        """What each body is in contact with, as in `Trajectory.hits`."""
        found: list[set[int]] = [set() for _ in self.geom]
        for first, second in self.data.contact.geom[: self.data.ncon]:
            for one, two in ((int(first), int(second)), (int(second), int(first))):
                if one in self.number_of:
                    found[self.number_of[one]].add(self.static_of.get(two, 100 + self.number_of.get(two, 0)))
        return found

    def _gain(self, number: int, found: set[int], falling: Floats, gains: dict[int, list[float]]) -> None:
        speed = self.qvel[number] + 2
        now = float(self.data.qvel[speed])
        if not found and now < 0:
            falling[number] = -now
        elif not found and now > 0:
            if number in gains and falling[number] > 0.3 and gains[number][1] > 0:
                self.data.qvel[speed] = gains[number][0] * falling[number]
                gains[number][1] -= 1
            falling[number] = 0.0

    def _intervene(
        self, what: Intervention, factor: Floats, held: set[int], gains: dict[int, list[float]], before: list[set[int]]
    ) -> None:
        data, body, values = self.data, what.body, what.values
        at, speed = self.qpos[body], self.qvel[body]
        if what.act == "velocity":
            data.qvel[speed], data.qvel[speed + 2] = values
            shape = self.scene.bodies[body].shape
            if shape.round and before[body]:
                data.qvel[speed + 3 : speed + 6] = self._spin(at, values[0] / shape.half[0])
        elif what.act == "shift":
            data.qpos[at] += values[0]
            data.qpos[at + 2] += values[1]
        elif what.act == "gravity":
            factor[body] = values[0]
            held.discard(body)
        elif what.act == "hold":
            factor[body] = 0.0
            held.add(body)
            data.qvel[speed : speed + 6] = 0
        elif what.act == "ghost":
            gone = _FLOOR if values[0] < 0 else 1 << (_SLABS + int(values[0]))
            self.model.geom_contype[self.geom[body]] &= ~gone
        elif what.act == "gain":
            gains[body] = [values[0], values[1]]
        else:
            raise ValueError(f"unknown intervention {what.act}")

    def _spin(self, at: int, about_y: float) -> Floats:
        """Angular velocity in the body's own axes (as MuJoCo has it) of a turn about the world's y axis."""
        return np.asarray(rotation(self.data.qpos[at + 3 : at + 7]).T @ np.array([0.0, about_y, 0.0]))

    def camera(self, row: Floats) -> tuple[Floats, Floats, float]:
        """Place (3,), axes (3, 3) with columns right, up, backward, and vertical field of view in degrees."""
        scene = self.scene
        azimuth, elevation, lens, roll = (*scene.camera,)
        azimuth, elevation = math.radians(azimuth + float(row[4])), math.radians(elevation)
        middle = scene.view * scene.height / scene.width * (0.5 - scene.margin)
        room = 1.0 if scene.camera[0] == 0 else 1.12
        distance = room * scene.view * scene.height / scene.width / 2 / math.tan(math.radians(lens) / 2)
        backward = np.array(
            [math.sin(azimuth) * math.cos(elevation), -math.cos(azimuth) * math.cos(elevation), math.sin(elevation)]
        )
        place = np.array([0.0, 0.0, middle]) + distance * backward
        right = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
        axes = np.stack([right, np.cross(backward, right), backward], 1)
        focal = scene.height / 2 / math.tan(math.radians(lens) / 2)
        # The picture moves right when the camera looks left.
        yaw, pitch = math.atan(float(row[0]) * scene.width / focal), math.atan(float(row[1]) * scene.width / focal)
        axes = axes @ _about(1, yaw) @ _about(0, pitch) @ _about(2, math.radians(roll) + float(row[3]))
        view = 2 * math.degrees(math.atan(math.tan(math.radians(lens) / 2) / float(row[2])))
        return place, axes, view

    def project(self, row: Floats, points: Floats) -> Floats:
        """(P, 2) pixels of (P, 3) points in metres."""
        place, axes, view = self.camera(row)
        local = (points - place) @ axes
        focal = self.scene.height / 2 / math.tan(math.radians(view) / 2)
        depth = np.maximum(-local[:, 2], 1e-3)
        x = self.scene.width / 2 + focal * local[:, 0] / depth
        return np.stack([x, self.scene.height / 2 - focal * local[:, 1] / depth], 1)

    def pose(self, take: Take, frame: int, moment: int) -> None:
        """Put bodies and camera where the take has them."""
        mujoco, model, data, scene = self.mujoco, self.model, self.data, self.scene
        model.geom_rgba[:] = self.colours
        for number in range(len(scene.bodies)):
            at, mocap = self.qpos[number], self.mocap[number]
            place, turn = take.pose(scene, frame, number, moment)
            shown, swapped = bool(take.visible[frame, number]), bool(take.swapped[frame, number]) and mocap >= 0
            data.qpos[at : at + 3] = place if shown and not swapped else (0.0, 0.0, _AWAY - 3 * number)
            data.qpos[at + 3 : at + 7] = turn
            if mocap >= 0:
                data.mocap_pos[mocap] = place if shown and swapped else (0.0, 0.0, 2 * _AWAY - 3 * number)
                data.mocap_quat[mocap] = turn
            for geom in (self.geom[number], self.other[number]):
                if geom >= 0:
                    model.geom_rgba[geom, :3] = self.colours[geom, :3] * take.tint[frame, number]
        place, axes, view = self.camera(take.path[frame])
        model.cam_pos[0], model.cam_fovy[0] = place, view
        mujoco.mju_mat2Quat(model.cam_quat[0], axes.flatten())
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)

    def render(self, take: Take) -> Iterator[NDArray[np.uint8]]:
        """(H, W, 3) uint8 RGB, frame by frame."""
        for frame in take.repeat:
            yield self.picture(take, int(frame))

    def picture(self, take: Take, frame: int) -> NDArray[np.uint8]:
        """One frame with noise and all."""
        key = take.key(self.scene, frame), frame
        if key not in self._known:
            self._known[key] = self._draw(take, frame)
        return self._known[key]

    def _draw(self, take: Take, frame: int) -> NDArray[np.uint8]:
        import cv2

        scene, renderer = self.scene, self.renderer()
        moments = [int(moment) for moment in take.moments(scene, frame)]
        light = np.zeros((scene.height, scene.width, 3), np.float32)
        for moment in moments:
            self.pose(take, frame, moment)
            renderer.update_scene(self.data, camera=0)
            light += renderer.render()
        light *= (take.gain[frame] / len(moments)).astype(np.float32)
        if scene.defocus:
            light = np.asarray(cv2.blur(cv2.GaussianBlur(light, (0, 0), scene.defocus), (1, 1)), np.float32)
        if scene.noise:
            # Photon noise: brighter pixels have more of it.
            rng = np.random.default_rng([scene.seed, 2, frame])
            strength = scene.noise * np.sqrt(0.35 + light.mean(axis=2, keepdims=True) / 128)
            light = light + strength.astype(np.float32) * rng.standard_normal(light.shape, dtype=np.float32)
        return np.asarray(np.clip(light + 0.5, 0, 255), np.uint8)


def rotation(turn: Floats) -> Floats:
    """(3, 3) matrix of a quaternion w, x, y, z."""
    w, x, y, z = turn
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _about(axis: int, angle: float) -> Floats:
    cosine, sine = math.cos(angle), math.sin(angle)
    matrix = np.eye(3)
    one, two = [number for number in range(3) if number != axis]
    matrix[one, one] = matrix[two, two] = cosine
    matrix[one, two], matrix[two, one] = (-sine, sine) if axis != 1 else (sine, -sine)
    return matrix


class _Builder:
    """MJCF of a scene, with its textures as PNG in memory."""

    def __init__(self, scene: Scene, rng: np.random.Generator, multisample: int) -> None:
        self.scene = scene
        self.rng = rng
        self.multisample = multisample
        self.assets: dict[str, bytes] = {}
        self.lines: list[str] = []

    def build(self) -> tuple[str, dict[str, bytes]]:
        """The model's XML and its files."""
        scene, rng = self.scene, self.rng
        view = scene.view
        world = [self._floor(), *self._back(), *self._lights()]
        world += [self._slab(number) for number in range(len(scene.slabs))]
        for number, body in enumerate(scene.bodies):
            world.append(self._body(number))
            if body.other is not None or body.other_skin is not None:
                world.append(self._other(number))
        haze, sky = rng.uniform(0.3, 0.9, 3), rng.uniform(0.2, 0.9, (2, 3))
        self.lines.append(
            f"<texture name='sky' type='skybox' builtin='gradient' rgb1='{_text(sky[0])}' rgb2='{_text(sky[1])}' "
            "width='64' height='384'/>"
        )
        timestep = scene.step / SUBSTEPS
        return (
            f"<mujoco><option timestep='{timestep!r}' gravity='0 0 {-GRAVITY}' integrator='Euler'/>"
            "<size memory='24M'/>"
            f"<statistic center='0 0 {scene.tall / 2!r}' extent='{1.6 * view!r}'/>"
            f"<visual><quality shadowsize='{int(rng.choice([512, 1024]))}' offsamples='{self.multisample}'/>"
            f"<global offwidth='{scene.width}' offheight='{scene.height}'/>"
            f"<map znear='0.01' zfar='60' shadowclip='1.2' haze='0.3'/><rgba haze='{_text(haze)} 1'/>"
            f"<headlight ambient='{_text(np.full(3, rng.uniform(0.2, 0.45)))}' "
            f"diffuse='{_text(np.full(3, rng.uniform(0.15, 0.5)))}' specular='0 0 0'/></visual>"
            f"<asset>{''.join(self.lines)}</asset><worldbody>{''.join(world)}"
            "<camera name='eye' pos='0 -1 0' mode='fixed'/></worldbody></mujoco>",
            self.assets,
        )

    def _lights(self) -> list[str]:
        rng, view = self.rng, self.scene.view
        lights = []
        for number in range(int(rng.choice([1, 1, 2]))):
            place = np.array([rng.uniform(-1, 1), rng.uniform(-1.2, 0.4), rng.uniform(1.2, 2.2)]) * view
            aim = np.array([0.0, 0.0, 0.2 * view]) - place
            strong = rng.uniform(0.45, 0.8) * (1.0 if number == 0 else 0.4)
            lights.append(
                f"<light pos='{_text(place)}' dir='{_text(aim / np.linalg.norm(aim))}' type='directional' "
                f"castshadow='{'true' if number == 0 else 'false'}' "
                f"diffuse='{_text(strong * rng.uniform(0.9, 1.0, 3))}' "
                f"specular='{_text(np.full(3, rng.uniform(0, 0.4)))}'/>"
            )
        return lights

    def _floor(self) -> str:
        rng, view = self.rng, self.scene.view
        self._texture("floor", "2d", _marble(rng, self._mains()))
        repeat = rng.uniform(0.4, 1.6) / view
        shine = rng.choice([0.0, 0.0, rng.uniform(0.05, 0.2)])
        self.lines.append(
            f"<material name='floor' texture='floor' texrepeat='{repeat!r} {repeat!r}' texuniform='true' "
            f"reflectance='{float(shine)!r}' specular='0.1'/>"
        )
        size = 12 * view
        return (
            f"<geom name='floor' type='plane' size='{size!r} {size!r} 1' material='floor' contype='0' "
            f"conaffinity='{_FLOOR}' friction='1 0.005 0.0001'/>"
        )

    def _back(self) -> list[str]:
        rng, scene = self.rng, self.scene
        if rng.random() < 0.35:
            return []
        deepest = max(body.place[1] + body.shape.reach for body in scene.bodies)
        self._texture("back", "2d", _marble(rng, self._mains()))
        repeat = rng.uniform(0.4, 1.4) / scene.view
        self.lines.append(
            f"<material name='back' texture='back' texrepeat='{repeat!r} {repeat!r}' texuniform='true' specular='0'/>"
        )
        away = deepest + rng.uniform(0.4, 1.5) * scene.view
        return [
            f"<geom name='back' type='box' pos='0 {away!r} 0' size='{8 * scene.view!r} 0.02 {6 * scene.view!r}' "
            "material='back' contype='0' conaffinity='0'/>"
        ]

    def _mains(self) -> Floats:
        skins = [skin for body in self.scene.bodies for skin in (body.skin, body.other_skin) if skin is not None]
        return np.array([skin.colours[0] for skin in skins], np.float64)

    def _slab(self, number: int) -> str:
        slab = self.scene.slabs[number]
        self._material(f"s{number}", slab.skin, plain=0.5)
        bits = 1 << (_SLABS + number) if slab.solid else 0
        return (
            f"<geom name='s{number}' type='box' pos='{_text(slab.centre)}' size='{_text(slab.half)}' "
            f"material='s{number}' contype='0' conaffinity='{bits}' friction='1 0.005 0.0001'/>"
        )

    def _body(self, number: int) -> str:
        body = self.scene.bodies[number]
        self._material(f"b{number}", body.skin)
        lane = 1 << body.lane
        bits = lane | _FLOOR
        if body.lane == 0:
            bits |= sum(1 << (_SLABS + n) for n, slab in enumerate(self.scene.slabs) if slab.solid)
        bounce = min(max(body.restitution, 0.05), 0.97)
        damping = -math.log(bounce) / math.hypot(math.pi, math.log(bounce))
        reference = f"{-(_STIFFNESS**2)!r} {-2 * damping * _STIFFNESS!r}"
        return (
            f"<body name='b{number}' pos='0 0 {number!r}'><freejoint name='j{number}'/>"
            f"<geom name='g{number}' {self._geom(body.shape, f'g{number}')} material='b{number}' density='500' "
            f"priority='1' contype='{bits}' conaffinity='{lane}' condim='3' friction='{body.friction!r} 0.005 0.0001' "
            f"solref='{reference}' solimp='0.99 0.99 0.001'/></body>"
        )

    def _other(self, number: int) -> str:
        body = self.scene.bodies[number]
        self._material(f"o{number}", body.other_skin or body.skin)
        return (
            f"<body name='ob{number}' mocap='true' pos='0 0 {2 * _AWAY!r}'><geom name='o{number}' "
            f"{self._geom(body.other or body.shape, f'o{number}')} material='o{number}' contype='0' "
            "conaffinity='0'/></body>"
        )

    def _geom(self, shape: Shape, name: str) -> str:
        a, b, c = shape.half
        if shape.kind == "sphere":
            return f"type='sphere' size='{a!r}'"
        if shape.kind == "capsule":  # MuJoCo's lies along z
            return f"type='capsule' fromto='{c - a!r} 0 0 {a - c!r} 0 0' size='{c!r}'"
        if shape.kind == "polygon":
            vertices = " ".join(_text(point) for point in shape.surface())
            # MuJoCo moves a mesh's origin to its centre of mass, which a regular prism has at 0 anyway.
            self.lines.append(f"<mesh name='{name}' vertex='{vertices}'/>")
            return f"type='mesh' mesh='{name}'"
        return f"type='{shape.kind}' size='{a!r} {b!r} {c!r}'"

    def _material(self, name: str, skin: Skin, plain: float = 0.0) -> None:
        rng = np.random.default_rng(skin.seed)
        shine = float(rng.choice([0.0, 0.2, 0.6]))
        picture = _decor(skin, rng)
        if plain and rng.random() < plain:
            picture[:] = skin.colours[0]
        self._texture(name, "cube", picture)
        self.lines.append(
            f"<material name='{name}' texture='{name}' specular='{shine!r}' shininess='0.5' texuniform='false'/>"
        )

    def _texture(self, name: str, kind: str, picture: NDArray[np.uint8]) -> None:
        import cv2

        done, data = cv2.imencode(".png", picture[..., ::-1])
        if not done:
            raise RuntimeError("a texture could not be coded")
        self.assets[f"{name}.png"] = data.tobytes()
        self.lines.append(f"<texture name='{name}' type='{kind}' file='{name}.png'/>")


def _text(numbers: Any) -> str:
    return " ".join(repr(float(number)) for number in numbers)


def _decor(skin: Skin, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(64, 64, 3) tile that covers each side of a body's cube map."""
    import cv2

    colours = [tuple(int(part) for part in colour) for colour in skin.colours]
    tile = np.empty((64, 64, 3), np.uint8)
    tile[:] = colours[0]
    step = max(6, round(64 * skin.scale / 2))
    if skin.pattern == "stripes":
        for left in range(0, 64, 2 * step):
            cv2.rectangle(tile, (left, 0), (left + step - 1, 63), colours[1], -1)
    elif skin.pattern == "halves":
        cv2.fillPoly(tile, [np.array([(0, 0), (63, 0), (0, 63)])], colours[1])
    elif skin.pattern == "spots":
        for number in range(6):
            place = int(rng.integers(4, 60)), int(rng.integers(4, 60))
            cv2.circle(tile, place, int(rng.integers(5, 11)), colours[1 + number % 2], -1)
    elif skin.pattern == "checker":
        for row in range(0, 64, step):
            for column in range(row // step % 2 * step, 64, 2 * step):
                cv2.rectangle(tile, (column, row), (column + step - 1, row + step - 1), colours[1], -1)
    elif skin.pattern == "rings":
        for number, radius in enumerate(range(36, 2, -max(4, step // 2))):
            cv2.circle(tile, (32, 32), radius, colours[number % 3], -1)
    elif skin.pattern == "grain":
        field = cv2.resize(rng.uniform(0.5, 1.3, (12, 12)).astype(np.float32), (64, 64))
        return np.asarray(np.clip(tile * np.asarray(field)[..., None], 0, 255), np.uint8)
    return tile


def _marble(rng: np.random.Generator, mains: Floats) -> NDArray[np.uint8]:
    """(256, 256, 3) texture for floor and wall: boards, tiles, marble or plain, of a colour that no body has."""
    import cv2

    for least in np.linspace(150, 30, 30):
        base = rng.uniform(45, 220) + rng.uniform(-28, 28, 3)
        if np.abs(mains - base).sum(axis=1).min() > least:
            break
    share = np.zeros((256, 256), np.float32)
    kind = rng.choice(["boards", "tiles", "marble", "marble", "plain"])
    if kind == "boards":
        width = int(rng.choice([16, 32, 64]))
        share += np.repeat(rng.uniform(-1, 1, 256 // width), width)[None]
        share += np.asarray(cv2.resize(rng.normal(0, 0.5, (4, 128)).astype(np.float32), (256, 256)))
    elif kind == "tiles":
        width = int(rng.choice([32, 64, 128]))
        cells = rng.uniform(-1, 1, (256 // width, 256 // width))
        if rng.random() < 0.5:
            cells = np.indices(cells.shape).sum(axis=0) % 2 * 2.0 - 1
        share += np.kron(cells, np.ones((width, width)))
    elif kind == "marble":
        for side in (4, 9, 21, 50):
            clouds = np.asarray(cv2.resize(rng.normal(0, 1, (side, side)).astype(np.float32), (256, 256)), np.float32)
            share += clouds / np.float32(side**0.4)
    share += rng.normal(0, 0.15, share.shape).astype(np.float32)
    colour = rng.uniform(8, 26) * (1 + rng.uniform(-0.3, 0.3, 3))
    return np.clip(base + share[..., None] * colour, 5, 250).astype(np.uint8)
