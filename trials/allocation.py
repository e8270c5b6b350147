"""The ratio in which subjects are shared out among arms."""

from collections.abc import Sequence


def check_allocation(allocation: Sequence[int], block_sizes: Sequence[int] = ()) -> list[str]:
    """What is wrong with an allocation ratio and the block sizes for it (empty: nothing)."""
    if len(allocation) < 2 or any(share < 1 for share in allocation):
        found = list(allocation)
        return [f"allocation: two or more arms, each a whole number of 1 or more; found {found}"]
    whole = sum(allocation)
    wrong = [size for size in block_sizes if size < 1 or size % whole]
    if wrong:
        return [
            f"block sizes: multiples of {whole} (the sum of the allocation ratio); found {wrong}"
        ]
    return []
