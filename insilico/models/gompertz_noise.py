"""Gompertzian growth of a tumour whose growth rate fluctuates, under a therapy that kills.

The stochastic form of Gompertz' law in which noise is proportional to the volume X, in the sense of
Itô:

    dX = (B·X·log(K/X) − u·X)·dt + S·X·dW

Ferrante, Bompadre, Possati and Leone, Biometrics 2000; 56:1076-1081, who have it without the
therapy u and with A = B·log K. That log X is then an Ornstein–Uhlenbeck process and X log-normal at
every time, its median following Gompertz' law, is derived by De Lauro, De Martino, De Siena and
Giorno, arXiv:1012.4978. With u constant,

    mean of log X(t) = L + (log X0 − L)·exp(−B·t),   L = log K − (u + S²/2) / B
    variance of log X(t) = S²·(1 − exp(−2·B·t)) / (2·B)

It is a model of a kind, not of a tumour: its typical values are merely plausible.
"""

from typing import Annotated, NamedTuple

from insilico.model import Model, Quantity, Wiener
from insilico.vocabulary import Value, log


class State(NamedTuple):
    volume: Annotated[Value, Quantity("cm^3", "volume of the tumour, X")]


class Parameters(NamedTuple):
    initial_volume: Annotated[Value, Quantity("cm^3", "volume at time 0, X0")]
    deceleration: Annotated[Value, Quantity("1/d", "rate at which growth slows down, B")]
    plateau: Annotated[Value, Quantity("cm^3", "volume where growth stops without noise, K")]
    volatility: Annotated[Value, Quantity("1/d^0.5", "size of the fluctuations of growth, S")]


class Inputs(NamedTuple):
    kill: Annotated[Value, Quantity("1/d", "rate at which therapy kills, u")]


class Outputs(NamedTuple):
    volume: Annotated[Value, Quantity("cm^3", "volume of the tumour")]


class Noise(NamedTuple):
    growth: Annotated[State, Wiener("fluctuation of the growth rate")]


def initial(parameters: Parameters) -> State:
    return State(parameters.initial_volume)


def derivative(time: Value, state: State, parameters: Parameters, inputs: Inputs) -> State:
    p, volume = parameters, state.volume
    growth = p.deceleration * log(p.plateau / volume)
    return State((growth - inputs.kill) * volume)


def diffusion(time: Value, state: State, parameters: Parameters, inputs: Inputs) -> Noise:
    return Noise(growth=State(parameters.volatility * state.volume))


def outputs(time: Value, state: State, parameters: Parameters) -> Outputs:
    return Outputs(state.volume)


MODEL = Model(
    name="gompertz_noise",
    title="Gompertzian tumour growth with fluctuating rate",
    citation=(
        "Ferrante L, Bompadre S, Possati L, Leone L. Parameter estimation in a Gompertzian "
        "stochastic model for tumor growth. Biometrics 2000; 56:1076-1081."
    ),
    State=State,
    Parameters=Parameters,
    Inputs=Inputs,
    Outputs=Outputs,
    Noise=Noise,
    initial=initial,
    derivative=derivative,
    diffusion=diffusion,
    outputs=outputs,
    method="milstein",
    step=0.125,
    time_unit="d",
    typical=Parameters(1.0, 0.1, 20.0, 0.2),
    validated=(
        "mean and variance of the volume's logarithm: closed forms, with and without therapy, "
        "within the Monte-Carlo error of 20,000 patients",
    ),
    limits=(
        "no figure or table of the 2000 paper is reproduced, and its pages were not seen",
        "the volume must stay above 0: a step too long for the noise can take it below",
    ),
)
