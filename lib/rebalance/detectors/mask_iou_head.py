"""Heads that predict how well a mask fits: Mask Scoring R-CNN's and R3-CNN's."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from rebalance.detectors.fcc_head import fcc_layers
from rebalance.detectors.head_parts import HeadContext
from rebalance.detectors.types import Predictions


class MaskIouHead(nn.Module):
    """Convolutions on RoI features and mask, then fully connected layers.

    Huang et al., "Mask Scoring R-CNN", CVPR 2019, section 3.2: the mask's probabilities, max-pooled
    to the features' size, are one more channel; the last convolution halves the size.

    Args:
        context: see ``HeadContext``.
        num_convs: 3x3 convolutions.
        channels: of them.
        num_fcs: hidden layers.
        fc_channels: of them.
        convolutional: in place of hidden layers the non-local blocks and 7x7 convolutions of the
            advanced R3-CNN (r3cnn, section 4.3), with a second non-local block at their end.
    """

    def __init__(
        self,
        context: HeadContext,
        *,
        num_convs: int = 4,
        channels: int = 256,
        num_fcs: int = 2,
        fc_channels: int = 1024,
        convolutional: bool = False,
    ) -> None:
        super().__init__()
        self.convolutional = convolutional
        layers: list[nn.Module] = []
        last = context.channels + 1
        for index in range(num_convs):
            stride = 2 if index == num_convs - 1 else 1
            layers += [nn.Conv2d(last, channels, 3, stride, padding=1), nn.ReLU(inplace=True)]
            last = channels
        self.convs = nn.Sequential(*layers)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        side = -(-context.roi_size // 2)
        if convolutional:
            hidden, last = fcc_layers(last, with_end=True)
            features = last * side**2
        else:
            hidden, features = [], last * side**2
            for _ in range(num_fcs):
                linear = nn.Linear(features, fc_channels)
                nn.init.kaiming_uniform_(linear.weight, a=1)
                nn.init.zeros_(linear.bias)
                hidden += [linear, nn.ReLU(inplace=True)]
                features = fc_channels
            hidden = [nn.Flatten(), *hidden]
        self.hidden = nn.Sequential(*hidden)
        self.mask_ious = nn.Linear(features, context.num_classes)
        nn.init.normal_(self.mask_ious.weight, std=0.01)
        nn.init.zeros_(self.mask_ious.bias)

    def forward(self, pooled: Tensor, mask_logits: Tensor) -> Predictions:
        """[R, C, s, s] and [R, 2s, 2s] -> "mask_ious" [R, C], not limited to [0, 1]."""
        masks = functional.max_pool2d(mask_logits.sigmoid()[:, None], 2)
        hidden = self.hidden(self.convs(torch.cat([pooled, masks.to(pooled.dtype)], dim=1)))
        return Predictions(extra={"mask_ious": self.mask_ious(hidden.flatten(1)).float()})
