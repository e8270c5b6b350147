"""The ratio in which subjects are shared out among arms, or the sequences of a crossover."""

from collections.abc import Sequence

from trials.config import TrialConfig


def allocation_of(config: TrialConfig) -> tuple[int, ...]:
    """Relative size of each arm, or of each sequence of a crossover, of which none is larger."""
    if config.trial.crossover is not None:
        return (1,) * len(config.trial.crossover.sequences)
    shares = config.trial.randomisation.allocation or {}
    return tuple(shares.get(name, 1) for name in config.arms)


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
