"""The engines: where the trials of a study run."""

from softplus.lab.engines.engine import Died, Engine
from softplus.lab.errors import UsageError, unknown

__all__ = ["Died", "Engine", "choose"]

NAMES = ("local", "ray")


def choose(
    name: str = "local", *, jobs: int = 1, address: str | None = None, gpus: float = 0.0
) -> Engine:
    """Return the engine of that name.

    Args:
        name: "local", processes of this machine, or "ray", a Ray cluster.
        jobs: How many processes of this machine train side by side.
        address: Of a Ray cluster that runs already; None starts one here, for this study.
        gpus: What a trial takes of a GPU, or how many it takes, on a Ray cluster.

    Raises:
        UsageError: The name is unknown, Ray is missing, or its cluster cannot be reached.
    """
    if name == "local":
        if jobs < 1:
            raise UsageError(f"--jobs must be at least 1, got {jobs}")
        if address is not None or gpus:
            raise UsageError("--address and --gpus belong to --engine ray")
        from softplus.lab.engines.local import Local  # noqa: PLC0415  # each brings its library

        return Local(jobs)
    if name == "ray":
        from softplus.lab.engines.cluster import Cluster  # noqa: PLC0415

        return Cluster(jobs, address, gpus)
    raise unknown("engine", name, NAMES)
