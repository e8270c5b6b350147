"""Names as numbers, and keys of caches."""

import hashlib
from typing import Any


def name_hash(name: str) -> int:
    """A 31-bit number that stands for `name` in a key, the same in every process."""
    digest = hashlib.blake2s(name.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") & 0x7FFFFFFF


class Keyed:
    """A value as part of a cache's key: by its own hash, or by what it is where it has none, such
    as one with arrays in it."""

    def __init__(self, value: Any):
        self.value = value
        try:
            self._hash, self._own = hash(value), True
        except TypeError:
            self._hash, self._own = id(value), False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Keyed) or self._own is not other._own:
            return False
        return self.value == other.value if self._own else self.value is other.value

    def __hash__(self) -> int:
        return self._hash
