"""A depot that is emptied at a constant rate, in closed form."""

import jax.numpy as jnp


def depot_after_equal_doses(time, absorption_rate, amount: float, interval: float):
    """Amount left at `time` of equal doses, one every `interval` since 0.

    The doses given so far are a geometric series in exp(−absorption_rate·interval).
    """
    last_dose = jnp.floor(time / interval)
    since_last = jnp.exp(-absorption_rate * (time - interval * last_dose))
    before_first = jnp.exp(-absorption_rate * (time + interval))
    return amount * (since_last - before_first) / (1 - jnp.exp(-absorption_rate * interval))
