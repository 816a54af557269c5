"""Simulation in the plane with pymunk (Chipmunk), for the looks without depth. Draws nothing.

Each lane is a world of its own: collision filters keep bodies of different lanes apart, slabs stop lane 0 only and the
floor stops all. Rolling resistance, which Chipmunk has not, takes a share of the speed while a body touches something.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from vidbench.errors import MissingExtraError
from vidbench_suites.physics.world import GRAVITY, Intervention, Scene, Trajectory, quaternion

SUBSTEPS = 2
"""Steps of the engine between two recorded moments, about 0.5 ms each."""

_FLOOR = 1 << 8
_SLABS = 16


def engine() -> Any:
    """The module pymunk.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("pymunk")
    except ImportError:
        raise MissingExtraError("a simulation in the plane", "physics") from None


def simulate(scene: Scene, interventions: tuple[Intervention, ...] = ()) -> Trajectory:
    """Run the scene from time 0.

    Equal arguments give equal numbers, and interventions change nothing before their step.
    """
    return _Run(engine(), scene, interventions).run()


class _Run:
    def __init__(self, pymunk: Any, scene: Scene, interventions: tuple[Intervention, ...]) -> None:
        self.pymunk = pymunk
        self.scene = scene
        self.todo = sorted(interventions, key=lambda one: one.step)
        self.space = pymunk.Space(threaded=False)
        self.space.iterations = 20
        self.space.collision_slop = 0.0005 * scene.view
        self.dt = scene.step / SUBSTEPS
        self.bodies: list[Any] = []
        self.shapes: list[Any] = []
        self.numbers: dict[Any, int] = {}
        self.factor = [1.0] * len(scene.bodies)
        self.gains: dict[int, list[float]] = {}
        self.falling = [0.0] * len(scene.bodies)
        self.touching: list[set[int]] = [set() for _ in scene.bodies]
        self._fixed()
        for number, body in enumerate(scene.bodies):
            self._add(number, body)

    def _fixed(self) -> None:
        ground, far = self.space.static_body, 60 * self.scene.view
        floor = self.pymunk.Poly(ground, [(-far, -far), (far, -far), (far, 0), (-far, 0)])
        things = [(floor, -1, _FLOOR)]
        for number, slab in enumerate(self.scene.slabs):
            if slab.solid:
                (x, _, z), (a, _, c) = slab.centre, slab.half
                corners = [(x - a, z - c), (x + a, z - c), (x + a, z + c), (x - a, z + c)]
                things.append((self.pymunk.Poly(ground, corners), number, 1 << (_SLABS + number)))
        for shape, number, category in things:
            shape.elasticity, shape.friction = 1.0, 1.0
            shape.filter = self.pymunk.ShapeFilter(categories=category)
            self.numbers[shape] = number
            self.space.add(shape)

    def _add(self, number: int, body: Any) -> None:
        pymunk, shape = self.pymunk, body.shape
        corners = [tuple(map(float, point)) for point in shape.outline()]
        area = abs(
            sum(x0 * z1 - x1 * z0 for (x0, z0), (x1, z1) in zip(corners, corners[1:] + corners[:1], strict=True))
        )
        mass = 500 * area / 2
        # Round things are balls, not discs.
        moment = 0.4 * mass * shape.half[0] ** 2 if shape.round else pymunk.moment_for_poly(mass, corners)
        dynamic = pymunk.Body(mass, moment)
        dynamic.position = body.place[0], body.place[2]
        dynamic.velocity = body.velocity[0], body.velocity[2]
        dynamic.angle, dynamic.angular_velocity = -body.angle, -body.spin
        dynamic.velocity_func = self._mover(number)
        solid = pymunk.Circle(dynamic, shape.half[0]) if shape.round else pymunk.Poly(dynamic, corners)
        solid.elasticity, solid.friction = body.restitution, body.friction
        mask = 1 << body.lane | _FLOOR
        if body.lane == 0:
            mask |= sum(1 << (_SLABS + n) for n in range(len(self.scene.slabs)))
        solid.filter = pymunk.ShapeFilter(categories=1 << body.lane, mask=mask)
        self.numbers[solid] = 100 + number
        self.space.add(dynamic, solid)
        self.bodies.append(dynamic)
        self.shapes.append(solid)

    def _mover(self, number: int) -> Any:
        drag = self.scene.bodies[number].drag

        def move(body: Any, _gravity: Any, _damping: float, dt: float) -> None:
            if self.factor[number] == 0 and number in self.held:
                body.velocity, body.angular_velocity = (0.0, 0.0), 0.0
                return
            self.pymunk.Body.update_velocity(body, (0.0, -GRAVITY * self.factor[number]), 1.0, dt)
            if drag and self.touching[number]:
                keep = max(0.0, 1 - drag * dt)
                body.velocity, body.angular_velocity = body.velocity * keep, body.angular_velocity * keep

        return move

    held: frozenset[int] = frozenset()

    def run(self) -> Trajectory:
        """Step through the whole scene."""
        count, bodies = self.scene.world_frames * self.scene.steps, len(self.bodies)
        place, turn = np.zeros((count, bodies, 3)), np.zeros((count, bodies, 4))
        touch, hits = np.zeros((count, bodies), bool), []
        depth = [body.place[1] for body in self.scene.bodies]
        for step in range(count):
            while self.todo and self.todo[0].step <= step:
                self._intervene(self.todo.pop(0))
            for number, body in enumerate(self.bodies):
                place[step, number] = body.position.x, depth[number], body.position.y
                turn[step, number] = quaternion(-body.angle)
                touch[step, number] |= bool(self.touching[number])
            for _ in range(SUBSTEPS):
                before = [set(found) for found in self.touching]
                self._advance()
                for number, found in enumerate(self.touching):
                    if found and step + 1 < count:
                        touch[step + 1, number] = True
                    hits += [(step + 1, number, other) for other in sorted(found - before[number])]
        return Trajectory(place, turn, touch, hits)

    def _advance(self) -> None:
        self.space.step(self.dt)
        for number, (body, solid) in enumerate(zip(self.bodies, self.shapes, strict=True)):
            found = self.touching[number] = set()
            if body.is_sleeping:
                continue
            body.each_arbiter(lambda arbiter, found=found, solid=solid: self._note(arbiter, solid, found))
            speed = body.velocity.y
            if speed < 0 and not found:
                self.falling[number] = -speed
            if number in self.gains and self.falling[number] > 0.3 and speed > 0:
                ratio, left = self.gains[number]
                if left > 0:
                    body.velocity = body.velocity.x, ratio * self.falling[number]
                    self.gains[number][1] -= 1
            if speed > 0:
                self.falling[number] = 0.0

    def _note(self, arbiter: Any, solid: Any, found: set[int]) -> None:
        found.update(self.numbers[shape] for shape in arbiter.shapes if shape is not solid)

    def _intervene(self, what: Intervention) -> None:
        body, values = self.bodies[what.body], what.values
        if what.act == "velocity":
            body.velocity = values
            shape = self.scene.bodies[what.body].shape
            if shape.round and self.touching[what.body]:
                body.angular_velocity = -values[0] / shape.half[0]
        elif what.act == "shift":
            body.position = body.position.x + values[0], body.position.y + values[1]
        elif what.act == "gravity":
            self.factor[what.body] = values[0]
            self.held -= {what.body}
        elif what.act == "hold":
            self.factor[what.body] = 0.0
            self.held |= {what.body}
            body.velocity, body.angular_velocity = (0.0, 0.0), 0.0
        elif what.act == "ghost":
            solid = self.shapes[what.body]
            gone = _FLOOR if values[0] < 0 else 1 << (_SLABS + int(values[0]))
            solid.filter = self.pymunk.ShapeFilter(categories=solid.filter.categories, mask=solid.filter.mask & ~gone)
        elif what.act == "gain":
            self.gains[what.body] = [values[0], values[1]]
        else:
            raise ValueError(f"unknown intervention {what.act}")
