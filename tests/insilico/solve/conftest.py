"""A model whose every schedule has an exact solution, and that solution."""

from typing import Annotated, NamedTuple

import numpy as np
import pytest
from scipy.linalg import expm

from insilico.model import Model, Quantity
from insilico.solve import Dose, Infusion, Input
from insilico.vocabulary import Value


class State(NamedTuple):
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed")]
    central: Annotated[Value, Quantity("mg", "drug in the body")]
    eliminated: Annotated[Value, Quantity("mg", "drug that has left the body")]


class Parameters(NamedTuple):
    absorption_rate: Annotated[Value, Quantity("1/h", "first-order absorption")]
    clearance: Annotated[Value, Quantity("L/h", "clearance")]
    volume: Annotated[Value, Quantity("L", "volume of distribution")]


class Inputs(NamedTuple):
    induction: Annotated[Value, Quantity("1", "relative increase of the clearance")]


class Outputs(NamedTuple):
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed")]
    central: Annotated[Value, Quantity("mg", "drug in the body")]
    eliminated: Annotated[Value, Quantity("mg", "drug that has left the body")]
    concentration: Annotated[Value, Quantity("mg/L", "concentration")]


def derivative(time: Value, state: State, parameters: Parameters, inputs: Inputs) -> State:
    p = parameters
    absorbed = p.absorption_rate * state.depot
    eliminated = p.clearance * (1.0 + inputs.induction) / p.volume * state.central
    return State(-absorbed, absorbed - eliminated, eliminated)


ONE_COMPARTMENT = Model(
    name="one_compartment",
    title="One compartment with absorption, elimination and inducible clearance",
    citation="textbook",
    State=State,
    Parameters=Parameters,
    Inputs=Inputs,
    Outputs=Outputs,
    initial=lambda parameters: State(*[0.0 * parameters.volume] * 3),
    derivative=derivative,
    outputs=lambda time, state, parameters: Outputs(
        state.depot, state.central, state.eliminated, state.central / parameters.volume
    ),
    fastest_rate=lambda parameters: parameters.absorption_rate,
)


class Exact:
    """One patient of the model above, carried from one time to the next by matrix exponentials."""

    def __init__(self, parameters):
        self.parameters = Parameters(*(float(value) for value in parameters))
        self.time = 0.0
        self.state = np.zeros(3)
        self.infused = np.zeros(3)
        self.induction = 0.0

    def go_to(self, time: float) -> "Exact":
        absorption, clearance, volume = self.parameters
        elimination = clearance * (1.0 + self.induction) / volume
        matrix = np.zeros((4, 4))
        matrix[:3, :3] = [[-absorption, 0, 0], [absorption, -elimination, 0], [0, elimination, 0]]
        matrix[:3, 3] = self.infused
        self.state = (expm(matrix * (time - self.time)) @ [*self.state, 1.0])[:3]
        self.time = time
        return self

    @property
    def outputs(self) -> np.ndarray:
        return np.array([*self.state, self.state[1] / self.parameters.volume])


def exact_outputs(parameters, actions, observe) -> np.ndarray:
    """(times, outputs) of one patient; an observation comes before what happens at its instant."""
    compartments = list(State._fields)
    changes: list[tuple[float, int, str, int, float]] = []
    for place, action in enumerate(actions):
        match action:
            case Dose(time, compartment, amount, _):
                changes.append((time, place, "dose", compartments.index(compartment), amount))
            case Infusion(time, compartment, amount, duration):
                index, rate = compartments.index(compartment), amount / duration
                changes.append((time, place, "rate", index, rate))
                changes.append((time + duration, place, "rate", index, -rate))
            case Input(time, _, value):
                changes.append((time, place, "input", 0, value))
    patient, rows = Exact(parameters), []
    points = [(time, 0, -1, None) for time in observe] + [(c[0], 1, c[1], c) for c in changes]
    for time, _, _, change in sorted(points, key=lambda point: point[:3]):
        patient.go_to(time)
        if change is None:
            rows.append(patient.outputs)
            continue
        _, _, kind, index, value = change
        if kind == "dose":
            patient.state[index] += value
        elif kind == "rate":
            patient.infused[index] += value
        else:
            patient.induction = value
    return np.array(rows)


@pytest.fixture(scope="session")
def one_compartment() -> Model:
    return ONE_COMPARTMENT


@pytest.fixture(scope="session")
def exact():
    """`exact(parameters, actions, observe) -> (times, outputs)` of one patient."""
    return exact_outputs


@pytest.fixture(scope="session")
def exact_patient() -> type[Exact]:
    return Exact


def log_normal_patients(model: Model, typical, patients: int, seed: int = 20):
    """Parameters of patients around typical values, CV 30 %."""
    factors = np.exp(np.random.default_rng(seed).normal(0.0, 0.3, (len(typical), patients)))
    return model.Parameters(*(np.asarray(typical)[:, None] * factors))


@pytest.fixture(scope="session")
def patients():
    """`patients(model, typical values, number) -> Parameters` of arrays (number,)."""
    return log_normal_patients


class Point(NamedTuple):
    position: Annotated[Value, Quantity("1", "x")]
    speed: Annotated[Value, Quantity("1", "x'")]


class Damping(NamedTuple):
    stiffness: Annotated[Value, Quantity("1", "damping, μ")]


VAN_DER_POL = Model(
    name="van_der_pol",
    title="Van der Pol's oscillator",
    citation="Hairer and Wanner, Solving Ordinary Differential Equations II, IV.1",
    State=Point,
    Parameters=Damping,
    Outputs=Point,
    initial=lambda p: Point(2.0 + 0.0 * p.stiffness, 0.0 * p.stiffness),
    derivative=lambda time, state, p, inputs: Point(
        state.speed,
        p.stiffness * (1.0 - state.position * state.position) * state.speed - state.position,
    ),
    outputs=lambda time, state, p: Point(*state),
)


@pytest.fixture(scope="session")
def van_der_pol() -> Model:
    """Smooth or stiff, by its parameter."""
    return VAN_DER_POL
