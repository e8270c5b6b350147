"""One function for NumPy and JAX: which of the two libraries some values belong to.

Checking a config computes a little on NumPy arrays and must not wait for JAX, which takes more than
a second to import; the same functions run on traced values inside compiled programs.
"""

from typing import Any

import numpy as np


def library_of(*values: Any) -> Any:
    """NumPy where all values are plain numbers or NumPy's, else JAX's counterpart of it."""
    if all(isinstance(value, np.ndarray | np.generic | int | float) for value in values):
        return np
    import jax.numpy as jnp

    return jnp
