"""Who gets which arm: permuted blocks within strata, or simple randomisation.

An assignment depends on the trial's key, the subject's stratum and its position in that stratum,
and on nothing else: other strata, later subjects and other trials cannot change it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from insilico.randomness import address, name_hash
from trials.allocation import check_allocation

_SIZE = name_hash("block size")
_ORDER = name_hash("order in block")


def permuted_blocks(
    keys: Key[Array, " trial"],
    stratum: Int[Array, "trial subject"],
    enrolled: Bool[Array, "trial subject"],
    *,
    allocation: Sequence[int],
    block_sizes: Sequence[int],
    enrolment_time: Float[Array, "trial subject"] | None = None,
) -> Int[Array, "trial subject"]:
    """Arms by permuted blocks, separately in each stratum, as subjects enrol.

    Every block holds the arms in exactly the ratio of `allocation`, each order equally likely.
    With several `block_sizes` every block's size is drawn from them with equal probability.

    **Arguments:**

    - `keys`: one key a trial.
    - `stratum`: stratum of each subject, any integers 0 or more; only the strata that occur cost
      anything.
    - `enrolled`: false for padding, who get arm -1 and take no place in a block.
    - `allocation`: whole-number ratio of the arms, such as (1, 1) or (2, 1, 1).
    - `block_sizes`: each a multiple of the ratio's sum.
    - `enrolment_time`: order of enrolment (ties: by position). Default: the order of the axis.

    Raises `ValueError` for an impossible `allocation` or block size.
    """
    problems = check_allocation(allocation, block_sizes)
    if not block_sizes:
        problems.append("block sizes: one or more; found none")
    if problems:
        raise ValueError("; ".join(problems))
    places = jax.vmap(_places, in_axes=(0, 0, 0, 0, None))(
        keys, stratum, enrolled, enrolment_time, jnp.asarray(block_sizes)
    )
    whole = sum(allocation)
    largest = max(block_sizes)

    def assign(key: Key[Array, ""], stratum: Array, place: _Place) -> Int[Array, ""]:
        block_key = address(key, stratum, place.block, _ORDER)
        order = jax.random.uniform(block_key, (largest,))
        before = (order < order[place.place]) & (jnp.arange(largest) < place.size)
        # The rank of this place among the block's is uniform over its orders; ranks are dealt to
        # the arms in the allocation ratio.
        part = jnp.sum(before) // (place.size // whole)
        return jnp.searchsorted(jnp.cumsum(jnp.asarray(allocation)), part, side="right")

    over_subjects = jax.vmap(assign, in_axes=(None, 0, 0))
    arm = jax.vmap(over_subjects)(keys, stratum, places)
    return jnp.where(enrolled, arm, -1)


def simple_randomisation(
    keys: Key[Array, " trial"],
    subject: Int[Array, "trial subject"],
    enrolled: Bool[Array, "trial subject"],
    *,
    allocation: Sequence[int],
) -> Int[Array, "trial subject"]:
    """Arms drawn independently, with probabilities in the ratio of `allocation`.

    **Arguments:**

    - `keys`: one key a trial.
    - `subject`: each subject's number, which addresses its draw.
    - `enrolled`: false for padding, who get arm -1.
    - `allocation`: whole-number ratio of the arms.

    Raises `ValueError` for an impossible `allocation`.
    """
    if problems := check_allocation(allocation):
        raise ValueError("; ".join(problems))
    upper = jnp.cumsum(jnp.asarray(allocation))

    def assign(key: Key[Array, ""], subject: Int[Array, ""]) -> Int[Array, ""]:
        part = jax.random.randint(address(key, subject), (), 0, sum(allocation))
        return jnp.searchsorted(upper, part, side="right")

    arm = jax.vmap(jax.vmap(assign, in_axes=(None, 0)))(keys, subject)
    return jnp.where(enrolled, arm, -1)


class _Place(NamedTuple):
    """Where in its stratum's list a subject stands."""

    block: Int[Array, "*batch"]
    place: Int[Array, "*batch"]
    size: Int[Array, "*batch"]


def _places(
    key: Key[Array, ""],
    stratum: Int[Array, " subject"],
    enrolled: Bool[Array, " subject"],
    enrolment_time: Float[Array, " subject"] | None,
    block_sizes: Int[Array, " sizes"],
) -> _Place:
    """Deal one trial's subjects to blocks.

    Sorted by stratum and time, a subject stands one place after its predecessor or opens a block,
    so one scan over subjects serves any number of strata without a table of all their blocks.
    """
    group = jnp.where(enrolled, stratum, jnp.iinfo(stratum.dtype).max)
    clock = jnp.zeros(group.shape) if enrolment_time is None else enrolment_time
    order = jnp.lexsort((clock, group))

    def size_of(stratum: Int[Array, ""], block: Int[Array, ""]) -> Int[Array, ""]:
        drawn = jax.random.randint(address(key, stratum, block, _SIZE), (), 0, len(block_sizes))
        return block_sizes[drawn]

    def deal(
        last: tuple[Int[Array, ""], _Place], group: Int[Array, ""]
    ) -> tuple[tuple[Int[Array, ""], _Place], _Place]:
        last_group, at = last
        new_stratum = group != last_group
        new_block = new_stratum | (at.place + 1 == at.size)
        block = jnp.where(new_stratum, 0, at.block + new_block)
        place = jnp.where(new_block, 0, at.place + 1)
        here = _Place(block, place, size_of(group, block))
        return (group, here), here

    nobody = _Place(*(jnp.zeros((), block_sizes.dtype) for _ in range(3)))
    start = (jnp.full((), -1, group.dtype), nobody)
    _, dealt = jax.lax.scan(deal, start, group[order])
    back = jnp.argsort(order)
    return jax.tree.map(lambda sorted_values: sorted_values[back], dealt)
