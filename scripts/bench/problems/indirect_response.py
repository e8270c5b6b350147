"""P1: two-compartment oral PK with an indirect response; 28 daily doses of 100 mg (h, mg, L)."""

from collections.abc import Mapping

import numpy as np

from scripts.bench.problems._absorption import depot_after_equal_doses
from scripts.bench.problems.problem import Forced, Problem, cut_rows

AMOUNT = 100.0
DOSING_INTERVAL = 24.0
DOSES = 28


def indirect_response(archive: Mapping[str, np.ndarray]) -> Problem:
    """Depot, central, peripheral, response; outputs are the last three."""
    dose_times = DOSING_INTERVAL * np.arange(DOSES)

    def disposition(absorbed, state, parameters):
        central, peripheral, response = state
        _, CL, V1, Q, V2, KIN, KOUT, IMAX, IC50 = parameters
        concentration = central / V1
        outward = Q / V1 * central
        back = Q / V2 * peripheral
        return (
            absorbed - CL / V1 * central - outward + back,
            outward - back,
            KIN * (1 - IMAX * concentration / (IC50 + concentration)) - KOUT * response,
        )

    def derivative(time, state, parameters, inputs):
        depot, central, peripheral, response = state
        absorbed = parameters[0] * depot
        return (-absorbed, *disposition(absorbed, (central, peripheral, response), parameters))

    def initial(parameters):
        zero = 0.0 * parameters[0]
        return (zero, zero, zero, parameters[5] / parameters[6])

    def forced_derivative(time, state, parameters):
        KA = parameters[0]
        depot = depot_after_equal_doses(time, KA, AMOUNT, DOSING_INTERVAL)
        return disposition(KA * depot, state, parameters)

    return Problem(
        name="P1",
        title="two-compartment oral PK with indirect response, 28 daily doses",
        parameter_names=tuple(str(name) for name in archive["p1_names"]),
        parameters=archive["p1"],
        output_times=archive["p1_times"],
        reference=archive["p1_reference"],
        reference_patients=np.arange(len(archive["p1_reference"])),
        rows=cut_rows(dose_times, np.full(DOSES, AMOUNT), archive["p1_times"]),
        initial=initial,
        derivative=derivative,
        dosed=lambda state, dose, parameters: (state[0] + dose, *state[1:]),
        outputs=lambda state, parameters: state[1:],
        fastest_rate=lambda p: np.maximum(p[:, 0], (p[:, 1] + p[:, 3]) / p[:, 2]),
        first_step=0.1,
        forced=Forced(
            initial=lambda parameters: initial(parameters)[1:],
            derivative=forced_derivative,
            outputs=lambda state, parameters: state,
            jump_times=dose_times[1:],
        ),
    )
