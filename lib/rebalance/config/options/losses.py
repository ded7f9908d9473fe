"""Losses. Kinds by what they compare, so that a box loss cannot be put where classes are learnt."""

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from rebalance.config.bounds import Count, NonNegative, Positive, Share
from rebalance.config.part import Options, OrName, Part

CountSelf = Literal["one", "step"]


class Loss(Part, noun="loss", given=["reduction"]):
    """Any loss."""

    normaliser: ClassVar[str | None] = None
    """``module:attribute`` of what divides the summed loss in place of a count: same parameters."""

    @classmethod
    def code(cls) -> list[str]:
        """See ``Part``."""
        return super().code() + ([] if cls.normaliser is None else [cls.normaliser])


Per = Literal[
    "positives",
    "samples",
    "positives_of_images",
    "positives_and_images",
    "positives_or_images",
    "positives_and_one",
    "images",
    "masks",
]


class InstanceWeights(Part, noun="instance weights"):
    """Weights of the positives (thesis Table 8.1)."""


class NoWeights(InstanceWeights, name="none", makes="rebalance.losses.balancing:no_weights"):
    """1 for every positive."""


class CenternessWeights(
    InstanceWeights, name="centerness", makes="rebalance.losses.balancing:centerness_weights"
):
    """How central the positive's point lies in its ground truth (FCOS, Eq. 3)."""


class ScoreWeights(InstanceWeights, name="score", makes="rebalance.losses.balancing:score_weights"):
    """The positive's largest score."""


class IouWeights(InstanceWeights, name="iou", makes="rebalance.losses.balancing:iou_weights"):
    """IoU of the positive's predicted box."""


class RankingWeights(
    InstanceWeights, name="ranking", makes="rebalance.losses.balancing:rank_weights"
):
    """By the positive's rank."""

    delta: NonNegative = 0.5
    """Half width of the step in the rank."""
    delta_loc: NonNegative = 0.0
    """Half width of the step in the numerator."""


class Weighted(Options):
    """A loss with a factor."""

    weight: NonNegative = 1.0
    """Factor of the loss."""


class Term(Weighted):
    """How a loss takes part in a sum of losses."""

    per: Per = "positives"
    """What the summed loss is divided by: the number of positives, of all that are sampled, ..."""
    weigh: Annotated[InstanceWeights, OrName()] | None = None
    """Weights of the positives, whose sum takes the place of ``per``; null: all weigh 1."""


# --- classification ---------------------------------------------------------------------------


class ClassLoss(Loss, noun="classification loss"):
    """Learns the class of a candidate."""


class SigmoidLoss(ClassLoss, noun="sigmoid loss"):
    """On one logit at a time; the background has no column."""


class SoftmaxLoss(ClassLoss, noun="softmax loss"):
    """On all logits of a candidate; the first column is the background."""


class SigmoidCrossEntropy(
    SigmoidLoss,
    name="sigmoid_cross_entropy",
    makes="rebalance.losses.classification:sigmoid_cross_entropy_loss",
):
    """Binary cross-entropy of the sigmoid."""


class Focal(SigmoidLoss, name="focal", makes="rebalance.losses.classification:focal_loss"):
    """Cross-entropy times (1 - p_t)^gamma (Lin et al., ICCV 2017; thesis Eq. 3.2)."""

    alpha: Annotated[float, Le(1)] = 0.25
    """Weight of positives, 1 - alpha of negatives; negative for no weights."""
    gamma: NonNegative = 2.0
    """0 is cross-entropy."""


class QualityFocal(
    SigmoidLoss,
    name="quality_focal",
    makes="rebalance.losses.classification:quality_focal_loss",
):
    """|y - p|^beta times cross-entropy with soft targets y (Li et al., NeurIPS 2020)."""

    beta: NonNegative = 2.0
    """0 is cross-entropy."""


class GhmC(SigmoidLoss, name="ghm_c", makes="rebalance.losses.classification:ghm_c_loss"):
    """Cross-entropy over the density of gradients (Li et al., AAAI 2019; thesis Eq. 3.3)."""

    normaliser: ClassVar[str | None] = "rebalance.losses.classification:ghm_c_normaliser"

    bins: Count = 30
    """Of the histogram of gradient norms."""


class SoftmaxCrossEntropy(
    SoftmaxLoss,
    name="softmax_cross_entropy",
    makes="rebalance.losses.classification:softmax_cross_entropy_loss",
):
    """-ln of the softmax at the label."""


# --- boxes ------------------------------------------------------------------------------------


class BoxLoss(Loss, noun="box loss"):
    """Learns the box of a positive, from its deltas, its decoded box, or both."""

    reads: ClassVar[str | None] = None
    """A further output that the head must have for it."""


class L1(BoxLoss, name="l1", makes="rebalance.losses.regression:l1_loss"):
    """|x| of the deltas' errors x."""


class SmoothL1(BoxLoss, name="smooth_l1", makes="rebalance.losses.regression:smooth_l1_loss"):
    """x^2 / (2 beta) up to |x| = beta, then |x| - beta / 2 (Fast R-CNN)."""

    beta: NonNegative = 1.0
    """Where it becomes linear; 0 is L1."""


class DynamicSmoothL1(
    BoxLoss, name="dynamic_smooth_l1", makes="rebalance.losses.regression:dynamic_smooth_l1_loss"
):
    """Smooth L1 with the beta of the box step's ``dynamic`` (Dynamic R-CNN, Eq. 6)."""


class BalancedL1(BoxLoss, name="balanced_l1", makes="rebalance.losses.regression:balanced_l1_loss"):
    """Raises the gradient of inliers (Libra R-CNN; thesis Eq. 3.7-3.9)."""

    alpha: Positive = 0.5
    """Smaller raises the gradient of inliers."""
    gamma: Positive = 1.5
    """Gradient of outliers."""


class FocalL1(BoxLoss, name="focal_l1", makes="rebalance.losses.regression:focal_l1_loss"):
    """Gradient -x ln(beta x) up to 1, flat beyond (EIoU paper, Eq. 8-9)."""

    beta: Annotated[float, Ge(0.36787944117144233), Le(1)] = 0.8
    """Larger suppresses outliers more; 1/e ... 1."""


class Iou(BoxLoss, name="iou", makes="rebalance.losses.regression:iou_loss"):
    """1 - IoU, or its logarithm (thesis Eq. 3.11)."""

    form: Literal["linear", "log"] = "linear"
    """1 - IoU or -ln IoU."""


class Giou(BoxLoss, name="giou", makes="rebalance.losses.regression:giou_loss"):
    """1 - GIoU (thesis Eq. 3.15)."""

    eps: Positive = 1e-7
    """px^2, added to areas."""


class Diou(BoxLoss, name="diou", makes="rebalance.losses.regression:diou_loss"):
    """1 - IoU and the distance of the centres (thesis Eq. 3.16)."""

    eps: Positive = 1e-7
    """px^2, added to areas."""


class Ciou(BoxLoss, name="ciou", makes="rebalance.losses.regression:ciou_loss"):
    """DIoU and the difference of the aspect ratios (thesis Eq. 3.17-3.19)."""

    eps: Positive = 1e-7
    """px^2, added to areas."""
    alpha: Literal["constant", "differentiated"] = "constant"
    """Whether the factor of the aspect ratio is kept out of the gradient (as published) or not."""


class Eiou(BoxLoss, name="eiou", makes="rebalance.losses.regression:eiou_loss"):
    """1 - IoU and the errors of centre, width and height (EIoU paper, Eq. 7)."""


class FocalEiou(BoxLoss, name="focal_eiou", makes="rebalance.losses.regression:focal_eiou_loss"):
    """IoU^gamma EIoU, over the sum of the weights (EIoU paper, Eq. 10-11)."""

    normaliser: ClassVar[str | None] = "rebalance.losses.regression:focal_eiou_normaliser"

    gamma: NonNegative = 0.5
    """Suppresses boxes of low IoU; 0 is EIoU."""
    detach_weight: bool = True
    """Whether IoU^gamma is only a number, as the paper's text says."""


class FocalEiouV1(
    BoxLoss, name="focal_eiou_v1", makes="rebalance.losses.regression:focal_eiou_v1_loss"
):
    """FocalL1 of the EIoU loss (EIoU paper, section 5.4.3)."""

    beta: Annotated[float, Ge(0.36787944117144233), Le(1)] = 0.8
    """Of FocalL1; 1/e ... 1."""


class FocalEiouStar(
    BoxLoss, name="focal_eiou_star", makes="rebalance.losses.regression:focal_eiou_star_loss"
):
    """-(1 - IoU)^gamma ln(IoU) EIoU (EIoU paper, section 5.4.3)."""

    gamma: NonNegative = 0.5
    """Suppresses boxes of high IoU."""
    detach_weight: bool = True
    """Whether the weight is only a number."""


class BoundedIou(BoxLoss, name="bounded_iou", makes="rebalance.losses.regression:bounded_iou_loss"):
    """How far each of cx, cy, w, h alone would let the IoU go (thesis Eq. 3.12-3.14)."""

    beta: NonNegative = 0.2
    """Where smooth L1 becomes linear."""


class Kl(BoxLoss, name="kl", makes="rebalance.losses.regression:kl_loss"):
    """With a predicted variance per coordinate (He et al., CVPR 2019; thesis Eq. 3.10)."""

    reads = "log_variances"

    clipped: bool = False
    """Whether the error is linear beyond 1."""


class IouBalanced(
    BoxLoss, name="iou_balanced", makes="rebalance.losses.regression:iou_balanced_loss"
):
    """w_loc IoU^gamma times smooth L1 (GGIoU paper, Eq. 5-6 with IoU)."""

    gamma: NonNegative = 1.4
    """Exponent of the weight."""
    w_loc: Positive = 1.0
    """Factor of the weight."""
    beta: NonNegative = 1.0
    """Of smooth L1."""
    detach_weight: bool = True
    """Whether the overlap is only a number."""


class GgiouBalanced(
    BoxLoss, name="ggiou_balanced", makes="rebalance.losses.regression:ggiou_balanced_loss"
):
    """w_loc GGIoU^gamma times smooth L1 (GGIoU paper, Eq. 5-6)."""

    gamma: NonNegative = 1.4
    """Exponent of the weight."""
    w_loc: Positive = 1.0
    """Factor of the weight."""
    beta: NonNegative = 1.0
    """Of smooth L1."""
    alpha: Share = 0.3
    """Of GGIoU: share of the centre distance."""
    sigma: Positive = 1 / 6
    """Of GGIoU (its beta): width of the Gaussian, in widths and heights of the overlap."""
    detach_weight: bool = True
    """Whether the overlap is only a number."""


class Carl(BoxLoss, name="carl", makes="rebalance.losses.regression:carl_loss"):
    """Smooth L1 weighed by the score of the true class (Cao et al., CVPR 2020; thesis Eq. 3.20)."""

    reads = "class_scores"

    gamma: NonNegative = 1.0
    """Exponent of the weight."""
    bias: Share = 0.2
    """Weight of a score of 0."""
    beta: NonNegative = 1.0
    """Of smooth L1."""


# --- masks ------------------------------------------------------------------------------------


class MaskLoss(Loss, noun="mask loss"):
    """Learns the mask of a positive."""


class MaskCrossEntropy(
    MaskLoss, name="mask_cross_entropy", makes="rebalance.losses.mask:mask_cross_entropy_loss"
):
    """Binary cross-entropy averaged over the pixels of each mask (Mask R-CNN)."""


class Dice(MaskLoss, name="dice", makes="rebalance.losses.mask:dice_loss"):
    """1 - 2 sum(p t) / (sum(p^2) + sum(t^2)) (V-Net, SOLO)."""

    squared: bool = True
    """Whether the denominator has squares, or p + t (Soerensen-Dice)."""
    smooth: NonNegative = 0.0
    """Added to each of the two sums; SOLOv2's code: 0.001."""


class SizeNormalisedMask(
    MaskLoss, name="size_normalised_mask", makes="rebalance.losses.mask:size_normalised_mask_loss"
):
    """Cross-entropy of masks of the whole image, over the share that the box covers (YOLACT)."""


class SemanticLoss(Loss, noun="semantic loss"):
    """Learns which classes each pixel shows."""


class SemanticCrossEntropy(
    SemanticLoss,
    name="semantic_cross_entropy",
    makes="rebalance.losses.mask:semantic_cross_entropy_loss",
):
    """Binary cross-entropy of every class at every pixel (YOLACT, section 3.3)."""

    empty_images: bool = True
    """Whether images without objects teach what background is; mmdetection leaves them out."""


class MaskIouLoss(Loss, noun="mask IoU loss"):
    """Learns the IoU of a predicted mask."""


class MaskIou(MaskIouLoss, name="mask_iou", makes="rebalance.losses.mask:mask_iou_loss"):
    """Squared error, where there is an IoU to learn (Mask Scoring R-CNN, section 3.3)."""

    normaliser: ClassVar[str | None] = "rebalance.losses.mask:mask_iou_normaliser"


# --- ranking ----------------------------------------------------------------------------------


class RankingLoss(Loss, noun="ranking loss", given=["max_positives", "check"]):
    """On all logits of a batch at once."""


class CoupledRankingLoss(Loss, noun="coupled ranking loss", given=["check", "max_positives"]):
    """On all logits of a batch and the localisation errors of its positives."""


class Ap(RankingLoss, name="ap", makes="rebalance.losses.ranking:ap_loss"):
    """1 - AP (Chen et al., CVPR 2019; thesis Eq. 6.2-6.15)."""

    delta: NonNegative = 1.0
    """Half width of the smoothed step; 0 is the unit step."""
    interpolated: bool = True
    """Whether precision is the largest at or below a score (published code) or as in Eq. 6.2."""
    count_self: CountSelf = "one"
    """What a positive adds to its own rank: 1 (published) or the step at 0."""


class RankSort(RankingLoss, name="rank_sort", makes="rebalance.losses.ranking:rank_sort_loss"):
    """Positives above negatives, and sorted by their IoU (thesis Eq. 8.2-8.8)."""

    delta: NonNegative = 0.5
    """Half width of the smoothed step; 0 is the unit step."""
    count_self: CountSelf = "step"
    """What a positive adds to its own rank: the step at 0 (published) or 1."""
    eps: NonNegative = 1e-10
    """No gradient from a positive whose error has no more than this mass to share."""


class Alrp(CoupledRankingLoss, name="alrp", makes="rebalance.losses.ranking:alrp_loss"):
    """Average Localisation-Recall-Precision loss (thesis Eq. 7.2-7.7)."""

    delta: NonNegative = 1.0
    """Half width of the smoothed step; 0 is the unit step."""
    delta_loc: NonNegative = 0.0
    """The same for the weights of the localisation errors; 0 as published (Eq. K.3)."""
    count_self: CountSelf = "one"
    """What a positive adds to its own rank: 1 (published) or the step at 0."""
    eps: NonNegative = 1e-5
    """No gradient from positives with no more false positives above them."""
    target: Literal["own", "zero"] = "own"
    """What an error is measured from; "zero" is the mistake that lets trainings diverge (L.3)."""
    ties: Literal["sorted", "both"] = "sorted"
    """How equal scores weigh each other's errors with delta_loc 0: in the order of a sort
    (published), or both ways."""
