"""Spreads clips over a Ray cluster (extra `ray`), with the same evaluator and the same rules as `local`.

Every node must see the clips under the same paths. `RAY_ADDRESS` names a running cluster; without it Ray starts on this
machine alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

from vidbench.clips import Clip
from vidbench.errors import MissingExtraError
from vidbench.run.local import Task, lost, one_thread, too_late
from vidbench.run.plan import Plan
from vidbench.run.shard import Evaluator, Outcome


class _Worker:
    """Runs inside a Ray actor."""

    def __init__(self, plan: Plan) -> None:
        one_thread()
        import cv2

        cv2.setNumThreads(1)
        self._plan = plan
        self._evaluators: dict[bool, Evaluator] = {}

    def ready(self) -> bool:
        """Answers when the actor has been given its processor."""
        return True

    def evaluate(self, clip: Clip, is_reference: bool) -> Outcome:
        if is_reference not in self._evaluators:
            self._evaluators[is_reference] = Evaluator(self._plan.for_reference() if is_reference else self._plan)
        return self._evaluators[is_reference](clip)


def evaluate(plan: Plan, tasks: Iterable[Task], *, jobs: int, clip_timeout: float) -> Iterator[tuple[Task, Outcome]]:
    """Evaluate clips in `jobs` Ray actors; arguments and results as for `vidbench.run.local.evaluate`.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray otherwise reports usage over the network
        import ray
    except ImportError:
        raise MissingExtraError("--engine ray", "ray") from None

    started_here = not ray.is_initialized()
    if started_here:
        cluster = os.environ.get("RAY_ADDRESS")
        ray.init(
            address=cluster,
            num_cpus=None if cluster else jobs,
            include_dashboard=None if cluster else False,
            log_to_driver=False,
        )
    actor = ray.remote(num_cpus=1)(_Worker)
    waiting = iter(tasks)
    resources: dict[str, float] = ray.cluster_resources()
    jobs = max(1, min(jobs, int(resources.get("CPU", jobs))))
    idle: list[Any] = [actor.remote(plan) for _ in range(jobs)]
    # A clip's time limit must not run while its actor is still being started.
    ray.get([worker.ready.remote() for worker in idle])
    running: dict[Any, tuple[Any, Task, float]] = {}
    try:
        exhausted = False
        while running or not exhausted:
            while idle and not exhausted:
                task = next(waiting, None)
                if task is None:
                    exhausted = True
                    break
                worker = idle.pop()
                running[worker.evaluate.remote(*task)] = (worker, task, time.monotonic() + clip_timeout)
            if not running:
                continue
            nearest = min(deadline for _, _, deadline in running.values())
            done, _ = ray.wait(list(running), timeout=max(0.0, nearest - time.monotonic()))
            now = time.monotonic()
            late = [ref for ref, (_, _, deadline) in running.items() if deadline <= now and ref not in done]
            for ref in late:
                worker, task, _ = running.pop(ref)
                ray.kill(worker)
                idle.append(actor.remote(plan))
                yield (
                    task,
                    lost(
                        plan,
                        task[0],
                        too_late(clip_timeout),
                    ),
                )
            for ref in done:
                worker, task, _ = running.pop(ref)
                try:
                    outcome = ray.get(ref)
                    idle.append(worker)
                except ray.exceptions.RayError as error:
                    idle.append(actor.remote(plan))
                    outcome = lost(plan, task[0], f"its process ended without an answer ({type(error).__name__})")
                yield task, outcome
    finally:
        if started_here:
            ray.shutdown()
