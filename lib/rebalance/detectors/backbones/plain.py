"""A small backbone that trains from scratch on a CPU."""

from collections.abc import Sequence

from torch import Tensor, nn

from rebalance.detectors.backbones.backbone import Backbone
from rebalance.detectors.norms import group_norm


class PlainBackbone(Backbone):
    """3x3 convolutions with GroupNorm; the first of each stage halves the resolution.

    Args:
        widths: channels at strides 4, 8, 16, 32 (fewer entries: fewer levels).
        convs: convolutions per stage.
        stem: channels at stride 2; default ``widths[0]``.
    """

    def __init__(
        self, widths: Sequence[int] = (16, 32, 64, 64), convs: int = 1, stem: int | None = None
    ) -> None:
        super().__init__()
        self.out_channels = tuple(widths)
        channels = widths[0] if stem is None else stem
        self.stem = _conv_norm(3, channels, stride=2)
        self.stages = nn.ModuleList()
        for width in widths:
            blocks = [_conv_norm(channels, width, stride=2)]
            blocks += [_conv_norm(width, width) for _ in range(convs - 1)]
            self.stages.append(nn.Sequential(*blocks))
            channels = width

    def keep_levels(self, count: int) -> None:
        """See ``Backbone``."""
        self.stages = self.stages[:count]
        self.out_channels = self.out_channels[:count]

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> one map per stage, of strides 4, 8, ..."""
        maps, hidden = [], self.stem(images)
        for stage in self.stages:
            hidden = stage(hidden)
            maps.append(hidden)
        return maps


def _conv_norm(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, group_norm(out_channels), nn.ReLU(inplace=True))
