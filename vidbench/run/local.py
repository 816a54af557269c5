"""Spreads clips over processes of this machine.

Every clip is evaluated in a child process, even with one job: a decoder that hangs is ended at the clip's time limit,
one that crashes takes only its clip with it.

Each worker has a pipe of its own and shares no lock or queue with the others, so one that is killed at whatever moment
cannot stop them. (The pools of the standard library and of pebble hand out work through one queue: a worker that dies
while it holds the queue's lock leaves all others waiting for ever.)
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from multiprocessing import connection

from vidbench.clips import Clip, content_hash
from vidbench.errors import ClipError, VidbenchError
from vidbench.run.feed import told
from vidbench.run.plan import Plan, make_metric
from vidbench.run.shard import Evaluator, Outcome, clip_key, failed_outcome

Task = tuple[Clip, bool]
"""A clip, and whether it belongs to the reference set."""

RENEWALS = 3
"""How often in a row each worker may end without having been given work before the run gives up."""

FAREWELL = 5.0
"""Seconds a worker that has nothing left to do may take to end by itself."""

_READY = "ready"
"""A worker's first message: what it needs is imported, its clips' time may begin to count."""


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


def _work(pipe: connection.Connection, parent: int, plan: Plan) -> None:
    """A worker's life: clips in, outcomes out, until it is told None or its parent is gone."""
    # Ctrl-C reaches the whole process group; the parent decides what is kept, workers just stop when told.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)  # the parent was killed: nobody would read the result

    threading.Thread(target=watch, daemon=True).start()
    import cv2

    cv2.setNumThreads(1)
    cv2.ocl.setUseOpenCL(False)
    evaluators: dict[bool, Evaluator] = {}

    def evaluate_one(clip: Clip, is_reference: bool) -> Outcome:
        if is_reference not in evaluators:
            evaluators[is_reference] = Evaluator(plan.for_reference() if is_reference else plan)
        return evaluators[is_reference](clip)

    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone
        pipe.send(_READY)
        while (task := pipe.recv()) is not None:
            try:
                answer: Outcome | str = evaluate_one(*task)
            except (Exception, SystemExit) as error:  # a stranger's plug-in may raise anything, even on being made
                answer = told("its worker", error)
            pipe.send(answer)


class _Worker:
    """One child process as the parent sees it."""

    def __init__(self, plan: Plan) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, os.getpid(), plan), daemon=True)
        with theirs, _interrupts_held():
            self.process.start()
        self.ready = False
        self.task: Task | None = None
        self.deadline = math.inf

    def give(self, task: Task, clip_timeout: float) -> bool:
        """Hand over a clip; False where the process has ended."""
        try:
            # It is waiting in `recv`, so that this cannot block, however long the message.
            self.pipe.send(task)
        except (BrokenPipeError, ConnectionResetError):
            return False
        self.task = task
        self.deadline = time.monotonic() + clip_timeout
        return True

    def answer(self) -> object:
        """The next message, or None where the process has ended without one."""
        try:
            # Asked first because something that the worker started could keep the pipe open after its end.
            return self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, ConnectionResetError):
            return None

    def dismiss(self) -> None:
        """Tell it that there is no more to do."""
        if self.ready:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.pipe.send(None)

    def end(self, patience: float = 0.0) -> None:
        """End it, at once or after some patience with one that was dismissed.

        What a worker writes (the cache) is written aside and renamed, so nothing is left half done.
        """
        if self.ready and patience:
            self.process.join(patience)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def evaluate(plan: Plan, tasks: Iterable[Task], *, jobs: int, clip_timeout: float) -> Iterator[tuple[Task, Outcome]]:
    """Evaluate clips in `jobs` processes; yields them as they finish.

    Args:
        plan: what to compute.
        tasks: the clips.
        jobs: number of processes, at least 1.
        clip_timeout: seconds after which a clip's process is ended and the clip has failed.

    Raises:
        VidbenchError: the processes end before they can work.
    """
    from multiprocessing import resource_tracker

    one_thread()
    # It unblocks Ctrl-C when it starts; started first, it leaves alone what `_interrupts_held` blocks.
    resource_tracker.ensure_running()
    crew = _Crew(plan, tasks, jobs, clip_timeout)
    try:
        crew.hire()
        done: list[tuple[Task, Outcome]] = []
        while crew.assign():
            yield from done  # only now: whoever is free works on while the caller writes
            done = crew.collect()
        yield from done
        crew.dismiss()
    finally:
        crew.end()


class _Crew:
    """The workers of one run and what is still to be done."""

    def __init__(self, plan: Plan, tasks: Iterable[Task], jobs: int, clip_timeout: float) -> None:
        self._plan = plan
        self._waiting = iter(tasks)
        self._again: list[Task] = []
        """Given to a worker that ended before it could begin."""
        self._jobs = jobs
        self._clip_timeout = clip_timeout
        self._workers: list[_Worker] = []
        self._idle_deaths = 0

    def hire(self) -> None:
        for _ in range(self._jobs):
            self._workers.append(_Worker(self._plan))

    def _next(self) -> Task | None:
        return self._again.pop() if self._again else next(self._waiting, None)

    def assign(self) -> bool:
        """Give every free worker a clip; False when nothing is left to do or to wait for."""
        for worker in self._workers:
            if worker.ready and worker.task is None:
                task = self._next()
                if task is None:
                    break
                if not worker.give(task, self._clip_timeout):
                    self._again.append(task)  # `collect` will notice that it has ended
        if any(worker.task is not None for worker in self._workers):
            return True
        task = self._next()  # nobody is ready yet, or nothing is left
        if task is None:
            return False
        self._again.append(task)
        return True

    def collect(self) -> list[tuple[Task, Outcome]]:
        """Wait until something happens; what is done, or lost with its worker, which is replaced."""
        nearest = min(worker.deadline for worker in self._workers)
        connection.wait(
            [channel for worker in self._workers for channel in (worker.pipe, worker.process.sentinel)],
            timeout=max(0.0, nearest - time.monotonic()) if math.isfinite(nearest) else None,
        )
        done: list[tuple[Task, Outcome]] = []
        for place, worker in enumerate(self._workers):
            ended = not worker.process.is_alive()  # asked before the pipe: what it sent before its end is there
            message = worker.answer()
            task = worker.task
            if message == _READY:
                worker.ready = True
            elif message is not None and task is not None:
                self._idle_deaths = 0
                worker.task, worker.deadline = None, math.inf
                done.append((task, self._outcome(message, task[0])))
            elif ended or time.monotonic() >= worker.deadline:
                worker.end()
                if task is None:
                    self._died_idle(worker.process.exitcode)
                else:
                    code = worker.process.exitcode
                    why = f"its process ended without an answer ({_cause(code)})" if ended else None
                    done.append((task, lost(self._plan, task[0], why or too_late(self._clip_timeout))))
                self._workers[place] = _Worker(self._plan)
        return done

    def _outcome(self, message: object, clip: Clip) -> Outcome:
        if isinstance(message, Outcome):
            return message
        return lost(self._plan, clip, str(message))

    def _died_idle(self, exitcode: int | None) -> None:
        """The system can end a worker between two clips, when it runs out of memory for instance."""
        self._idle_deaths += 1
        if self._idle_deaths > RENEWALS * self._jobs:
            raise VidbenchError(
                f"the worker processes ended {self._idle_deaths} times before they could work ({_cause(exitcode)}); "
                "try -j 1, and see `vidbench doctor`; a script that starts a run needs "
                "`if __name__ == '__main__':` around it"
            )

    def dismiss(self) -> None:
        """Let the workers end by themselves."""
        for worker in self._workers:
            worker.dismiss()
        patience_ends = time.monotonic() + FAREWELL
        for worker in self._workers:
            worker.end(patience=max(0.0, patience_ends - time.monotonic()))
        self._workers.clear()

    def end(self) -> None:
        """End whatever still runs, at once."""
        for worker in self._workers:
            worker.end()
        self._workers.clear()


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
