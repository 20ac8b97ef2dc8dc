"""The Ray engine: the machines of a cluster, or a cluster on this machine."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import torch

from softplus.lab.engines.engine import Died, Engine, Item, Output
from softplus.lab.errors import UsageError

_CONNECT_SECONDS = 5.0
# How a client of gRPC, which Ray's servers speak, opens a connection, and the kind of frame that a
# server answers with first (RFC 9113, 3.4).
_HTTP2_SETTINGS = 4
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(
    [0, 0, 0, _HTTP2_SETTINGS, 0, 0, 0, 0, 0]
)


class Cluster(Engine):
    """Runs each call as a task of Ray's, on one core and a share of a GPU.

    The problem and its trials travel with the call; the package, and the files that the problem
    reads, must be on every machine.
    """

    def __init__(self, jobs: int, address: str | None, gpus: float) -> None:
        self._jobs, self._address, self._gpus = jobs, address, gpus
        try:
            import ray  # noqa: PLC0415  # an extra of its own
        except ModuleNotFoundError:
            raise UsageError("--engine ray needs Ray: pip install 'softplus[ray]'") from None
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise UsageError(f"--gpus must be a share of one GPU or a whole number, got {gpus:g}")
        if address not in {None, "auto", "local"}:
            _check_reachable(str(address))
        self._ray = ray
        self._started = False

    def _start(self) -> None:
        if self._started:
            return
        here = {"num_cpus": self._jobs} if self._address in {None, "local"} else {}
        try:
            self._ray.init(
                address=self._address or "local",
                log_to_driver=False,
                logging_level="ERROR",
                include_dashboard=None if self._address else False,
                **here,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"--address {self._address}: no Ray cluster can be used there "
                f"({str(error).strip().splitlines()[0]}); start one with: ray start --head, and "
                "where it asks for a token, set RAY_AUTH_MODE=token here"
            ) from None
        self._started = True

    @property
    def slots(self) -> int:
        """How many calls run side by side."""
        self._start()
        resources = self._ray.cluster_resources()
        slots = int(resources.get("CPU", 1))
        if self._gpus:
            slots = min(slots, int(resources.get("GPU", 0) / self._gpus))
        if slots < 1:
            raise UsageError(
                f"the Ray cluster has no room for a trial: it has {resources.get('GPU', 0):g} GPUs "
                f"and a trial takes --gpus {self._gpus:g}"
            )
        return slots

    def map(
        self, function: Callable[[Item], Output], items: Iterator[Item]
    ) -> Iterator[tuple[Item, Output | Died]]:
        """Yield (item, function(item)) in the order in which they finish."""
        ray, slots = self._ray, self.slots
        # Ray itself runs the call of a worker that died once more, and then gives up.
        task = ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=1)(_on_one_thread)
        shared = ray.put(function)
        running: dict[Any, Item] = {}
        while True:
            while len(running) < slots:
                try:
                    item = next(items)
                except StopIteration:
                    break
                running[task.remote(shared, item)] = item
            if not running:
                return
            (finished,), _ = ray.wait(list(running), num_returns=1)
            item = running.pop(finished)
            try:
                yield item, ray.get(finished)
            except ray.exceptions.RayTaskError as error:
                raise error.as_instanceof_cause() from None
            except ray.exceptions.RayError as error:
                yield item, Died(f"its Ray worker died: {str(error).strip().splitlines()[0]}")

    def close(self) -> None:
        """Leave the cluster, which ends this study's workers; one started here ends too."""
        if self._started:
            self._ray.shutdown()
            self._started = False


def _on_one_thread(function: Callable[[Item], Output], item: Item) -> Output:
    torch.set_num_threads(1)
    return function(item)


def _check_reachable(address: str) -> None:
    """Raise UsageError where no server of Ray's kind answers: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS) as server:
            server.sendall(_HTTP2_GREETING)
            answer = server.recv(9)
    except ValueError:
        raise UsageError(
            f"--address must be host:port, ray://host:port or auto, got {address!r}"
        ) from None
    except OSError as error:
        raise UsageError(
            f"--address {address} cannot be reached ({error.strerror or error}): start the "
            "cluster with: ray start --head"
        ) from None
    if len(answer) < 9 or answer[3] != _HTTP2_SETTINGS:
        raise UsageError(f"--address {address} answers, but is no Ray cluster's")
