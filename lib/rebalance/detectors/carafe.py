"""Upsampling by kernels that the content predicts."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Carafe(nn.Module):
    """Doubles a map (or more); each new cell is a weighted mean around its source.

    CARAFE (Wang et al., ICCV 2019), Eq. 2 to 4: the weights come from a convolution on the
    compressed map and sum to one over a window of ``kernel_size`` cells a side.

    Args:
        channels: of the map.
        scale: new cells per old one, along each side.
        kernel_size: side of the window in old cells (k_up), odd.
        encoder_kernel_size: side of the convolution that predicts weights (k_encoder), odd.
        compressed_channels: channels that this convolution reads (C_m).
    """

    def __init__(
        self,
        channels: int,
        scale: int = 2,
        kernel_size: int = 5,
        encoder_kernel_size: int = 3,
        compressed_channels: int = 64,
    ) -> None:
        super().__init__()
        self.scale, self.kernel_size = scale, kernel_size
        self.channel_compressor = nn.Conv2d(channels, compressed_channels, 1)
        self.content_encoder = nn.Conv2d(
            compressed_channels,
            kernel_size**2 * scale**2,
            encoder_kernel_size,
            padding=encoder_kernel_size // 2,
        )
        nn.init.xavier_uniform_(self.channel_compressor.weight)
        nn.init.normal_(self.content_encoder.weight, std=0.001)
        for layer in (self.channel_compressor, self.content_encoder):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, scale h, scale w]."""
        height, width = maps.shape[2:]
        # Channels of the encoder: cell of the window first, then place within the old cell.
        encoded = self.content_encoder(self.channel_compressor(maps))
        weights = encoded.unflatten(1, (self.kernel_size**2, self.scale, self.scale)).softmax(dim=1)
        weights = weights.permute(1, 0, 4, 2, 5, 3)[:, :, None]  # [k k, B, 1, h, s, w, s]
        padded = functional.pad(maps, [self.kernel_size // 2] * 4)
        # A sum over shifted maps: all windows at once would take kernel_size^2 times the memory.
        total = torch.zeros((), dtype=maps.dtype, device=maps.device)
        for index, weight in enumerate(weights):
            y, x = divmod(index, self.kernel_size)
            shifted = padded[:, :, y : y + height, x : x + width]
            total = total + shifted[:, :, :, None, :, None] * weight
        return total.flatten(4, 5).flatten(2, 3)
