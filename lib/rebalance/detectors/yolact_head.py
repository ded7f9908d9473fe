"""YOLACT's head: classes, boxes and mask coefficients per anchor, prototypes per image."""

from collections.abc import Sequence

from torch import Tensor, nn

from rebalance.detectors.head_parts import HeadContext, lay_flat, tower
from rebalance.detectors.types import Predictions


class YolactHead(nn.Module):
    """Bolya et al., "YOLACT: Real-time Instance Segmentation", ICCV 2019, section 3.

    One tower for all three outputs of an anchor, shared by all levels. The prototypes and, where
    there is one, the semantic branch read the finest map.

    Args:
        context: see ``HeadContext``.
        num_convs: convolutions of the tower.
        channels: of the tower.
        num_prototypes: D, prototypes of an image and coefficients of an anchor.
        prototype_convs: convolutions before the prototypes are enlarged to twice the map; one more
            follows.
        prototype_channels: of them.
        semantic: whether there is a branch that tells the class of each cell of the finest map. It
            is for training only (section 3.3).
    """

    def __init__(
        self,
        context: HeadContext,
        *,
        num_convs: int = 1,
        channels: int = 256,
        num_prototypes: int = 32,
        prototype_convs: int = 3,
        prototype_channels: int = 256,
        semantic: bool = True,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_columns = context.num_classes, context.num_columns
        self.num_prototypes, self.num_prototype_convs = num_prototypes, prototype_convs
        self.tower = tower(context.channels, channels, num_convs)
        last, per_cell = channels if num_convs else context.channels, context.num_per_cell
        self.class_logits = nn.Conv2d(last, per_cell * self.num_columns, 3, padding=1)
        self.box_deltas = nn.Conv2d(last, per_cell * 4, 3, padding=1)
        self.coefficients = nn.Conv2d(last, per_cell * num_prototypes, 3, padding=1)
        last = prototype_channels if prototype_convs else context.channels
        self.prototypes = nn.Sequential(
            tower(context.channels, prototype_channels, prototype_convs),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            tower(last, prototype_channels, 1),
            nn.Conv2d(prototype_channels, num_prototypes, 1),
            nn.ReLU(inplace=True),
        )
        self.semantic = nn.Conv2d(context.channels, context.num_classes, 1) if semantic else None
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> Predictions:
        """Maps [B, c, h, w] -> predictions in the order of anchors.

        logits [N, columns], deltas [N, 1, 4], "coefficients" [N, D] in (-1, 1), and per image
        "prototypes" [B, D, 2 h, 2 w] >= 0 and, in training, "semantic" [B, C, h, w] logits.
        """
        hidden = [self.tower(map_) for map_ in maps]
        coefficients = [self.coefficients(map_).tanh() for map_ in hidden]
        shared = {"prototypes": self.prototypes(maps[0])}
        if self.semantic is not None and self.training:
            shared["semantic"] = self.semantic(maps[0]).float()
        return Predictions(
            lay_flat([self.class_logits(map_) for map_ in hidden], self.num_columns),
            lay_flat([self.box_deltas(map_) for map_ in hidden], 4)[:, None],
            {"coefficients": lay_flat(coefficients, self.num_prototypes)},
            shared,
        )
