"""The advanced R3-CNN's box head: convolutions in place of fully connected layers."""

from torch import Tensor, nn

from rebalance.detectors.context import NonLocal
from rebalance.detectors.head_parts import HeadContext
from rebalance.detectors.types import Predictions

KERNEL_SIZE = 7


def fcc_layers(channels: int, with_end: bool = False) -> tuple[list[nn.Module], int]:
    """A non-local block, two 7x7 convolutions that halve the channels, perhaps one more block.

    Returns:
        the layers, and the channels of their output.
    """
    layers: list[nn.Module] = [NonLocal(channels, kernel_size=KERNEL_SIZE), nn.ReLU()]
    for _ in range(2):
        conv = nn.Conv2d(channels, channels // 2, KERNEL_SIZE, padding=KERNEL_SIZE // 2)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        assert conv.bias is not None
        nn.init.zeros_(conv.bias)
        layers += [conv, nn.ReLU(inplace=True)]
        channels //= 2
    if with_end:
        layers += [NonLocal(channels, kernel_size=KERNEL_SIZE), nn.ReLU()]
    return layers, channels


class FccHead(nn.Module):
    """Non-local block and 7x7 convolutions on pooled RoIs (r3cnn, section 4.3).

    Args:
        context: see ``HeadContext``.
        class_agnostic: one set of deltas instead of one per class.
    """

    def __init__(self, context: HeadContext, *, class_agnostic: bool = True) -> None:
        super().__init__()
        self.num_classes, self.num_columns = context.num_classes, context.num_columns
        layers, channels = fcc_layers(context.channels)
        self.hidden = nn.Sequential(*layers)
        features = channels * context.roi_size**2
        self.class_logits = nn.Linear(features, context.num_columns)
        self.box_deltas = nn.Linear(features, 4 * (1 if class_agnostic else context.num_classes))
        nn.init.normal_(self.class_logits.weight, std=0.01)
        nn.init.normal_(self.box_deltas.weight, std=0.001)
        nn.init.zeros_(self.class_logits.bias)
        nn.init.zeros_(self.box_deltas.bias)

    def forward(self, pooled: Tensor) -> Predictions:
        """[R, C, s, s] -> logits [R, columns] and deltas [R, K, 4]."""
        hidden = self.hidden(pooled).flatten(1)
        deltas = self.box_deltas(hidden).unflatten(1, (-1, 4))
        return Predictions(self.class_logits(hidden).float(), deltas.float())
