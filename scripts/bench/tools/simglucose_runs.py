"""simglucose's own runner, for the problem whose equations are its own.

Every part is simglucose's: patient, pump, sensor (a reading every 5 min, at the output times),
scenario and `SimObj`; only the controller plays the schedule of the problem. The rate is that of
the few patients it solves. Its numbers differ from the reference for reasons that are not its
solver's: a bolus, in the problem instantaneous, takes the pump the 5 min of a sample; Dbar grows
while a meal is eaten and holds what the stomach held before. Its solver keeps tolerances of its
own.

Not a dependency: `uv run --with simglucose --with 'setuptools<81' …`.
"""

# pyright: reportMissingImports=false

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from scripts.bench.problems import Problem, Rows
from scripts.bench.tools.protocol import Prepared, Settings, Solution, Tool, Unavailable

MOST_PATIENTS = 2
SENSOR = "GuardianRT"
SAMPLE_MINUTES = 5.0
"""Between two readings of the sensor, and two actions of the controller."""
PICOMOLES_A_UNIT = 6000.0
MIDNIGHT = datetime(2026, 1, 1)


def _prepare(problem: Problem, patients: int, settings: Settings, lanes: int) -> Prepared:
    if settings.side_by_side:
        raise Unavailable("it does not run on a GPU")
    if problem.name != "P3":
        raise Unavailable(f"{problem.name} is not simglucose's model")
    if np.any(np.diff(problem.output_times) != SAMPLE_MINUTES):
        raise Unavailable(f"outputs of {problem.name} are not every {SAMPLE_MINUTES:g} min")
    try:
        import pandas as pd
        from simglucose.actuator.pump import InsulinPump
        from simglucose.controller.base import Action, Controller
        from simglucose.patient.t1dpatient import T1DPatient
        from simglucose.sensor.cgm import CGMSensor
        from simglucose.simulation.env import T1DSimEnv
        from simglucose.simulation.scenario import CustomScenario
        from simglucose.simulation.sim_engine import SimObj
    except ImportError as error:
        raise Unavailable(
            f"{error}; add it with `uv run --with simglucose --with 'setuptools<81'`"
        ) from error

    intervals = problem.rows.intervals()
    boluses = {rows.start[0]: rows.dose[0] for rows in intervals if rows.dose[0]}
    meals = [_meal(rows) for rows in intervals if rows.inputs[0, 0]]

    class Schedule(Controller):
        """The problem's basal rate and boluses; keeps the states it is shown."""

        def __init__(self, basal: float):
            self.basal = basal
            self.states: list[np.ndarray] = []

        def reset(self) -> None:
            self.states = []

        def policy(self, observation, reward, done, **info):
            minute = SAMPLE_MINUTES * len(self.states)
            self.states.append(np.array(info["patient_state"]))
            return Action(basal=self.basal, bolus=boluses.get(minute, 0.0) / SAMPLE_MINUTES)

    def solve(values: np.ndarray) -> np.ndarray:
        """States at the output times."""
        named = dict(zip(problem.parameter_names, values.tolist(), strict=True))
        start = {f"x0_{i:2}": x for i, x in enumerate(problem.initial(tuple(values)), 1)}
        # Its names where they are not the problem's; the state has to begin at the third place.
        own = {"Name": problem.name, "i": 1, **start, "u2ss": named["IIRb"]}
        patient = T1DPatient(pd.Series({**own, **named}))
        environment = T1DSimEnv(
            patient,
            CGMSensor.withName(SENSOR, seed=1),
            InsulinPump.withName("Insulet"),
            CustomScenario(MIDNIGHT, meals),
        )
        controller = Schedule(named["IIRb"] * named["BW"] / PICOMOLES_A_UNIT)
        day = timedelta(minutes=float(problem.output_times[-1]))
        simulation = SimObj(environment, controller, day, animate=False)
        simulation.simulate()
        simulation.results()
        return np.stack([*controller.states, np.array(patient.state)])

    parameters = problem.parameters[:patients]

    def run() -> list[np.ndarray]:
        return [solve(values) for values in parameters]

    def gather(states: Any) -> Solution:
        state = tuple(np.moveaxis(np.stack(states), -1, 0))
        outputs = problem.outputs(state, tuple(parameters.T[..., None]))
        return Solution(np.stack(outputs, axis=-1), None)

    return Prepared(run, gather)


def _meal(rows: Rows) -> tuple[float, float]:
    """Hour and grams of the meal that is eaten over an interval."""
    milligrams = rows.inputs[0, 0] * (rows.stop[-1] - rows.start[0])
    return float(rows.start[0]) / 60, float(milligrams) / 1000


TOOL = Tool(
    "simglucose",
    f"its own runner, one thread; the rate is extrapolated from {MOST_PATIENTS} patients",
    _prepare,
    1,
    most_patients=MOST_PATIENTS,
    own_tolerances=True,
)
