"""Sizes of images, and of the canvas that a batch of them shares."""

from collections.abc import Sequence

Size = tuple[int, int]  # (height, width), pixels
CANVAS_MULTIPLE = 32  # the backbones' largest stride


def canvas_of(sizes: Sequence[Size], step: int = CANVAS_MULTIPLE) -> Size:
    """Smallest canvas that holds all images, in multiples of ``step``."""
    height, width = (max(sides) for sides in zip(*sizes, strict=True))
    return -(-height // step) * step, -(-width // step) * step
