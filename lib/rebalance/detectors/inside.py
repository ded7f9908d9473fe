"""Which candidates of a grid take part at all: those of the image, not of its padding."""

from typing import NamedTuple

import torch
from torch import Tensor

from rebalance.detectors.canvas import Size
from rebalance.errors import InputError

REGIONS = ("image", "padded", "canvas")
PADDED_MULTIPLE = 32


class Inside(NamedTuple):
    """Candidates of one image that take part.

    Attributes:
        rows: [n] int64, ascending positions among the image's candidates.
        level_sizes: how many of them lie on each pyramid level.
    """

    rows: Tensor
    level_sizes: tuple[int, ...]


class InsideRule:
    """Decides by the candidate's centre, and on request by its borders.

    Answers are kept, because images share a few sizes; only the first one of a size waits for the
    device.

    Args:
        region: where the centre must lie: in the "image"; in the image "padded" to the next
            multiple of 32 pixels, which is what mmdetection's valid flags amount to for anchors
            centred on the corners of cells; or anywhere on the "canvas" of the batch.
        border: how many pixels a candidate may reach beyond the image; None: any number.

    Raises:
        InputError: an unknown region.
    """

    def __init__(self, region: str = "image", border: float | None = None) -> None:
        if region not in REGIONS:
            raise InputError(f"region must be one of {REGIONS}, got {region!r}")
        self.region, self.border = region, border
        self._known: dict[tuple[object, ...], Inside | None] = {}

    def __call__(
        self, boxes: Tensor, level_sizes: tuple[int, ...], size: Size, canvas: Size
    ) -> Inside | None:
        """Those of an image's candidates [n, 4] that take part; None: all do."""
        if self.border is None and (self.region == "canvas" or self._covers(size, canvas)):
            return None
        key = (boxes.device, level_sizes, size, canvas)
        if key not in self._known:
            if len(self._known) >= 256:
                self._known.clear()
            self._known[key] = self._decide(boxes.cpu(), level_sizes, size, boxes.device)
        return self._known[key]

    def _covers(self, size: Size, canvas: Size) -> bool:
        height, width = self._reach(size)
        return height >= canvas[0] and width >= canvas[1]

    def _reach(self, size: Size) -> Size:
        if self.region == "image":
            return size
        step = PADDED_MULTIPLE
        return -(-size[0] // step) * step, -(-size[1] // step) * step

    def _decide(
        self, boxes: Tensor, level_sizes: tuple[int, ...], size: Size, device: torch.device
    ) -> Inside | None:
        x1, y1, x2, y2 = boxes.unbind(1)
        keep = torch.ones(len(boxes), dtype=torch.bool)
        if self.region != "canvas":
            height, width = self._reach(size)
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            keep &= (x >= 0) & (x < width) & (y >= 0) & (y < height)
        if self.border is not None:
            keep &= (x1 >= -self.border) & (y1 >= -self.border)
            keep &= (x2 < size[1] + self.border) & (y2 < size[0] + self.border)
        if bool(keep.all()):
            return None
        sizes = tuple(int(level.sum()) for level in keep.split(list(level_sizes)))
        return Inside(keep.nonzero().squeeze(1).to(device), sizes)
