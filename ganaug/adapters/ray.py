"""Ray: the cells of a comparison on a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ganaug.errors import MissingExtraError, TrainingError

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError as error:
    raise MissingExtraError("ray", "ray") from error

__all__ = ["RayCrew"]


class RayCrew:
    """Calls of one function, each a task of one CPU on the cluster.

    The cluster is the one that this process is connected to, else the one that `RAY_ADDRESS` or `ray start` tell of,
    else a new one of this machine's cores, shut down at the end. ganaug is installed on all of its machines.

    Args:
        function: takes what `submit` is given, and `shared`.
        shared: put into the cluster's store once.
        gpus: the share of a GPU that a call takes.
    """

    def __init__(self, function: Callable[[Any, Any], Any], shared: Any, *, gpus: float = 0.0) -> None:
        self._ours = not ray.is_initialized()
        if self._ours:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone unasked
            ray.init(include_dashboard=False, log_to_driver=False)
        self.size = _size(gpus)
        """Calls that can run at once."""
        self._shared = ray.put(shared)
        self._remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(function)
        self._running: set[Any] = set()

    def __enter__(self) -> RayCrew:
        return self

    def __exit__(self, *_: object) -> None:
        for reference in self._running:
            ray.cancel(reference, force=True)
        if self._ours:
            ray.shutdown()

    def submit(self, argument: Any) -> Future[Any]:
        """Start a call; what it raises is raised here as it was, and a TrainingError where Ray itself fails."""
        reference = self._remote.remote(argument, self._shared)
        self._running.add(reference)
        told: Future[Any] = Future()

        def tell(ended: Future[Any]) -> None:
            self._running.discard(reference)
            error = ended.exception()
            if error is None:
                told.set_result(ended.result())
            else:
                told.set_exception(_as_raised(error))

        reference.future().add_done_callback(tell)
        return told


def _size(gpus: float) -> int:
    there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    places = there.get("CPU", 1.0)
    if gpus > 0:
        places = min(places, there.get("GPU", 0.0) / gpus)
        if places < 1:
            raise TrainingError(f"a job takes {gpus:g} of a GPU and the Ray cluster has {there.get('GPU', 0.0):g} GPUs")
    return max(1, int(places))


def _as_raised(error: BaseException) -> BaseException:
    if isinstance(error, RayTaskError):
        cause: BaseException = error.cause
        return cause
    if isinstance(error, RayError):
        said = " ".join(str(error).split())
        return TrainingError(f"the Ray cluster lost a job ({said}); what was finished is kept; run it again")
    return error
