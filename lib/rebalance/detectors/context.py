"""Blocks that let every cell of a map see all others: global context and non-local."""

import math

import torch
from torch import Tensor, nn


class GlobalContext(nn.Module):
    """Adds one transformed, attention-pooled vector to every cell (GCNet, Cao et al., ICCVW 2019).

    Figure 4(d): attention pooling, bottleneck with layer norm, addition. The last convolution
    starts at zero, so the block starts as the identity.

    Args:
        channels: of the map.
        ratio: hidden channels of the bottleneck as a share of ``channels``.
    """

    def __init__(self, channels: int, ratio: float = 1 / 16) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.conv_mask = nn.Conv2d(channels, 1, 1)
        nn.init.kaiming_normal_(self.conv_mask.weight, mode="fan_in", nonlinearity="relu")
        last = nn.Conv2d(hidden, channels, 1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.channel_add_conv = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(inplace=True),
            last,
        )

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> the same shape."""
        attention = self.conv_mask(maps).flatten(1).softmax(dim=1)  # [B, h w]
        pooled = torch.einsum("bcn,bn->bc", maps.flatten(2), attention)
        return maps + self.channel_add_conv(pooled[:, :, None, None])


class NonLocal(nn.Module):
    """Every cell gathers from all cells by similarity (Wang et al., CVPR 2018, Eq. 1, 4 and 6).

    Embedded Gaussian: softmax over the products of two embeddings. The last convolution starts at
    zero, so the block starts as the identity.

    Args:
        channels: of the map.
        reduction: ``channels`` over hidden channels.
        kernel_size: of all four convolutions.
        scaled: divide the products by the square root of the hidden channels.
    """

    def __init__(
        self, channels: int, reduction: int = 2, kernel_size: int = 1, scaled: bool = True
    ) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.scale = 1 / math.sqrt(hidden) if scaled else 1.0
        padding = kernel_size // 2
        self.g, self.theta, self.phi = (
            nn.Conv2d(channels, hidden, kernel_size, padding=padding) for _ in range(3)
        )
        self.conv_out = nn.Conv2d(hidden, channels, kernel_size, padding=padding)
        for layer in (self.g, self.theta, self.phi, self.conv_out):
            nn.init.normal_(layer.weight, std=0.0 if layer is self.conv_out else 0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> the same shape."""
        g, theta, phi = (layer(maps).flatten(2) for layer in (self.g, self.theta, self.phi))
        attention = (theta.transpose(1, 2) @ phi * self.scale).softmax(dim=2)  # [B, h w, h w]
        gathered = (g @ attention.transpose(1, 2)).unflatten(2, maps.shape[2:])
        return maps + self.conv_out(gathered)
