"""Non-maximum suppression of boxes: greedy, soft, fast.

All take boxes of a whole batch laid flat; boxes of different groups (a class or a level of an
image) never suppress each other. A box without area overlaps nothing, itself included: it
suppresses nothing and is never suppressed, here as in torchvision and mmdetection. Whoever does not
want such boxes drops them before, see `box_rows_of_size`.
"""

import torch
from torch import Tensor
from torchvision import ops

from rebalance.boxes import box_sizes, paired_iou
from rebalance.detectors.select.grouping import by_falling_score, order_of_groups, table_of_groups
from rebalance.errors import InputError

# Groups share a call of the operator up to this many boxes. It compares all pairs of a call: on a
# CPU that soon costs more than further calls, on a GPU each further call is a wait.
BOXES_PER_CALL = {"cpu": 256, "cuda": 20_000}

DECAYS = ("linear", "gaussian")


def box_rows_of_size(boxes: Tensor, min_size: float = 0.0) -> Tensor:
    """Rows [R] of the boxes [K, 4] with sides > 0 and >= ``min_size`` pixels."""
    sides = box_sizes(boxes)
    return ((sides > 0) & (sides >= min_size)).all(1).nonzero().squeeze(1)


def nms(boxes: Tensor, scores: Tensor, groups: Tensor, *, iou: float) -> Tensor:
    """Greedy suppression: the best box of a group goes, with all that it overlaps too much; repeat.

    One operator call for many groups: each is shifted to a place of its own. Published code shifts
    group c by c (largest coordinate + 1) in float32, which costs digits with many groups and lets
    boxes with negative coordinates meet their neighbours; here it is float64 and the whole extent.

    Args:
        boxes: [K, 4] xyxy, pixels.
        scores: [K].
        groups: [K] int64.
        iou: a box is dropped if its IoU with a better one that stays is > this.

    Returns:
        [R] int64 rows, by falling score over all groups (equal scores: by row).
    """
    if not len(boxes):
        return groups.new_zeros(0)
    order, place, _ = order_of_groups(scores, groups)
    ordered = boxes[order].double()
    extent = ordered.max() - ordered.min() + 1
    kept = []
    start = 0
    for size in _sizes_of_calls(place, BOXES_PER_CALL.get(boxes.device.type, 20_000)):
        part = slice(start, start + size)
        shifts = (place[part] - place[start]) * extent
        rows = order[part]
        kept.append(rows[ops.nms(ordered[part] + shifts[:, None], scores[rows].double(), iou)])
        start += size
    rows = torch.cat(kept)
    return by_falling_score(rows, scores[rows])[0]


def nms_with_scores(
    boxes: Tensor, scores: Tensor, groups: Tensor, *, iou: float = 0.5
) -> tuple[Tensor, Tensor]:
    """`nms` as all suppressions answer that detections are selected with: rows and scores."""
    rows = nms(boxes, scores, groups, iou=iou)
    return rows, scores[rows]


def _sizes_of_calls(place: Tensor, most: int) -> list[int]:
    """[K] sorted group numbers -> lengths of runs of whole groups of at most ``most`` boxes.

    A larger group is a run of its own.
    """
    if len(place) <= most:
        return [len(place)]
    sizes = [0]
    for count in torch.unique_consecutive(place, return_counts=True)[1].tolist():
        if sizes[-1] and sizes[-1] + count > most:
            sizes.append(0)
        sizes[-1] += count
    return sizes


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    *,
    decay: str = "linear",
    iou: float = 0.3,
    sigma: float = 0.5,
    threshold: float = 0.001,
) -> tuple[Tensor, Tensor]:
    """Soft-NMS: boxes that overlap a better one lose score instead of being dropped.

    Bodla et al., "Soft-NMS: Improving Object Detection With One Line of Code", ICCV 2017.
    All groups take their next best box in the same step.

    Args:
        boxes: [K, 4] xyxy, pixels.
        scores: [K], >= 0.
        groups: [K] int64.
        decay: "linear": s (1 - IoU) where IoU >= ``iou``; "gaussian": s exp(-IoU^2 / sigma).
        iou: of the linear decay.
        sigma: of the Gaussian decay, > 0.
        threshold: boxes whose score falls below are dropped.

    Returns:
        rows [R] int64 and decayed scores [R], falling.

    Raises:
        InputError: unknown decay, sigma not above 0.
    """
    if decay not in DECAYS:
        raise InputError(f"decay of soft_nms must be one of {list(DECAYS)}, got {decay!r}")
    if sigma <= 0:
        raise InputError(f"sigma of soft_nms must be > 0, got {sigma}")
    # Scores only fall, and a box is picked before all with less: these change nothing.
    started = (scores >= threshold).nonzero().squeeze(1)
    if not len(started):
        return started, scores[started]
    table = table_of_groups(scores[started], groups[started])
    filled = table >= 0
    table = started[table]
    cells = boxes[table]  # [G, n, 4]
    pending = torch.where(filled, scores[table], -torch.inf)
    final = torch.full_like(pending, -torch.inf)
    for _ in range(table.shape[1]):
        best, picked = pending.max(1, keepdim=True)
        # A group that is through offers -inf, which must not replace the score of its first box.
        final.scatter_reduce_(1, picked, best, "amax")
        pending.scatter_(1, picked, -torch.inf)
        overlaps = paired_iou(cells.gather(1, picked[..., None].expand(-1, -1, 4)), cells)
        if decay == "linear":
            factors = torch.where(overlaps >= iou, 1 - overlaps, 1)
        else:
            factors = torch.exp(-overlaps.square() / sigma)
        pending = torch.where(pending > 0, pending * factors, pending)
    stays = filled & (final >= threshold)
    return by_falling_score(table[stays], final[stays])


def fast_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, *, iou: float, top_k: int = 200
) -> Tensor:
    """Fast NMS: a box is dropped if any better one overlaps it too much, dropped itself or not.

    Bolya et al., "YOLACT: Real-time Instance Segmentation", ICCV 2019, Section 3.3. The published
    code compares scores with the threshold after the suppression; as only better boxes suppress,
    leaving out low scores before gives the same.

    Args:
        boxes: [K, 4] xyxy, pixels.
        scores: [K].
        groups: [K] int64.
        iou: largest IoU with a better box of the group.
        top_k: best boxes of each group that take part.

    Returns:
        [R] int64 rows, by falling score over all groups.
    """
    if not len(boxes):
        return groups.new_zeros(0)
    table = table_of_groups(scores, groups, top_k)
    cells = boxes[table]
    overlaps = paired_iou(cells[:, :, None], cells[:, None]).triu(1)  # [G, better, worse]
    # Fillings stand at the end of a line, so that they suppress only each other.
    rows = table[(overlaps.amax(1) <= iou) & (table >= 0)]
    return by_falling_score(rows, scores[rows])[0]


def fast_nms_with_scores(
    boxes: Tensor, scores: Tensor, groups: Tensor, *, iou: float = 0.5, top_k: int = 200
) -> tuple[Tensor, Tensor]:
    """`fast_nms` as all suppressions answer that detections are selected with."""
    rows = fast_nms(boxes, scores, groups, iou=iou, top_k=top_k)
    return rows, scores[rows]
