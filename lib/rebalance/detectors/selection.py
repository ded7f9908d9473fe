"""From scored boxes to detections: threshold, non-maximum suppression, the best few."""

from torch import Tensor
from torchvision.ops import batched_nms

from rebalance.detectors.box_coder import BoxCoder

Detections = dict[str, Tensor]


def clip_boxes(boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """[..., 4] boxes cut to the image of (height, width) pixels."""
    height, width = image_size
    limits = boxes.new_tensor([width, height, width, height])
    return boxes.clamp(min=0).minimum(limits)


def select_detections(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    image_size: tuple[int, int],
    nms_iou: float,
    max_detections: int,
) -> Detections:
    """Clip, drop empty boxes, suppress per class, keep the highest scores.

    Args:
        boxes: [K, 4] xyxy.
        scores: [K].
        labels: [K] int64; boxes of different labels never suppress each other.
        image_size: (height, width).
        nms_iou: a box that overlaps a better one by more is dropped.
        max_detections: most boxes to return.

    Returns:
        "boxes" [D, 4], "scores" [D] in falling order, "labels" [D].
    """
    boxes = clip_boxes(boxes, image_size)
    solid = ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])).nonzero().squeeze(1)
    boxes, scores, labels = boxes[solid], scores[solid], labels[solid]
    keep = batched_nms(boxes, scores, labels, nms_iou)[:max_detections]
    return {"boxes": boxes[keep], "scores": scores[keep], "labels": labels[keep]}


def top_of_level(
    coder: BoxCoder,
    scores: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    score_threshold: float,
    num: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``num`` highest (anchor, class) scores of a level above the threshold, decoded.

    Args:
        coder: of the deltas.
        scores: [N, C].
        deltas: [N, 4].
        anchors: [N, 4] xyxy.
        score_threshold: scores must exceed it.
        num: most boxes to return.

    Returns:
        boxes [K, 4], scores [K], labels [K] in 1 ... C.
    """
    flat = scores.flatten()
    best, positions = flat.topk(min(num, len(flat)))
    keep = (best > score_threshold).nonzero().squeeze(1)
    best, positions = best[keep], positions[keep]
    rows = positions // scores.shape[1]
    labels = positions % scores.shape[1] + 1
    return coder.decode(deltas[rows], anchors[rows]), best, labels
