"""What the positives that a detector is trained on look like (bbgen, section 5).

Their IoU with the ground truth (Fig. 5), where their top-left corners lie relative to it (Fig. 6),
their classes, and how many there are (Tables 4 and 5).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rebalance.boxes import paired_iou
from rebalance.errors import InputError

REFERENCE_BOX = (0.3, 0.3, 0.6, 0.6)
"""xyxy; the box that ground truths are moved and scaled to in bbgen Fig. 6."""

IOU_EDGES = tuple(round(0.5 + 0.05 * step, 2) for step in range(11))


class CornerShares(NamedTuple):
    """Shares, adding up to 1, of top-left corners by where they lie; nan without corners.

    Attributes:
        inside: right of and below the reference's corner (inside the reference).
        outside: left of and above it.
        mixed: in one of the two other quadrants, or level with the corner.
    """

    inside: float
    outside: float
    mixed: float


def relative_corners(
    boxes: Tensor, gt_boxes: Tensor, reference: Sequence[float] = REFERENCE_BOX
) -> Tensor:
    """[N, 2] xy of the top-left corners once each ground truth is mapped to ``reference``.

    Args:
        boxes: [N, 4] xyxy.
        gt_boxes: [N, 4] xyxy with area, row i belongs to box i.
        reference: xyxy.
    """
    gt = gt_boxes.double()
    target = torch.tensor(reference, dtype=torch.float64, device=gt.device)
    scale = (target[2:] - target[:2]) / (gt[:, 2:] - gt[:, :2])
    return target[:2] + (boxes[:, :2].double() - gt[:, :2]) * scale


def corner_shares(points: Tensor, reference: Sequence[float] = REFERENCE_BOX) -> CornerShares:
    """Shares of the quadrants around the reference's top-left corner among points [N, 2]."""
    if len(points) == 0:
        return CornerShares(float("nan"), float("nan"), float("nan"))
    corner = torch.tensor(reference[:2], dtype=points.dtype, device=points.device)
    inside = float((points > corner).all(dim=1).double().mean())
    outside = float((points < corner).all(dim=1).double().mean())
    return CornerShares(inside, outside, 1 - inside - outside)


class ForegroundStatistics:
    """Sums over batches; ``add`` one batch after the other, then read.

    Args:
        num_classes: C.
        iou_edges: ascending edges of the IoU histogram; the last bin includes its upper edge.
        max_points: corners kept for drawing, the first that come.

    Attributes:
        num_batches: batches added.
        num_positives: positives added.
        iou_counts: [B] int64, positives per IoU bin.
        class_counts: [C] int64, positives of class c at position c - 1.
        batches_with_class: [C] int64, batches with a positive of the class.
        points: [K, 2] float64, see ``relative_corners``.
    """

    def __init__(
        self,
        num_classes: int,
        iou_edges: Sequence[float] = IOU_EDGES,
        max_points: int = 2_500,
    ) -> None:
        self.iou_edges = torch.tensor(iou_edges, dtype=torch.float64)
        if len(iou_edges) < 2 or not bool((self.iou_edges.diff() > 0).all()):
            raise InputError(f"iou_edges must be two or more and ascending, got {list(iou_edges)}")
        self.max_points = max_points
        self.num_batches = 0
        self.num_positives = 0
        self.iou_counts = torch.zeros(len(iou_edges) - 1, dtype=torch.int64)
        self.class_counts = torch.zeros(num_classes, dtype=torch.int64)
        self.batches_with_class = torch.zeros(num_classes, dtype=torch.int64)
        self.points = torch.zeros(0, 2, dtype=torch.float64)

    def add(self, boxes: Tensor, gt_boxes: Tensor, labels: Tensor) -> None:
        """Add the positives of one batch.

        Args:
            boxes: [P, 4] xyxy, the RoIs that train; those without overlap with their ground truth
                and those outside the edges are counted, but in no bin.
            gt_boxes: [P, 4] xyxy, the ground truth of each.
            labels: [P] int64, 1 ... C.

        Raises:
            InputError: the three do not belong together, or a label is outside 1 ... C.
        """
        num_classes = len(self.class_counts)
        if boxes.shape != gt_boxes.shape or labels.shape != boxes.shape[:1]:
            raise InputError(
                "boxes, gt_boxes and labels must be [P, 4], [P, 4] and [P], got "
                f"{list(boxes.shape)}, {list(gt_boxes.shape)} and {list(labels.shape)}"
            )
        boxes, gt_boxes, labels = boxes.detach().cpu(), gt_boxes.cpu(), labels.cpu()
        if len(labels) and not 1 <= int(labels.min()) <= int(labels.max()) <= num_classes:
            raise InputError(f"labels must be in 1 ... {num_classes}, got {labels.tolist()}")
        self.num_batches += 1
        self.num_positives += len(boxes)
        ious = paired_iou(boxes.double(), gt_boxes.double())
        self.iou_counts += torch.histogram(ious, bins=self.iou_edges).hist.long()
        counts = torch.bincount(labels - 1, minlength=num_classes)
        self.class_counts += counts
        self.batches_with_class += counts > 0
        missing = self.max_points - len(self.points)
        points = relative_corners(boxes[:missing], gt_boxes[:missing])
        self.points = torch.cat([self.points, points])

    @property
    def mean_positives(self) -> float:
        """Positives per batch; nan without batches."""
        return self.num_positives / self.num_batches if self.num_batches else float("nan")

    @property
    def iou_shares(self) -> Tensor:
        """[B] float64, share of all positives in each IoU bin; nan without positives."""
        return self.iou_counts.double() / (self.num_positives or float("nan"))

    @property
    def mean_class_counts(self) -> Tensor:
        """[C] float64, positives of each class per batch; nan without batches."""
        return self.class_counts.double() / (self.num_batches or float("nan"))
