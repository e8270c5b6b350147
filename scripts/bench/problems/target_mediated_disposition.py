"""P2: full target-mediated drug disposition, stiff; 12 weekly doses of 600 nmol (h, L, nM)."""

from collections.abc import Mapping

import numpy as np

from scripts.bench.problems._absorption import depot_after_equal_doses
from scripts.bench.problems.problem import Forced, Problem, cut_rows

AMOUNT = 600.0
DOSING_INTERVAL = 168.0
DOSES = 12


def target_mediated_disposition(archive: Mapping[str, np.ndarray]) -> Problem:
    """Depot, drug L, drug in tissue T, target R, complex LR; outputs are L, R, LR."""
    dose_times = DOSING_INTERVAL * np.arange(DOSES)

    def disposition(absorbed, state, parameters):
        L, T, R, LR = state
        _, CL, V1, Q, V2, KON, KOFF, KINT, KDEG, KSYN = parameters
        binding = KON * L * R - KOFF * LR
        return (
            absorbed / V1 - (CL + Q) / V1 * L + Q / V1 * T - binding,
            Q / V2 * (L - T),
            KSYN - KDEG * R - binding,
            binding - KINT * LR,
        )

    def derivative(time, state, parameters, inputs):
        depot, *rest = state
        absorbed = parameters[0] * depot
        return (-absorbed, *disposition(absorbed, rest, parameters))

    def initial(parameters):
        zero = 0.0 * parameters[0]
        return (zero, zero, zero, parameters[9] / parameters[8], zero)

    def forced_derivative(time, state, parameters):
        KA = parameters[0]
        depot = depot_after_equal_doses(time, KA, AMOUNT, DOSING_INTERVAL)
        return disposition(KA * depot, state, parameters)

    return Problem(
        name="P2",
        title="target-mediated drug disposition, 12 weekly doses",
        parameter_names=tuple(str(name) for name in archive["p2_names"]),
        parameters=archive["p2"],
        output_times=archive["p2_times"],
        reference=archive["p2_reference"],
        reference_patients=np.arange(len(archive["p2_reference"])),
        rows=cut_rows(dose_times, np.full(DOSES, AMOUNT), archive["p2_times"]),
        initial=initial,
        derivative=derivative,
        dosed=lambda state, dose, parameters: (state[0] + dose, *state[1:]),
        outputs=lambda state, parameters: (state[1], state[3], state[4]),
        # Binding while the target is free and the whole dose is in the blood.
        fastest_rate=lambda p: p[:, 5] * (AMOUNT / p[:, 2] + p[:, 9] / p[:, 8]),
        first_step=0.1,
        stiff=True,
        forced=Forced(
            initial=lambda parameters: initial(parameters)[1:],
            derivative=forced_derivative,
            outputs=lambda state, parameters: (state[0], state[2], state[3]),
            jump_times=dose_times[1:],
        ),
    )
