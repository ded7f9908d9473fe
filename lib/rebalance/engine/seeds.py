"""Randomness as a pure function of (seed, iteration, image, purpose).

Nothing depends on what was drawn before, so a resumed training needs no generator state, and an
image is treated alike whichever process has it.
"""

import hashlib

import torch


def seed_of(*key: int | str) -> int:
    """A 63-bit seed from a key; different keys give unrelated seeds."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def keyed_rng(*key: int | str) -> torch.Generator:
    """A CPU generator of its own for a key, such as (seed, iteration, image id, "sampling")."""
    return torch.Generator().manual_seed(seed_of(*key))
