"""Samplers: which of the assigned candidates are learnt from."""

from typing import Literal

from rebalance.config.bounds import Count, Index, NonNegative, Share
from rebalance.config.part import Part


class Sampler(Part, noun="sampler", given=["rng", "boxes", "losses"]):
    """Assigned candidates -> those that enter the losses."""

    def by_loss(self) -> bool:
        """Whether it reads the losses of candidates."""
        return False


class All(Sampler, name="all", makes="rebalance.samplers.everything:sample_all"):
    """Every positive and every negative."""


class Random(Sampler, name="random", makes="rebalance.samplers.combined:sample_random"):
    """Positives and negatives at random (Fast R-CNN)."""

    num: Count = 512
    """Candidates per image."""
    positive_fraction: Share = 0.25
    """Most of them that are positive."""
    pad_with_negatives: bool = True
    """Whether negatives fill the places of missing positives."""


class Combined(Sampler, name="combined", makes="rebalance.samplers.combined:sample_combined"):
    """Positives chosen one way, negatives another (bbgen, Table 3)."""

    num: Count = 512
    """Candidates per image."""
    positive_fraction: Share = 0.25
    """Most of them that are positive."""
    positive: Literal["random", "hard", "ofb", "instance_balanced"] = "random"
    """Positives: at random, of largest loss, balanced over the classes or the objects present."""
    negative: Literal["random", "hard", "iou_balanced", "iou_balanced_published"] = "random"
    """Negatives: at random, of largest loss, or balanced over their IoU (also as in the code)."""
    pad_with_negatives: bool = True
    """Whether negatives fill the places of missing positives."""
    negatives_per_positive: NonNegative | None = None
    """Most negatives for each positive; null: any number."""
    nms_iou: Share | None = None
    """Of "hard": a box that overlaps one of larger loss by more is dropped; null keeps all."""
    num_iou_bins: Count = 3
    """Of "iou_balanced"."""

    def by_loss(self) -> bool:
        """If positives or negatives are hard."""
        return "hard" in (self.positive, self.negative)


class Ofb(Sampler, name="ofb", makes="rebalance.samplers.combined:sample_ofb"):
    """Positives balanced over the classes present, negatives at random (bbgen, section 6.1)."""

    num: Count = 512
    """Candidates per image."""
    positive_fraction: Share = 0.25
    """Most of them that are positive."""
    pad_with_negatives: bool = True
    """Whether negatives fill the places of missing positives."""


class IouBalancedNegatives(
    Sampler,
    name="iou_balanced_negatives",
    makes="rebalance.samplers.combined:sample_iou_balanced_negatives",
):
    """Positives at random, negatives balanced over their IoU (Libra R-CNN, Eq. 1)."""

    num: Count = 512
    """Candidates per image."""
    positive_fraction: Share = 0.25
    """Most of them that are positive."""
    num_iou_bins: Count = 3
    """Equal intervals of IoU."""
    pad_with_negatives: bool = True
    """Whether negatives fill the places of missing positives."""


class Ohem(Sampler, name="ohem", makes="rebalance.samplers.mining:sample_ohem"):
    """The largest losses of all (Shrivastava et al., CVPR 2016)."""

    num: Count = 128
    """Candidates per image."""
    nms_iou: Share | None = 0.7
    """A box that overlaps one of larger loss by more is dropped; null keeps all."""

    def by_loss(self) -> bool:
        """It does."""
        return True


class Ohpm(Sampler, name="ohpm", makes="rebalance.samplers.mining:sample_ohpm"):
    """Positives of largest loss, negatives at random (bbgen, section 5.3)."""

    num: Count = 128
    """Candidates per image."""
    positive_fraction: Share = 0.25
    """Most of them that are positive."""
    nms_iou: Share | None = 0.7
    """A positive that overlaps one of larger loss by more is dropped; null keeps all."""
    pad_with_negatives: bool = True
    """Whether negatives fill the places of missing positives."""

    def by_loss(self) -> bool:
        """It does."""
        return True


class HardNegative(
    Sampler, name="hard_negative", makes="rebalance.samplers.mining:sample_hard_negatives"
):
    """Every positive, and the negatives of largest loss (SSD, section 2.2)."""

    ratio: NonNegative = 3.0
    """Negatives per positive."""
    least: Index = 0
    """Negatives, whatever the number of positives."""
    all_without_positives: bool = False
    """Whether an image without positives gives all negatives (mmdetection's YOLACT)."""

    def by_loss(self) -> bool:
        """It does."""
        return True
