"""Methods of integration on lanes: one step each, by sizes that errors, or the user, choose."""

from insilico.solve.methods.interface import (
    FixedStepMethod,
    Method,
    Stepper,
    StochasticMethod,
    Trial,
    interpolated,
)

ADAPTIVE = ("tsit5", "dopri8", "taylor", "rodas4", "rodas5p")
"""The methods that choose their step sizes, explicit ones first."""

STIFF = ("rodas4", "rodas5p")
"""Those whose step size is not limited by a state's fastest rate."""

FIXED_STEP = ("rk4", "rush_larsen", "rush_larsen2")
"""The methods of a stated step."""

EXPONENTIAL = ("rush_larsen", "rush_larsen2")
"""Those that take a model's gates exponentially."""

STOCHASTIC = ("euler_maruyama", "milstein")
"""The methods for models with noise, of a stated step too."""

AUTO = "auto"
"""In place of a name: whichever of an explicit and a stiff method costs less."""

SERIES = ("taylor",)
"""Those that need a rule for each operation of a model's equations."""

CLOSED_FORM = ("closed_form",)
"""The method of models that know their own solution between two rows."""

REVERSIBLE = (*ADAPTIVE, *CLOSED_FORM)
"""Those that can be differentiated backwards."""

NAMES = (*ADAPTIVE, *FIXED_STEP, *STOCHASTIC, *CLOSED_FORM)
"""The methods there are."""

__all__ = [
    "ADAPTIVE",
    "AUTO",
    "CLOSED_FORM",
    "EXPONENTIAL",
    "FIXED_STEP",
    "NAMES",
    "REVERSIBLE",
    "SERIES",
    "STIFF",
    "STOCHASTIC",
    "FixedStepMethod",
    "Method",
    "Stepper",
    "StochasticMethod",
    "Trial",
    "get",
    "get_fixed_step",
    "get_stochastic",
    "interpolated",
    "known",
]


def known(name: str) -> str:
    """The name, if there is such a method. Raises `ValueError` with the valid names."""
    if name == AUTO:
        raise ValueError(
            "method 'auto' solves a sample of the patients, which cannot be done here: choose "
            "beforehand by insilico.solve.choose_method(...) and pass the .name that it found"
        )
    if name not in NAMES:
        raise ValueError(f"there is no method {name!r}; there are {', '.join(NAMES)}")
    return name


def get(name: str) -> Method:
    """The adaptive method of that name. Raises `ValueError` with the valid names."""
    # Not on top: naming a method in a config should not wait for JAX.
    from insilico.solve.methods import explicit, rosenbrock, taylor

    methods: tuple[Method, ...] = (
        explicit.TSIT5,
        explicit.DOPRI8,
        taylor.TAYLOR,
        rosenbrock.RODAS4,
        rosenbrock.RODAS5P,
    )
    return _named(methods, name, ADAPTIVE)


def get_fixed_step(name: str) -> FixedStepMethod:
    """The method of a stated step of that name. Raises `ValueError` with the valid names."""
    from insilico.solve.methods import fixed_step

    methods: tuple[FixedStepMethod, ...] = (
        fixed_step.RK4,
        fixed_step.RUSH_LARSEN,
        fixed_step.RUSH_LARSEN2,
    )
    return _named(methods, name, FIXED_STEP)


def get_stochastic(name: str) -> StochasticMethod:
    """The method for noise of that name. Raises `ValueError` with the valid names."""
    from insilico.solve.methods import stochastic

    methods: tuple[StochasticMethod, ...] = (stochastic.EULER_MARUYAMA, stochastic.MILSTEIN)
    return _named(methods, name, STOCHASTIC)


def _named[M: (Method, FixedStepMethod, StochasticMethod)](
    methods: tuple[M, ...], name: str, names: tuple[str, ...]
) -> M:
    for method in methods:
        if method.name == name:
            return method
    raise ValueError(f"there is no method {name!r}; there are {', '.join(names)}")
