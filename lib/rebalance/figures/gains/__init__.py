"""Gain in AP over the IoU threshold (GGIoU Figure 3)."""
