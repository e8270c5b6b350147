"""What all tests of trials share."""

from jax import monitoring
import pytest


class Compilations:
    """How many programs XLA has compiled since the listener was put in place."""

    def __init__(self) -> None:
        self.count = 0

    def listen(self, event: str, _seconds: float, **_details: object) -> None:
        self.count += event == "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="session")
def compilations() -> Compilations:
    counter = Compilations()
    monitoring.register_event_duration_secs_listener(counter.listen)
    return counter
