"""Methods of integration on lanes: each is one adaptive step, its error estimate and its order."""

from insilico.solve.methods.interface import Method, Stepper, Trial

NAMES = ("tsit5", "dopri8", "taylor", "rodas4", "rodas5p")
"""The methods there are, explicit ones first."""

STIFF = ("rodas4", "rodas5p")
"""Those whose step size is not limited by a state's fastest rate."""

__all__ = ["NAMES", "STIFF", "Method", "Stepper", "Trial", "get"]


def get(name: str) -> Method:
    """The method of that name. Raises `ValueError` with the valid names."""
    # Not on top: naming a method in a config should not wait for JAX.
    from insilico.solve.methods import explicit, rosenbrock, taylor

    methods: tuple[Method, ...] = (
        explicit.TSIT5,
        explicit.DOPRI8,
        taylor.TAYLOR,
        rosenbrock.RODAS4,
        rosenbrock.RODAS5P,
    )
    for method in methods:
        if method.name == name:
            return method
    raise ValueError(f"there is no method {name!r}; there are {', '.join(NAMES)}")
