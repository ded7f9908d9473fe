"""What travels through a detector.

The batch is laid flat: rows of all images end to end, those of one image together, images in order.
One glossary for all shapes in this package:

====  =================================================================================
``B``  images of the batch
``G``  ground truths of the batch
``N``  candidates of the batch: anchors, points, grid cells or RoIs
``M``  candidates that take part in a loss, after assignment and sampling
``P``  positives among them
``C``  classes, labelled 1 ... C; 0 is the background
``K``  sets of box deltas or masks per candidate: C, or 1 when they are the same for all classes
====  =================================================================================

Boxes are xyxy in pixels of the network's input.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import roi_align

from rebalance.boxes import box_centers, centerness, paired_iou
from rebalance.detectors.canvas import Size
from rebalance.detectors.coders import Coder, DeltaCoder
from rebalance.distributed import gather_rows
from rebalance.errors import InputError
from rebalance.losses.reduction import loss_dtype


class Truths(NamedTuple):
    """Ground truths of a batch.

    Attributes:
        boxes: [G, 4].
        labels: [G] int64, 1 ... C.
        image: [G] int64.
        counts: ground truths of each image.
        ignored: per image [I, 4], crowd or difficult regions.
        sizes: of each image, without padding.
        ids: of each image.
        masks: [G, H, W] uint8 on the canvas; None when the data were loaded without.
    """

    boxes: Tensor
    labels: Tensor
    image: Tensor
    counts: tuple[int, ...]
    ignored: list[Tensor]
    sizes: list[Size]
    ids: list[Any]
    masks: Tensor | None = None

    @property
    def starts(self) -> list[int]:
        """Row of the first ground truth of each image."""
        return _starts(self.counts)


def make_truths(targets: Sequence[Mapping[str, Any]], canvas: Size) -> Truths:
    """Lay the targets of a batch's images flat.

    Args:
        targets: per image "boxes" [G, 4], "labels" [G], "ignored_boxes" [I, 4], "image_size",
            "image_id" and, for masks, "masks" [G, h, w] of the image's size.
        canvas: (height, width) that all images are padded to.
    """
    counts = tuple(len(target["boxes"]) for target in targets)
    device = targets[0]["boxes"].device
    masks = None
    if "masks" in targets[0]:
        masks = torch.zeros(sum(counts), *canvas, dtype=torch.uint8, device=device)
        for target, start in zip(targets, _starts(counts), strict=True):
            num, height, width = target["masks"].shape
            masks[start : start + num, :height, :width] = target["masks"]
    return Truths(
        torch.cat([target["boxes"] for target in targets]),
        torch.cat([target["labels"] for target in targets]),
        _image_column(counts, device),
        counts,
        [target["ignored_boxes"] for target in targets],
        [tuple(target["image_size"]) for target in targets],
        [target["image_id"] for target in targets],
        masks,
    )


class Candidates(NamedTuple):
    """Boxes that predictions belong to.

    Attributes:
        boxes: [N, 4].
        image: [N] int64.
        counts: candidates of each image.
        level_sizes: of one image, candidates of each pyramid level; None: they have no levels.
    """

    boxes: Tensor
    image: Tensor
    counts: tuple[int, ...]
    level_sizes: tuple[int, ...] | None = None

    @property
    def starts(self) -> list[int]:
        """Row of the first candidate of each image."""
        return _starts(self.counts)


def make_candidates(boxes: Sequence[Tensor]) -> Candidates:
    """The boxes [N_i, 4] of each image, laid flat."""
    counts = tuple(len(of_image) for of_image in boxes)
    return Candidates(torch.cat(list(boxes)), _image_column(counts, boxes[0].device), counts)


def repeat_candidates(boxes: Tensor, level_sizes: Sequence[int], num_images: int) -> Candidates:
    """The same grid [A, 4] for every image of a batch."""
    counts = (len(boxes),) * num_images
    return Candidates(
        boxes.repeat(num_images, 1), _image_column(counts, boxes.device), counts, tuple(level_sizes)
    )


class Predictions(NamedTuple):
    """A head's outputs.

    Attributes:
        logits: [N, C], or [N, C + 1] with the background first; None for a head without classes.
        deltas: [N, K, 4] encoded boxes.
        extra: by name, one row per candidate: centerness [N], iou [N], coefficients [N, D],
            mask_logits [N, K, h, w], ...
        shared: by name, one row per image: prototypes, mask features, ...
    """

    logits: Tensor | None = None
    deltas: Tensor | None = None
    extra: Mapping[str, Tensor] = {}
    shared: Mapping[str, Tensor] = {}

    def take(self, rows: Tensor) -> "Predictions":
        """Those of some candidates, [M] int64."""
        return Predictions(
            None if self.logits is None else self.logits[rows],
            None if self.deltas is None else self.deltas[rows],
            {name: value[rows] for name, value in self.extra.items()},
            self.shared,
        )


class Matches(NamedTuple):
    """Candidates that take part in a loss.

    Attributes:
        rows: [M] int64 into the candidates; rows of one image stand together, images in order.
        gt: [M] int64 into the ground truths; -1: negative.
        ious: [M] overlap with the assigned (for negatives: the best) ground truth.
    """

    rows: Tensor
    gt: Tensor
    ious: Tensor

    def at(self, rows: Tensor) -> "Matches":
        """The same matches of candidates that were laid out anew, ``rows`` [M] among them."""
        return self._replace(rows=rows)


class Matched:
    """Predictions beside their targets: whatever a loss may ask for, made when it is asked for.

    A loss names its inputs by these properties. Those of boxes and masks have a row for each
    positive, those of classes for each candidate that takes part.

    Args:
        predictions: of all N candidates, or of the M that take part (``taken``).
        candidates: all N.
        truths: of the batch.
        matches: which candidates take part, with which ground truth.
        coder: of the deltas.
        taken: the predictions are already those of the matches' rows.
        given: further named inputs that only the step knows.
        of_boxes: of masks whose rows are the positives of a box step, what that step trained on.
    """

    def __init__(
        self,
        predictions: Predictions,
        candidates: Candidates,
        truths: Truths,
        matches: Matches,
        coder: Coder,
        *,
        taken: bool = False,
        given: Mapping[str, Tensor] | None = None,
        of_boxes: "Trained | None" = None,
    ) -> None:
        self.predictions = predictions if taken else predictions.take(matches.rows)
        self.candidates, self.truths, self.matches, self.coder = candidates, truths, matches, coder
        self.given, self.of_boxes = given or {}, of_boxes

    # --- who is who -------------------------------------------------------------------------

    @property
    def num_images(self) -> int:
        """B."""
        return len(self.truths.counts)

    @cached_property
    def image(self) -> Tensor:
        """[M] int64."""
        return self.candidates.image[self.matches.rows]

    @cached_property
    def is_positive(self) -> Tensor:
        """[M] bool."""
        return self.matches.gt >= 0

    @cached_property
    def positives(self) -> Tensor:
        """[P] int64, places of the positives among the M. Their number is read from the device."""
        return self.is_positive.nonzero().squeeze(1)

    @cached_property
    def gt(self) -> Tensor:
        """[P] int64, ground truth of each positive."""
        return self.matches.gt[self.positives]

    # --- classes ----------------------------------------------------------------------------

    @property
    def logits(self) -> Tensor:
        """[M, C] or [M, C + 1]."""
        assert self.predictions.logits is not None
        return self.predictions.logits

    @cached_property
    def labels(self) -> Tensor:
        """[M] int64, 0 for negatives."""
        if len(self.truths.labels) == 0:
            return torch.zeros_like(self.matches.gt)
        labels = self.truths.labels[self.matches.gt.clamp(min=0)]
        return torch.where(self.is_positive, labels, 0)

    @cached_property
    def targets(self) -> Tensor:
        """[M, C] float, 1 at the class of a positive, 0 elsewhere."""
        classes = torch.arange(1, self.logits.shape[1] + 1, device=self.labels.device)
        return (self.labels[:, None] == classes).to(self.logits.dtype)

    @cached_property
    def positive_labels(self) -> Tensor:
        """[P] int64, 1 ... C."""
        return self.labels[self.positives]

    @cached_property
    def positive_logits(self) -> Tensor:
        """[P, C] or [P, C + 1]."""
        return self.logits[self.positives]

    # --- boxes ------------------------------------------------------------------------------

    @cached_property
    def reference_boxes(self) -> Tensor:
        """[P, 4] the candidates that the deltas refer to."""
        return self.candidates.boxes[self.matches.rows[self.positives]]

    @cached_property
    def points(self) -> Tensor:
        """[P, 2] x and y of the centres of these candidates."""
        return box_centers(self.reference_boxes)

    @cached_property
    def target_boxes(self) -> Tensor:
        """[P, 4] ground truths."""
        return self.truths.boxes[self.gt]

    @cached_property
    def pred_deltas(self) -> Tensor:
        """[P, 4] of the class of each positive."""
        assert self.predictions.deltas is not None
        return of_class(self.predictions.deltas[self.positives], self.positive_labels)

    @cached_property
    def target_deltas(self) -> Tensor:
        """[P, 4]."""
        return self.coder.encode(self.target_boxes, self.reference_boxes)

    @cached_property
    def pred_boxes(self) -> Tensor:
        """[P, 4] decoded, with a gradient."""
        return self.coder.decode(self.pred_deltas, self.reference_boxes)

    @cached_property
    def ious(self) -> Tensor:
        """[P] IoU of each decoded box with its ground truth, detached."""
        return paired_iou(self.pred_boxes.detach(), self.target_boxes)

    @cached_property
    def unit_pred_boxes(self) -> Tensor:
        """[P, 4] decoded around the unit square, with a gradient; see ``DeltaCoder.decode_unit``.

        Raises:
            InputError: the coder is not of deltas.
        """
        return self._unit_boxes(self.pred_deltas)

    @cached_property
    def unit_target_boxes(self) -> Tensor:
        """[P, 4] the same of the target deltas."""
        return self._unit_boxes(self.target_deltas)

    @cached_property
    def unit_ious(self) -> Tensor:
        """[P] IoU of these two, detached."""
        return paired_iou(self.unit_pred_boxes.detach(), self.unit_target_boxes)

    def _unit_boxes(self, deltas: Tensor) -> Tensor:
        if not isinstance(self.coder, DeltaCoder):
            raise InputError(f"unit boxes need the coder 'deltas', got {type(self.coder).__name__}")
        return self.coder.decode_unit(deltas)

    @cached_property
    def centerness_targets(self) -> Tensor:
        """[P] how central each candidate lies in its ground truth, in [0, 1] (FCOS, Eq. 3)."""
        return centerness(self.points, self.target_boxes)

    @property
    def iou_targets(self) -> Tensor:
        """[P], ``ious``: what a head that predicts the quality of its boxes should say (PAA)."""
        return self.ious

    @cached_property
    def quality_targets(self) -> Tensor:
        """[M, C] float, at the class of a positive its IoU, 0 elsewhere."""
        return self.at_classes(self.ious)

    def at_classes(self, values: Tensor) -> Tensor:
        """[P] values of the positives -> [M, C], at the class of each, 0 elsewhere.

        At least float32: bfloat16 would make values equal that are not.
        """
        placed = torch.zeros_like(self.logits, dtype=loss_dtype(self.logits))
        classes = self.positive_labels - 1
        return placed.index_put((self.positives, classes), values.to(placed.dtype))

    # --- masks ------------------------------------------------------------------------------

    @property
    def num_masks(self) -> int:
        """Masks that enter a loss: P."""
        return len(self.positives)

    @cached_property
    def mask_logits(self) -> Tensor:
        """[P, h, w] of the class of each positive."""
        masks = self.predictions.extra["mask_logits"][self.positives]
        return of_class(masks, self.positive_labels)

    @cached_property
    def mask_targets(self) -> Tensor:
        """[P, h, w] in {0, 1}: the ground truth's mask, cut out and resized to the logits.

        RoIAlign of the bitmap, at least one half (Mask R-CNN, He et al., ICCV 2017, section 3).
        """
        shares = self.cut_masks(aligned=True)
        return (shares >= 0.5).to(shares.dtype)

    def cut_masks(self, aligned: bool) -> Tensor:
        """[P, h, w] in [0, 1], RoIAlign of the ground truths' bitmaps; see ``RoiPooling``."""
        assert self.truths.masks is not None
        rois = torch.cat([self.gt[:, None].to(self.reference_boxes), self.reference_boxes], dim=1)
        bitmaps = self.truths.masks[:, None].to(rois.dtype)
        size = self.mask_logits.shape[-2:]
        return roi_align(bitmaps, rois, size, aligned=aligned)[:, 0]

    @cached_property
    def mask_ious(self) -> Tensor:
        """[P] predicted IoU of the mask of each positive's class."""
        ious = self.predictions.extra["mask_ious"][self.positives]
        return of_class(ious, self.positive_labels)

    def __getattr__(self, name: str) -> Any:
        """What the step gave, or a further output of the head at the positives, by name."""
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self.given:
            return self.given[name]
        if name in self.predictions.extra:
            return self.predictions.extra[name][self.positives]
        raise AttributeError(f"no head or step gives {name!r}")


class Trained(NamedTuple):
    """What a step has trained on, and its losses by name, not yet weighted by the step."""

    matched: Matched
    losses: dict[str, Tensor]


class SoftMatched(Matched):
    """Targets of masks as torchvision cuts them: shares of cells, half a pixel beside the RoI."""

    @cached_property
    def mask_targets(self) -> Tensor:
        """[P, h, w] in [0, 1]."""
        return self.cut_masks(aligned=False)


class Gathered(Matched):
    """The same of all ranks, rows of rank after rank: for losses over the whole batch.

    What belongs to the candidates or the positives is gathered when it is asked for, with its
    gradient (`rebalance.distributed.gather_rows`), the rest is made of it. So all ranks must ask
    for the same, in the same order; they then have the same values.

    Each rank receives the logits of the others (4 bytes each) and 8 bytes for each of their
    candidates, and on the way back sums the gradients of all logits over the ranks.

    Args:
        local: of this rank.
    """

    def __init__(self, local: Matched) -> None:
        super().__init__(
            local.predictions, local.candidates, local.truths, local.matches, local.coder,
            taken=True, given=local.given, of_boxes=local.of_boxes,
        )  # fmt: skip
        self.local = local
        self._known = dict[str, Tensor]()

    def _gathered(self, name: str) -> Tensor:
        if name not in self._known:
            self._known[name] = gather_rows(getattr(self.local, name))
        return self._known[name]

    labels = property(lambda self: self._gathered("labels"))
    is_positive = property(lambda self: self._gathered("labels") > 0)
    logits = property(lambda self: self._gathered("logits"))
    positive_labels = property(lambda self: self._gathered("positive_labels"))
    positive_logits = property(lambda self: self._gathered("positive_logits"))
    reference_boxes = property(lambda self: self._gathered("reference_boxes"))
    target_boxes = property(lambda self: self._gathered("target_boxes"))
    pred_deltas = property(lambda self: self._gathered("pred_deltas"))
    mask_logits = property(lambda self: self._gathered("mask_logits"))
    mask_targets = property(lambda self: self._gathered("mask_targets"))

    def __getattr__(self, name: str) -> Any:
        """Further inputs, see ``Matched``."""
        if name.startswith("_") or name == "local":
            raise AttributeError(name)
        return self._gathered(name)


def sizes_on(sizes: Sequence[Size], device: torch.device) -> Tensor:
    """[B, 2] (height, width) of each image."""
    return torch.tensor(sizes).to(device, non_blocking=True)


def count_each(numbers: Tensor, num: int) -> tuple[int, ...]:
    """How often each of 0 ... num - 1 is among [R] int64; bincount would wait once more."""
    each = torch.arange(num, device=numbers.device)
    return tuple((numbers == each[:, None]).sum(dim=1).tolist())


def of_class(values: Tensor, labels: Tensor) -> Tensor:
    """[R, K, ...] and labels [R] in 1 ... C -> [R, ...], those of each row's class."""
    if values.shape[1] == 1:
        return values[:, 0]
    return values[torch.arange(len(values), device=values.device), labels - 1]


def _starts(counts: Sequence[int]) -> list[int]:
    return [sum(counts[:index]) for index in range(len(counts))]


def _image_column(counts: Sequence[int], device: torch.device) -> Tensor:
    column = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts, dtype=torch.int64))
    return column.to(device, non_blocking=True)
