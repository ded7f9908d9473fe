"""Where the RoIs that a box step trains on come from."""

from typing import Annotated, Any, Literal, Self

from annotated_types import Len
from pydantic import Discriminator, Tag, model_validator

from rebalance.config.bounds import Count, NonNegative, ShareAboveZero
from rebalance.config.part import Part, refusal

Preset = Literal[
    "right_skew",
    "uniform",
    "left_skew",
    "base_0.5",
    "uniform_0.5",
    "uniform_0.6",
    "uniform_0.7",
    "uniform_0.8",
    "uniform_0.9",
]
"""Distributions of the IoU of generated RoIs (bbgen, Table 9)."""


def _form(bins: Any) -> str:
    return (
        "<intervals>"
        if bins and isinstance(bins, list) and isinstance(bins[0], list)
        else "<edges>"
    )


IouInterval = Annotated[list[ShareAboveZero], Len(2, 2)]
IouBins = Annotated[
    Annotated[list[ShareAboveZero], Len(1), Tag("<edges>")]
    | Annotated[list[IouInterval], Len(1), Tag("<intervals>")],
    Discriminator(_form),
]


class RoiSource(Part, noun="RoI source", given=["rng", "iou"]):
    """Proposals -> the RoIs of a training step."""


class ProposedRois(
    RoiSource, name="rpn", makes="rebalance.detectors.roi_sources.proposed:rois_from_proposals"
):
    """The proposals, and the ground truths among them."""

    add_ground_truth: bool = True
    """Whether the ground truths are added, so that there are positives from the start."""


class GeneratedRois(
    RoiSource,
    name="generator",
    makes="rebalance.detectors.roi_sources.generated:rois_from_generator",
):
    """Positives from the generator, negatives from the proposals (bbgen, section 5 and Fig. 7)."""

    preset: Preset | None = None
    """Distribution of the IoU by name; or bins and weights:"""
    iou_bins: IouBins | None = None
    """Lower edges (the last bin ends at 1), or [lower, upper] of each bin."""
    bin_weights: Annotated[list[NonNegative], Len(1)] | None = None
    """How often a RoI's least IoU is drawn from each bin; only their ratios count."""
    num_rois: Count = 32
    """Generated per image; a sampler may keep fewer."""
    foreground_balanced: bool = True
    """Equally many for each class of the image, then for each of its objects."""

    @model_validator(mode="after")
    def _check_distribution(self) -> Self:
        bins, weights = self.iou_bins, self.bin_weights
        if (self.preset is None) == (bins is None and weights is None) or (bins is None) != (
            weights is None
        ):
            raise refusal(
                "needs either preset or both iou_bins and bin_weights, got "
                f"preset {self.preset!r}, iou_bins {bins!r}, bin_weights {weights!r}"
            )
        if bins is not None and weights is not None:
            if len(weights) != len(bins):
                raise refusal(
                    f"must be one per bin, got {len(weights)} weights for {len(bins)} bins",
                    at=("bin_weights",),
                )
            if sum(weights) == 0:
                raise refusal(f"must not all be 0, got {weights}", at=("bin_weights",))
            # A lower edge each: the upper ones are the next, and 1.
            edges = [bin_ if isinstance(bin_, list) else [bin_] for bin_ in bins]
            if any(edge != sorted(edge) for edge in edges) or edges != sorted(edges):
                raise refusal(f"must ascend, got {bins}", at=("iou_bins",))
        return self
