"""Detection in video with the scores of linked frames (thesis, appendix H.1)."""

from rebalance.video.linking import Linking, link_detections
from rebalance.video.tracking import ConstantVelocity

__all__ = ["ConstantVelocity", "Linking", "link_detections"]
