"""Spreads clips over processes of this machine.

Every clip is evaluated in a child process, even with one job: a decoder that hangs is ended at the clip's time limit,
one that crashes takes only its clip with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Any

from vidbench.clips import Clip, content_hash
from vidbench.errors import ClipError, VidbenchError
from vidbench.run.feed import told
from vidbench.run.plan import Plan, make_metric
from vidbench.run.shard import Evaluator, Outcome, clip_key, failed_outcome

Task = tuple[Clip, bool]
"""A clip, and whether it belongs to the reference set."""

RENEWALS = 3
"""How often a pool whose workers were ended from outside is made anew."""

_evaluators: dict[bool, Evaluator] = {}
_plan: list[Plan] = []


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_thread() -> None:
    """Libraries get one thread a worker: as many workers as cores, and no spinning against each other.

    It also makes results independent of how many cores there are.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _begin_worker(parent: int, plan: Plan) -> None:
    _plan[:] = [plan]
    # Ctrl-C reaches the whole process group; the parent decides what is kept, workers just stop when told.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import cv2

    cv2.setNumThreads(1)
    cv2.ocl.setUseOpenCL(False)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)  # the parent was killed: nobody would read the result

    threading.Thread(target=watch, daemon=True).start()


def _evaluate(clip: Clip, is_reference: bool) -> Outcome:
    if is_reference not in _evaluators:
        _evaluators[is_reference] = Evaluator(_plan[0].for_reference() if is_reference else _plan[0])
    return _evaluators[is_reference](clip)


def evaluate(plan: Plan, tasks: Iterable[Task], *, jobs: int, clip_timeout: float) -> Iterator[tuple[Task, Outcome]]:
    """Evaluate clips in `jobs` processes; yields them as they finish.

    Args:
        plan: what to compute.
        tasks: the clips.
        jobs: number of processes, at least 1.
        clip_timeout: seconds after which a clip's process is ended and the clip has failed.
    """
    one_thread()
    waiting = iter(tasks)
    again: list[Task] = []
    running: dict[Any, Task] = {}
    pool = _start(plan, jobs)
    renewals = 0
    try:
        exhausted = False
        while running or again or not exhausted:
            broken = False
            while len(running) < 2 * jobs and not broken:
                task = again.pop() if again else next(waiting, None)
                if task is None:
                    exhausted = True
                    break
                try:
                    with _interrupts_held():
                        running[pool.schedule(_evaluate, args=list(task), timeout=clip_timeout)] = task
                except RuntimeError:  # the pool has lost its workers
                    again.append(task)
                    broken = True
            done, _ = wait(running, return_when=FIRST_COMPLETED) if running else (set(), set())
            for future in done:
                task = running.pop(future)
                outcome = _outcome(future, plan, task[0], clip_timeout)
                if outcome is None:
                    again.append(task)
                    broken = True
                else:
                    yield task, outcome
            if broken:
                # The system can end a worker between two tasks, when it runs out of memory for instance.
                renewals += 1
                if renewals > RENEWALS:
                    raise VidbenchError(
                        f"the worker processes ended {renewals} times before they could work; "
                        "try -j 1, and see `vidbench doctor`"
                    )
                again.extend(running.values())
                running.clear()
                _end(pool)
                pool = _start(plan, jobs)
    finally:
        _end(pool)


def _start(plan: Plan, jobs: int) -> Any:
    from multiprocessing import resource_tracker

    from pebble import ProcessPool

    # It unblocks Ctrl-C when it starts; started first, it leaves alone what `_interrupts_held` blocks.
    resource_tracker.ensure_running()
    return ProcessPool(
        max_workers=jobs,
        context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(os.getpid(), plan),
    )


def _end(pool: Any) -> None:
    pool.stop()
    pool.join()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while workers are started: they inherit it, and their own start-up prints no traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _outcome(future: Any, plan: Plan, clip: Clip, clip_timeout: float) -> Outcome | None:
    """What a finished task gave; None where the pool broke before the task could be done."""
    from concurrent.futures.process import BrokenProcessPool

    from pebble import ProcessExpired

    try:
        outcome = future.result()
    except TimeoutError:
        return lost(plan, clip, too_late(clip_timeout))
    except ProcessExpired as error:
        return lost(plan, clip, f"its process ended without an answer ({_cause(error.exitcode)})")
    except BrokenProcessPool:
        return None
    except (Exception, SystemExit) as error:  # a stranger's plug-in may raise anything, even on being made
        return lost(plan, clip, told("its worker", error))
    if not isinstance(outcome, Outcome):
        raise TypeError(f"a worker gave a {type(outcome).__name__}")
    return outcome


def too_late(clip_timeout: float) -> str:
    """The reason of a clip that was ended at its time limit."""
    return f"took longer than {clip_timeout:g} s and was ended; raise the limit: --clip-timeout N --retry-failed"


def lost(plan: Plan, clip: Clip, reason: str) -> Outcome:
    """The outcome of a clip whose worker gave no answer."""
    metrics = [make_metric(planned) for planned in plan.metrics]
    sha256 = key = None
    with contextlib.suppress(ClipError, OSError):  # without a key a resumed run would try it again unasked
        sha256 = content_hash(clip)
        key = clip_key(clip, sha256)
    return failed_outcome(clip.id, clip.model, reason, metrics, prompt=clip.prompt, sha256=sha256, key=key)


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name if -exitcode in signal.valid_signals() else str(-exitcode)
        return f"signal {name}; a crash in a decoder, or the system ran out of memory"
    return f"exit code {exitcode}"
