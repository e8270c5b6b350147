"""A model whose doses are lagged, lost and prolonged as its parameters say, and tables for it."""

from typing import Annotated, NamedTuple

import numpy as np
import pytest

from insilico.model import Dosing, Model, Quantity
from insilico.solve import Solution, Tolerances, read_records, solve
from insilico.vocabulary import Value

TIGHT = Tolerances(relative=1e-10, absolute=1e-10)


class State(NamedTuple):
    depot: Annotated[Value, Quantity("mg", "drug not yet absorbed")]
    central: Annotated[Value, Quantity("mg", "drug in the body")]


class Parameters(NamedTuple):
    absorption_rate: Annotated[Value, Quantity("1/h", "first-order absorption")]
    elimination_rate: Annotated[Value, Quantity("1/h", "first-order elimination")]
    bioavailability: Annotated[Value, Quantity("1", "of the depot")]
    lag: Annotated[Value, Quantity("h", "of both compartments")]
    duration: Annotated[Value, Quantity("h", "of an infusion into the central compartment")]
    rate: Annotated[Value, Quantity("mg/h", "of an infusion into the depot")]


class Inputs(NamedTuple):
    effect: Annotated[Value, Quantity("1", "relative change of the elimination")]


def derivative(time: Value, state: State, parameters: Parameters, inputs: Inputs) -> State:
    absorbed = parameters.absorption_rate * state.depot
    eliminated = parameters.elimination_rate * (1.0 + inputs.effect) * state.central
    return State(-absorbed, absorbed - eliminated)


LAGGED = Model(
    name="lagged",
    title="",
    citation="",
    State=State,
    Parameters=Parameters,
    Inputs=Inputs,
    Outputs=State,
    initial=lambda p: State(0.0 * p.lag, 0.0 * p.lag),
    derivative=derivative,
    outputs=lambda time, state, parameters: state,
    fastest_rate=lambda p: p.absorption_rate,
    dosing=lambda p, inputs: {
        "depot": Dosing(p.bioavailability * (1.0 + 0.5 * inputs.effect), p.lag, rate=p.rate),
        "central": Dosing(lag=p.lag, duration=p.duration),
    },
)

TYPICAL = {
    "absorption_rate": 1.3,
    "elimination_rate": 0.12,
    "bioavailability": 0.8,
    "lag": 0.0,
    "duration": 2.5,
    "rate": 30.0,
}

NAMES = ("TIME", "EVID", "AMT", "CMT", "RATE", "ADDL", "II", "SS", "EFFECT")


def table(*records: dict[str, float], observe=(), patient: int = 1) -> dict[str, np.ndarray]:
    """Columns of records (a dose unless they say otherwise) and observations, in order of time."""
    rows = [{"EVID": 1, "CMT": 1} | record for record in records]
    rows += [{"TIME": time, "EVID": 0} for time in observe]
    rows.sort(key=lambda row: row["TIME"])
    columns = {name: np.array([row.get(name, 0.0) for row in rows], float) for name in NAMES}
    return columns | {"ID": np.full(len(rows), patient)}


def solved(data, tolerances: Tolerances = TIGHT, interpolation=None, **changed) -> Solution:
    """Each patient of `data` with the typical parameters, but for what is `changed`."""
    from insilico.solve import Covariate

    covariate = Covariate("EFFECT", interpolation or "nocb")
    records = read_records(LAGGED, data, covariates={"effect": covariate})
    return solve(LAGGED, Parameters(**(TYPICAL | changed)), records, tolerances=tolerances)


@pytest.fixture(scope="session")
def lagged() -> Model:
    return LAGGED


@pytest.fixture(scope="session")
def make_table():
    """`make_table(*records, observe, patient)`."""
    return table


@pytest.fixture(scope="session")
def solve_table():
    """`solve_table(data, **parameters) -> Solution`."""
    return solved
