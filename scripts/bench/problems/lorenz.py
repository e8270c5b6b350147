"""The Lorenz ensemble by which solvers on graphics processors are compared.

Utkarsh et al., "Automated translation and accelerated solving of differential equations on
multiple GPU platforms", Comput Methods Appl Mech Eng 2024; 419: 116591, and the code of its
comparison, github.com/utkarsh530/GPUODEBenchmarks. There every tool runs in float32, adaptive
Tsit5 at rtol = atol = 1e-8 with 0.001 as its first step; README.md has the figures it reports.
"""

import numpy as np

from scripts.bench.problems.problem import Problem, cut_rows

SIGMA, BETA = 10.0, 8.0 / 3.0
LARGEST_RHO = 21.0
DURATION = 1.0
DEFAULT_TRAJECTORIES = 10_000
REFERENCES = 100
REFERENCE_TOLERANCE = 1e-13


def lorenz(trajectories: int) -> Problem:
    """`trajectories` with ρ evenly from 0 to 21; outputs are x, y, z, given and at the end.

    The reference is of 100 trajectories spread over all.
    """
    rho = np.linspace(0.0, LARGEST_RHO, trajectories)
    output_times = np.array([0.0, DURATION])
    chosen = np.unique(np.linspace(0, trajectories - 1, REFERENCES).round().astype(int))

    def derivative(time, state, parameters, inputs):
        x, y, z = state
        return SIGMA * (y - x), x * (parameters[0] - z) - y, x * y - BETA * z

    def initial(parameters):
        zero = 0.0 * parameters[0]
        return zero + 1.0, zero, zero

    return Problem(
        name="lorenz",
        title="Lorenz equations over one unit of time, evenly spaced ρ",
        parameter_names=("rho",),
        parameters=rho[:, None],
        output_times=output_times,
        reference=np.array([_reference(derivative, value) for value in rho[chosen]]),
        reference_patients=chosen,
        rows=cut_rows(np.zeros(1), np.zeros(1), output_times),
        initial=initial,
        derivative=derivative,
        dosed=lambda state, dose, parameters: state,
        outputs=lambda state, parameters: state,
        fastest_rate=lambda p: p[:, 0],
        first_step=1e-3,
    )


def _reference(derivative, rho: float) -> np.ndarray:
    """x, y, z at the start and at the end."""
    # Here, so that a run of another problem needs no scipy.
    from scipy.integrate import solve_ivp

    solved = solve_ivp(
        lambda time, state: derivative(time, state, (rho,), ()),
        (0.0, DURATION),
        [1.0, 0.0, 0.0],
        method="DOP853",
        rtol=REFERENCE_TOLERANCE,
        atol=REFERENCE_TOLERANCE,
    )
    return solved.y[:, [0, -1]].T
