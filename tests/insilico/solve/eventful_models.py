"""Models whose state sets off events, with what is known of them in closed form."""

from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np

from insilico.model import Model, Quantity, Trigger
from insilico.solve import Dose
from insilico.vocabulary import Value


class Tumour(NamedTuple):
    size: Annotated[Value, Quantity("cm", "size")]
    hazard: Annotated[Value, Quantity("1", "cumulative hazard of death")]


class Growth(NamedTuple):
    start: Annotated[Value, Quantity("cm", "size at the start")]
    rate: Annotated[Value, Quantity("1/wk", "growth rate")]
    bound: Annotated[Value, Quantity("cm", "size at progression")]
    hazard: Annotated[Value, Quantity("1/wk", "hazard of death")]
    threshold: Annotated[Value, Quantity("1", "cumulative hazard at death")]


class Course(NamedTuple):
    progression: Annotated[Value, Trigger("the size reaches the bound")]
    death: Annotated[Value, Trigger("the cumulative hazard reaches its threshold", ends=True)]


TUMOUR = Model(
    name="tumour",
    title="Exponential growth, and a constant hazard of death",
    citation="none",
    State=Tumour,
    Parameters=Growth,
    Outputs=Tumour,
    initial=lambda p: Tumour(p.start, 0.0 * p.start),
    derivative=lambda time, state, p, inputs: Tumour(p.rate * state.size, p.hazard),
    outputs=lambda time, state, p: Tumour(*state),
    propagate=lambda time, state, p, rates: Tumour(
        state.size * jnp.exp(p.rate * time), state.hazard + p.hazard * time
    ),
    Triggers=Course,
    triggers=lambda time, state, p: Course(state.size - p.bound, state.hazard - p.threshold),
    time_unit="wk",
)


def growths(number: int) -> Growth:
    """Patients of whom a third die before progression, some progress late, and one is at once
    progressed."""
    generator = np.random.default_rng(2)
    start = generator.uniform(0.5, 2.0, number)
    bound = start * generator.uniform(1.2, 6.0, number)
    bound[0] = 0.9 * start[0]
    rate = generator.uniform(0.1, 0.4, number)
    return Growth(
        start, rate, bound, generator.uniform(0.05, 0.3, number), generator.exponential(1.0, number)
    )


class Ball(NamedTuple):
    height: Annotated[Value, Quantity("m", "height above the floor")]
    speed: Annotated[Value, Quantity("m/s", "speed upwards")]


class Fall(NamedTuple):
    drop: Annotated[Value, Quantity("m", "height at the start")]
    gravity: Annotated[Value, Quantity("m/s^2", "acceleration downwards")]
    restitution: Annotated[Value, Quantity("1", "speed after a bounce, over that before")]


class Bounces(NamedTuple):
    bounce: Annotated[Value, Trigger("the ball reaches the floor")]


BALL = Model(
    name="ball",
    title="A ball that bounces",
    citation="none",
    State=Ball,
    Parameters=Fall,
    Outputs=Ball,
    initial=lambda p: Ball(p.drop, 0.0 * p.drop),
    derivative=lambda time, state, p, inputs: Ball(state.speed, -p.gravity),
    outputs=lambda time, state, p: Ball(*state),
    Triggers=Bounces,
    triggers=lambda time, state, p: Bounces(-state.height),
    react=lambda time, state, p: {"bounce": Ball(0.0, -p.restitution * state.speed)},
    time_unit="s",
)
FALLS = Fall(np.array([1.0, 2.0, 0.5]), np.full(3, 9.81), np.array([0.8, 0.7, 0.9]))


def bouncing(fall: Fall, time, bounces: int = 8):
    """One ball's height at a time, in the words of JAX."""
    landing = jnp.sqrt(2.0 * fall.drop / fall.gravity)
    speed = fall.restitution * fall.gravity * landing
    height = jnp.where(time < landing, fall.drop - 0.5 * fall.gravity * time**2, 0.0)
    for _ in range(bounces):
        since, lasting = time - landing, 2.0 * speed / fall.gravity
        inside = (since >= 0.0) & (since < lasting)
        height = jnp.where(inside, speed * since - 0.5 * fall.gravity * since**2, height)
        landing, speed = landing + lasting, fall.restitution * speed
    return height


class Sugar(NamedTuple):
    gut: Annotated[Value, Quantity("mg", "sugar taken", lowest=0.0)]
    glucose: Annotated[Value, Quantity("mg", "glucose")]
    insulin: Annotated[Value, Quantity("mU", "insulin", lowest=0.0)]


class Person(NamedTuple):
    absorption: Annotated[Value, Quantity("1/h", "absorption of sugar")]
    production: Annotated[Value, Quantity("mg/h", "production of glucose")]
    use: Annotated[Value, Quantity("1/h", "use without insulin")]
    sensitivity: Annotated[Value, Quantity("1/h/mU", "use by insulin")]
    elimination: Annotated[Value, Quantity("1/h", "elimination of insulin")]
    bound: Annotated[Value, Quantity("mg", "glucose below which sugar is taken")]
    rescue: Annotated[Value, Quantity("mg", "sugar taken")]


class Rescues(NamedTuple):
    low: Annotated[Value, Trigger("glucose falls below the bound, and sugar is taken")]


RESCUE = Model(
    name="rescue",
    title="Insulin, and sugar when glucose is low",
    citation="none",
    State=Sugar,
    Parameters=Person,
    Outputs=Sugar,
    initial=lambda p: Sugar(0.0 * p.use, p.production / p.use, 0.0 * p.use),
    derivative=lambda time, state, p, inputs: Sugar(
        -p.absorption * state.gut,
        p.production
        + p.absorption * state.gut
        - (p.use + p.sensitivity * state.insulin) * state.glucose,
        -p.elimination * state.insulin,
    ),
    outputs=lambda time, state, p: Sugar(*state),
    Triggers=Rescues,
    triggers=lambda time, state, p: Rescues(p.bound - state.glucose),
    react=lambda time, state, p: {"low": state._replace(gut=state.gut + p.rescue)},
)
PEOPLE = Person(
    absorption=np.array([2.0, 1.5, 3.0]),
    production=np.array([50.0, 60.0, 55.0]),
    use=np.array([0.5, 0.6, 0.5]),
    sensitivity=np.array([0.05, 0.08, 0.001]),
    elimination=np.array([0.4, 0.3, 0.5]),
    bound=np.array([60.0, 55.0, 60.0]),
    rescue=np.array([40.0, 25.0, 40.0]),
)

INSULIN = [Dose(1.0, "insulin", 30.0), Dose(9.0, "insulin", 25.0)]
HOURS = [0.5, 2.0, 4.0, 8.0, 12.0, 20.0]
"""Doses of insulin, and when people are looked at."""
