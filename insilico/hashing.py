"""Names as numbers."""

import hashlib


def name_hash(name: str) -> int:
    """A 31-bit number that stands for `name` in a key, the same in every process."""
    digest = hashlib.blake2s(name.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") & 0x7FFFFFFF
