"""What XLA compiles meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from jax import monitoring

_COMPILED = "/jax/core/compile/backend_compile_duration"


@dataclasses.dataclass
class Compiled:
    """Programs that XLA has compiled, or loaded from its cache on disk, and seconds it took."""

    count: int = 0
    seconds: float = 0.0


@contextlib.contextmanager
def counted() -> Iterator[Compiled]:
    """Counts what is compiled in its context, by anyone in this process."""
    found = Compiled()

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == _COMPILED:
            found.count += 1
            found.seconds += duration_secs

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        monitoring.unregister_event_duration_listener(listen)
