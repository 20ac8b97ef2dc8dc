"""The local engine: processes of this machine, which end when this one does."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager

import torch
from loky import ProcessPoolExecutor

from softplus.lab import timing
from softplus.lab.engines.engine import Died, Engine, Item, Output

# How often a worker looks whether its parent is still there.
_LOOK_EVERY_SECONDS = 0.5


class Local(Engine):
    """Runs calls in `jobs` processes of one thread each; one job runs here, in this process."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    @property
    def slots(self) -> int:
        """How many calls run side by side."""
        return self._jobs

    def map(
        self, function: Callable[[Item], Output], items: Iterator[Item]
    ) -> Iterator[tuple[Item, Output | Died]]:
        """Yield (item, function(item)) in the order in which they finish."""
        if self._jobs == 1:
            with timing.threads(1):
                yield from ((item, function(item)) for item in items)
            return
        running: dict[Future[Output], Item] = {}
        while True:
            while len(running) < self._jobs and (item := next(items, None)) is not None:
                running[self._submit(function, item)] = item
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                try:
                    yield running[future], future.result()
                except BrokenExecutor:
                    continue  # it stays among the running
                del running[future]
            if any(future in running for future in finished):
                # A pool breaks as a whole: which of the calls it was shows when each runs alone.
                suspects, running = list(running.values()), {}
                for item in suspects:
                    self.close()
                    yield item, self._alone(function, item)

    def _alone(self, function: Callable[[Item], Output], item: Item) -> Output | Died:
        try:
            return self._submit(function, item).result()
        except BrokenExecutor:
            self.close()
            return Died("its process ended without a result: killed, or out of memory")

    def _submit(self, function: Callable[[Item], Output], item: Item) -> "Future[Output]":
        with _signals_spare_children():
            if self._pool is None:
                # loky rather than concurrent.futures: it can kill its workers, and does not import
                # the user's script in them.
                self._pool = ProcessPoolExecutor(
                    max_workers=self._jobs,
                    initializer=_start_worker,
                    initargs=(os.getpid(),),
                    env={"OMP_NUM_THREADS": "1"},
                )
            future: Future[Output] = self._pool.submit(function, item)
            return future

    def close(self) -> None:
        """End the workers at once."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)
            self._pool = None


def _start_worker(parent: int) -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, be it by kill -9."""
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_SECONDS)
    os._exit(1)


@contextmanager
def _signals_spare_children() -> Iterator[None]:
    """Let the processes started inside ignore what a terminal sends: their parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kinds = (signal.SIGINT, signal.SIGHUP)
    before = [signal.signal(kind, signal.SIG_IGN) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
