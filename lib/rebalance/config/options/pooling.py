"""Pooling: maps and RoIs -> features of each RoI."""

from typing import Annotated, Literal

from rebalance.config.bounds import Count, Index, Positive
from rebalance.config.part import DefaultPart, Part


class Pooling(Part, noun="pooling", given=["channels"]):
    """Features of RoIs."""


class RoiAlign(Pooling, name="roi_align", makes="rebalance.detectors.pooling:RoiPooling"):
    """Each RoI from the level of its size (Mask R-CNN; levels as in FPN)."""

    size: Count = 7
    """Side of the pooled features, in cells."""
    sampling_ratio: Index = 2
    """Samples per cell and axis; 0: as many as the RoI covers."""
    aligned: bool = False
    """Whether samples are shifted by half a pixel."""
    num_levels: Count = 4
    """Levels that RoIs come from, from the finest."""
    canonical_size: Positive = 224.0
    """Pixels: RoIs of this size come from level 4."""


class Groie(Pooling, name="groie", makes="rebalance.detectors.pooling:GroiePooling"):
    """From all levels, summed and attended (GRoIE, Rossi et al., ICPR 2020)."""

    size: Count = 7
    """Side of the pooled features, in cells."""
    sampling_ratio: Index = 2
    """Samples per cell and axis; 0: as many as the RoI covers."""
    aligned: bool = True
    """Whether samples are shifted by half a pixel."""
    num_levels: Count = 4
    """Levels that RoIs come from, from the finest."""
    kernel_size: Count = 5
    """Of the convolution, odd."""
    num_heads: Count = 6
    """Of the attention."""
    kv_stride: Count = 2
    """Of the cells attended to."""
    vertical_query: Literal["own", "transposed"] = "own"
    """Of the attention: a query of its own for the vertical axis, or that of the code."""


RoiPooling = Annotated[Pooling, DefaultPart(RoiAlign)]
"""Without a name it is RoIAlign."""
