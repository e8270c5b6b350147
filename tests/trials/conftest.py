"""What all tests of trials share."""

import pytest
from jax import monitoring


class Compilations:
    """How many programs XLA has compiled since the listener was put in place."""

    def __init__(self) -> None:
        self.count = 0

    def listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        self.count += event == "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="session")
def compilations() -> Compilations:
    counter = Compilations()
    monitoring.register_event_duration_secs_listener(counter.listen)
    return counter
