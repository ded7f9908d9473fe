"""Where the RoIs that a stage trains on come from.

Every source is called as ``source(proposals, target, rng=..., iou=...)`` for one image and returns
``Rois``. Other keyword parameters are options.
"""

from collections.abc import Callable
from typing import Any

from rebalance.detectors.roi_sources.generated import rois_from_generator
from rebalance.detectors.roi_sources.proposed import rois_from_proposals
from rebalance.detectors.roi_sources.rois import Rois
from rebalance.lookup import bind_options

RoiSource = Callable[..., Rois]

ROI_SOURCES: dict[str, RoiSource] = {
    "rpn": rois_from_proposals,
    "generator": rois_from_generator,
}


def make_roi_source(name: str, **options: Any) -> RoiSource:
    """The source of that name with its options bound; unknown name or option: InputError."""
    return bind_options("roi_source", ROI_SOURCES, name, options)


__all__ = ["ROI_SOURCES", "RoiSource", "Rois", "make_roi_source"]
