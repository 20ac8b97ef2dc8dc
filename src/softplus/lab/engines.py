"""The engines: how the trials of a study are spread over processes."""

import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from typing import TypeVar

import torch
from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError

from softplus.lab import timing

Item = TypeVar("Item")
Output = TypeVar("Output")


class WorkerDiedError(RuntimeError):
    """A worker process ended without a result: killed, or out of memory."""


def run_local(
    function: Callable[[Item], Output], items: Sequence[Item], jobs: int
) -> Generator[tuple[Item, Output]]:
    """Yield (item, function(item)) in the order in which they finish, on `jobs` processes.

    Each process computes with one thread, so that results do not depend on `jobs`; one job runs
    here, in this process. Leaving the loop early ends the workers at once.

    Raises:
        WorkerDiedError: A worker process ended without a result.
    """
    if jobs == 1 or len(items) <= 1:
        with timing.threads(1):
            for item in items:
                yield item, function(item)
        return

    # loky rather than concurrent.futures: it can kill its workers.
    executor = ProcessPoolExecutor(
        max_workers=min(jobs, len(items)), initializer=_start_worker, env={"OMP_NUM_THREADS": "1"}
    )
    try:
        with _ctrl_c_spares_children():
            futures = {executor.submit(function, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except TerminatedWorkerError as error:
        raise WorkerDiedError("a worker process died: killed, or out of memory") from error
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def _start_worker() -> None:
    torch.set_num_threads(1)


@contextmanager
def _ctrl_c_spares_children() -> Iterator[None]:
    """Let the processes started inside ignore Ctrl-C: their parent hears it and ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
