"""ResNet and ResNeXt, with torchvision's blocks and parameter names."""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from rebalance.detectors.backbones.backbone import Backbone, load_weights
from rebalance.detectors.context import GlobalContext
from rebalance.detectors.deformable import DeformableConv2d
from rebalance.detectors.norms import find_norm
from rebalance.errors import InputError

RESNETS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


class ResNetBackbone(Backbone):
    """ResNet body (He et al., CVPR 2016) without pooling and classifier.

    Bottlenecks stride in their 3x3 convolution. ResNeXt-101 64x4d (Xie et al., CVPR 2017) is depth
    101 with ``groups=64, width_per_group=4``.

    Stages are counted from 1 (``layer1``, stride 4) to 4.

    Args:
        depth: 18, 34, 50 or 101.
        width: channels of the first stage; 64 is the published network.
        groups: of the 3x3 convolutions.
        width_per_group: channels of each group in the first stage; default ``width / groups``.
        frozen_stages: 0: everything trains; k: the stem and the first k stages do not, nor do
            their running statistics.
        norm: "frozen_batch" (statistics and affine fixed), "frozen_statistics" (the affine trains),
            "batch" or "group".
        deformable_stages: stages whose 3x3 convolutions are deformable (Dai et al., ICCV 2017).
        modulated: deformable convolutions have a modulation, too (v2, Zhu et al., CVPR 2019).
        context_stages: stages whose blocks end in a global context block (GCNet, Cao et al., ICCVW
            2019).
        context_ratio: hidden channels of these, as a share of the block's.
        stem: channels of the stem; default ``width``.
        weights: safetensors file with torchvision's parameter names (``fc.*`` left out), or None.

    Raises:
        InputError: unknown depth, norm or stage; an option that needs bottlenecks with depth 18 or
            34; a weights file that is missing or does not fit.
    """

    fresh = ("conv_offset", "context_block")

    def __init__(
        self,
        depth: int = 50,
        width: int = 64,
        groups: int = 1,
        width_per_group: int | None = None,
        frozen_stages: int = 1,
        norm: str = "frozen_batch",
        deformable_stages: Sequence[int] = (),
        modulated: bool = False,
        context_stages: Sequence[int] = (),
        context_ratio: float = 1 / 16,
        stem: int | None = None,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if depth not in RESNETS:
            raise InputError(
                f"backbone resnet: depth must be one of {list(RESNETS)}, got {depth!r}"
            )
        make_norm = find_norm(norm, "backbone.norm")
        block, blocks = RESNETS[depth]
        grouped = groups != 1 or width_per_group is not None
        if block is BasicBlock and (grouped or deformable_stages or context_stages):
            raise InputError(
                "backbone resnet: groups, width_per_group, deformable_stages and context_stages "
                f"need depth 50 or 101, got depth {depth}"
            )
        for option, chosen in (("deformable", deformable_stages), ("context", context_stages)):
            if not set(chosen) <= {1, 2, 3, 4}:
                raise InputError(
                    f"backbone.{option}_stages must be among [1, 2, 3, 4], got {list(chosen)}"
                )
        self.frozen_stages = frozen_stages
        channels = width if stem is None else stem
        self.conv1 = nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = make_norm(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        # torchvision's blocks take the width of a group in a network whose first stage has 64.
        group_width = (width / groups if width_per_group is None else width_per_group) * 64 / width
        for index, count in enumerate(blocks):
            stage = index + 1
            planes = width * 2**index
            made = ContextBottleneck if stage in context_stages else block
            layers = []
            for position in range(count):
                stride = 2 if index > 0 and position == 0 else 1
                shortcut = None
                if stride != 1 or channels != planes * block.expansion:
                    shortcut = nn.Sequential(
                        nn.Conv2d(channels, planes * block.expansion, 1, stride=stride, bias=False),
                        make_norm(planes * block.expansion),
                    )
                layer = made(
                    channels, planes, stride, shortcut, groups, group_width, norm_layer=make_norm
                )
                channels = planes * block.expansion
                layers.append(layer)
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
        self.out_channels = tuple(width * 2**index * block.expansion for index in range(4))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        # After the line above: what follows brings its own initial values.
        for stage in deformable_stages:
            for layer in self._stage(stage):
                assert isinstance(layer.conv2, nn.Conv2d)
                layer.conv2 = DeformableConv2d.of(layer.conv2, modulated)
        for stage in context_stages:
            for layer in self._stage(stage):
                layer.context_block = GlobalContext(self.out_channels[stage - 1], context_ratio)
        if weights is not None:
            load_weights(self, weights)
        for module in self._frozen():
            module.requires_grad_(False)

    def _stage(self, stage: int) -> nn.Sequential:
        layers = getattr(self, f"layer{stage}")
        assert isinstance(layers, nn.Sequential)
        return layers

    def _frozen(self) -> Iterator[nn.Module]:
        if self.frozen_stages > 0:
            yield from (self.conv1, self.bn1)
        for stage in range(1, min(self.frozen_stages, len(self.out_channels)) + 1):
            yield self._stage(stage)

    def train(self, mode: bool = True) -> "ResNetBackbone":
        """Training mode for all but the frozen stages, whose running statistics must stay."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def keep_levels(self, count: int) -> None:
        """See ``Backbone``."""
        for stage in range(count + 1, len(self.out_channels) + 1):
            delattr(self, f"layer{stage}")
        self.out_channels = self.out_channels[:count]

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> maps of strides 4, 8, 16, 32."""
        hidden = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = []
        for stage in range(1, len(self.out_channels) + 1):
            hidden = self._stage(stage)(hidden)
            maps.append(hidden)
        return maps


class ContextBottleneck(Bottleneck):
    """A bottleneck with a global context block at the end of its residual branch."""

    context_block: GlobalContext

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C', h / stride, w / stride]."""
        hidden = self.relu(self.bn1(self.conv1(x)))
        hidden = self.relu(self.bn2(self.conv2(hidden)))
        hidden = self.context_block(self.bn3(self.conv3(hidden)))
        return self.relu(hidden + (x if self.downsample is None else self.downsample(x)))
