"""Candidates of a dense step: the boxes or points that it starts from."""

from typing import Annotated, Self

from annotated_types import Gt, Len
from pydantic import model_validator

from rebalance.config.bounds import Count, Pixels, Positive
from rebalance.config.part import Part, refusal

Ratios = Annotated[list[Positive], Len(1)]


class CandidateGrid(Part, noun="candidates", given=["strides"]):
    """Maps -> candidates, the same for each cell."""


class Anchors(
    CandidateGrid, name="anchors", makes="rebalance.detectors.candidates.anchors:anchors"
):
    """Boxes of a few sizes and aspect ratios around each cell's corner."""

    base_scale: Positive = 4.0
    """Side of the smallest anchor of a level, in strides."""
    scales_per_octave: Count = 3
    """Sizes per level."""
    scales: Annotated[list[Positive], Len(1)] | None = None
    """Sides in strides, in place of the two above."""
    ratios: Ratios = [0.5, 1.0, 2.0]
    """Heights over widths."""
    rounded: bool = False
    """Whether half sides are whole pixels (torchvision) or exact (mmdetection)."""


class SsdAnchors(
    CandidateGrid, name="ssd_anchors", makes="rebalance.detectors.candidates.anchors:ssd_anchors"
):
    """SSD's default boxes (Liu et al., ECCV 2016, section 2.2)."""

    sizes: Annotated[list[Positive], Len(2)]
    """Pixels: sides of the small squares, one more than levels."""
    ratios: Annotated[list[Annotated[list[Annotated[float, Gt(1)]], Len(1)]], Len(1)]
    """Of each level; their inverses are taken, too."""
    longest: Positive | None = None
    """Pixels that sides are cut to (torchvision); null: any length."""

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        if len(self.sizes) != len(self.ratios) + 1:
            raise refusal(
                f"must be one more than ratios, {len(self.ratios)}, got {len(self.sizes)}",
                at=("sizes",),
            )
        return self


class YolactAnchors(
    CandidateGrid,
    name="yolact_anchors",
    makes="rebalance.detectors.candidates.anchors:yolact_anchors",
):
    """Anchors around the centres of cells that divide a square image evenly (YOLACT)."""

    input_size: Pixels = 550
    """Pixels, side of the image."""
    base_scale: Positive = 3.0
    """Side of an anchor in nominal strides."""
    ratios: Ratios = [0.5, 1.0, 2.0]
    """Heights over widths."""


class Points(CandidateGrid, name="points", makes="rebalance.detectors.candidates.anchors:points"):
    """Squares around the centres of cells, which distances are measured from (FoveaBox)."""

    base_edges: Annotated[list[Positive], Len(1)]
    """Pixels, half sides, one per level."""


class Cells(CandidateGrid, name="cells", makes="rebalance.detectors.candidates.anchors:cells"):
    """Grid cells that divide the canvas (SOLOv2)."""

    num_cells: Annotated[list[Count], Len(1)]
    """Cells along each side, one number per level."""
