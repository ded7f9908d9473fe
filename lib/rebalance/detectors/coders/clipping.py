"""Boxes cut to their images."""

from torch import Tensor


def clip_boxes(boxes: Tensor, sizes: Tensor, *, margin: float = 0.0) -> Tensor:
    """Boxes cut to [0, width - margin] x [0, height - margin].

    Args:
        boxes: [..., 4] xyxy, pixels.
        sizes: [..., 2] (height, width) of each box's image, or anything that broadcasts to it: [2]
            for one image, [B, 1, 2] for boxes [B, K, 4], ``sizes[image]`` for a flat batch.
        margin: 1 for FoveaBox as published, where a corner is the last pixel's index; else 0.
    """
    limits = (sizes.flip(-1) - margin).to(boxes.dtype).repeat((1,) * (sizes.dim() - 1) + (2,))
    return boxes.clamp(min=0).minimum(limits)
