"""NumPyro models sampled with addressed keys.

NumPyro's own `seed` handler splits one key from site to site, so a new site changes every draw
after it. Here a site's key is the given key with the site's name folded in, so that a draw depends
on what it is and on nothing before it.
"""

from typing import Any

import jax
from jaxtyping import Array, Key
from numpyro import primitives

from insilico.randomness import name_hash


class addressed(primitives.Messenger):
    """Handler that gives every unobserved sample site the key `fold_in(key, hash of its name)`.

    **Arguments:**

    - `fn`: a NumPyro model, or nothing when used as a context.
    - `key`: the key of whatever the model describes (a subject, a population).
    """

    def __init__(self, fn: Any = None, *, key: Key[Array, ""]):
        self.key = key
        super().__init__(fn)

    def process_message(self, msg: dict[str, Any]) -> None:
        if (
            msg["type"] == "sample"
            and not msg["is_observed"]
            and msg["value"] is None
            and msg["kwargs"]["rng_key"] is None
        ):
            msg["kwargs"]["rng_key"] = jax.random.fold_in(self.key, name_hash(msg["name"]))
