"""Where the RoIs that a stage trains on come from.

Every source is called as ``source(proposals, target, rng=..., iou=...)`` for one image and returns
``Rois``. Other keyword parameters are options.
"""

from collections.abc import Callable
from typing import Any

from rebalance.config.bind import bind_part
from rebalance.config.options import rois as options_of
from rebalance.detectors.roi_sources.rois import Rois

RoiSource = Callable[..., Rois]


def make_roi_source(name: str, **options: Any) -> RoiSource:
    """The source of that name with its options bound; unknown name or option: InputError."""
    return bind_part(options_of.RoiSource, name, options)


__all__ = ["RoiSource", "Rois", "make_roi_source"]
