"""Deformable convolutions whose offsets are learnt by a convolution on the same map."""

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d


class DeformableConv2d(nn.Module):
    """A convolution that samples at learnt offsets (Dai et al., ICCV 2017, section 2.1).

    ``modulated`` also scales each sample by a learnt factor in (0, 1) (Zhu et al., CVPR 2019,
    Eq. 1). Offsets start at zero and factors at one half, whatever the input.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel.
        stride: of the convolution.
        padding: of the convolution.
        groups: of the convolution.
        modulated: version 2.
        bias: whether the output has a bias.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        groups: int = 1,
        modulated: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.modulated = stride, padding, modulated
        plain = nn.Conv2d(in_channels, out_channels, kernel_size, groups=groups, bias=bias)
        self.weight, self.bias = plain.weight, plain.bias
        # Two coordinates, and with modulation a factor, for each cell of the kernel.
        numbers = (3 if modulated else 2) * kernel_size**2
        self.conv_offset = nn.Conv2d(in_channels, numbers, kernel_size, stride, padding)
        nn.init.zeros_(self.conv_offset.weight)
        assert self.conv_offset.bias is not None
        nn.init.zeros_(self.conv_offset.bias)

    @classmethod
    def of(cls, plain: nn.Conv2d, modulated: bool = False) -> "DeformableConv2d":
        """The deformable form of a square convolution, with its weights."""
        made = cls(
            plain.in_channels,
            plain.out_channels,
            int(plain.kernel_size[0]),
            int(plain.stride[0]),
            int(plain.padding[0]),
            plain.groups,
            modulated,
            plain.bias is not None,
        )
        made.weight, made.bias = plain.weight, plain.bias
        return made

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C', h', w']."""
        offsets, factors = self.conv_offset(maps), None
        if self.modulated:
            offsets, factors = offsets.split(
                [2 * self.weight[0, 0].numel(), self.weight[0, 0].numel()], 1
            )
            factors = torch.sigmoid(factors)
        return deform_conv2d(
            maps, offsets, self.weight, self.bias, self.stride, self.padding, mask=factors
        )
