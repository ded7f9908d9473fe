"""Blocks that let every cell of a map see all others: global context, non-local, attention."""

import math

import torch
from torch import Tensor, nn

from rebalance.errors import InputError

VERTICAL_QUERIES = ("own", "transposed")


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


class PositionAttention(nn.Module):
    """Every cell gathers from all cells by what it shows and how far away they are.

    Zhu et al., "An Empirical Study of Spatial Attention Mechanisms in Deep Networks", ICCV 2019,
    Eq. 4 with the second of its four terms alone, query content and relative position ("0100").
    The factor of what is gathered starts at zero, so the block starts as the identity.

    Args:
        channels: of the map, a multiple of 4.
        num_heads: each has ``channels // num_heads`` of them; what is left over has no head.
        kv_stride: of the cells that are gathered from.
        vertical_query: whose content the vertical distance is weighed by: each cell's "own", as in
            the equation, or that of the "transposed" cell (x, y for y, x), as in the published
            code, which reuses a tensor that it has transposed for the horizontal distance. That
            needs square maps.

    Raises:
        InputError: channels that are no multiple of 4 or fewer than heads, an unknown query.
    """

    WAVE_LENGTH = 1000.0

    def __init__(
        self,
        channels: int,
        num_heads: int = 6,
        kv_stride: int = 2,
        vertical_query: str = "own",
    ) -> None:
        super().__init__()
        if vertical_query not in VERTICAL_QUERIES:
            raise InputError(
                f"attention: vertical_query must be one of {VERTICAL_QUERIES}, "
                f"got {vertical_query!r}"
            )
        self.vertical_query = vertical_query
        if channels % 4 or not 1 <= num_heads <= channels:
            raise InputError(
                "attention: channels must be a multiple of 4 and num_heads from 1 to channels, "
                f"got {channels} and {num_heads}"
            )
        self.num_heads, self.kv_stride = num_heads, kv_stride
        hidden = channels // num_heads * num_heads
        self.query_conv = nn.Conv2d(channels, hidden, 1, bias=False)
        self.value_conv = nn.Conv2d(channels, hidden, 1, bias=False)
        self.position_x = nn.Linear(channels // 2, hidden, bias=False)
        self.position_y = nn.Linear(channels // 2, hidden, bias=False)
        self.proj_conv = nn.Conv2d(hidden, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))
        for layer in (self.query_conv, self.value_conv):
            nn.init.kaiming_uniform_(layer.weight, a=1)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> the same shape."""
        height, width = maps.shape[2:]
        gathered_from = maps[:, :, :: self.kv_stride, :: self.kv_stride]
        query = self._heads(self.query_conv(maps))  # [B, heads, c, h, w]
        by_x = self._positions(width, self.position_x, maps)  # [heads, c, w, kv w]
        by_y = self._positions(height, self.position_y, maps)
        energy_x = torch.einsum("bnchw,ncwl->bnhwl", query, by_x)
        if self.vertical_query == "transposed":
            query = query.mT
        energy_y = torch.einsum("bnchw,nchk->bnhwk", query, by_y)
        energy = energy_y[..., :, None] + energy_x[..., None, :]  # [B, heads, h, w, kv h, kv w]
        attention = energy.flatten(-2).softmax(dim=-1)
        values = self._heads(self.value_conv(gathered_from)).flatten(-2)
        gathered = torch.einsum("bnhwk,bnck->bnchw", attention, values).flatten(1, 2)
        return maps + self.gamma * self.proj_conv(gathered)

    def _heads(self, maps: Tensor) -> Tensor:
        return maps.unflatten(1, (self.num_heads, -1))

    def _positions(self, size: int, linear: nn.Linear, like: Tensor) -> Tensor:
        """Embedded distances between all cells and those of the stride, along one axis."""
        cells = torch.arange(size, device=like.device, dtype=like.dtype)
        distance = cells[:, None] - cells[:: self.kv_stride]
        waves = linear.in_features // 2
        exponents = torch.arange(waves, device=like.device, dtype=like.dtype) / waves
        phases = distance[..., None] / self.WAVE_LENGTH**exponents
        embedded = linear(torch.cat([phases.sin(), phases.cos()], dim=-1)) / math.sqrt(2)
        return embedded.unflatten(-1, (self.num_heads, -1)).permute(2, 3, 0, 1)
