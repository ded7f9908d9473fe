"""Checks of boxes whose messages say which image and which box."""

from torch import Tensor

from rebalance.errors import InputError


def check_boxes(
    boxes: Tensor, noun: str, image: int | str | None = None, *, with_area: bool = False
) -> None:
    """Raise unless ``boxes`` is a float [N, 4] of finite, not inverted xyxy boxes.

    Boxes that reach outside an image, and none at all, are fine. Reading the verdict waits for the
    device once.

    Args:
        boxes: [N, 4] xyxy.
        noun: what a message calls one of them.
        image: how messages name the image; None leaves it out.
        with_area: boxes without width or height are refused too.

    Raises:
        InputError: the first bad box, by image and position, and what is wrong with it.
        TypeError: not floating point.
    """
    if not boxes.is_floating_point():
        raise TypeError(f"{noun} coordinates must be floating point, got {boxes.dtype}")
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise InputError(f"{noun} coordinates must be [N, 4] xyxy, got {list(boxes.shape)}")
    # nan fails every comparison; infinities need a test of their own.
    low, high = boxes[:, :2], boxes[:, 2:]
    ordered = (high > low) if with_area else (high >= low)
    fine = (ordered & low.isfinite() & high.isfinite()).all(1)
    if bool(fine.all()):
        return
    position = int((~fine).nonzero()[0])
    values = boxes[position].tolist()
    where = f"{noun} {position}" if image is None else f"image {image}, {noun} {position}"
    if not bool(boxes[position].isfinite().all()):
        problem = "not finite"
    else:
        axis = "y" if bool(ordered[position, 0]) else "x"
        problem = f"{axis}2 {'<=' if with_area else '<'} {axis}1"
    raise InputError(f"{where}: {problem} in {values}")
