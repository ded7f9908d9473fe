"""Backbones: image -> feature maps of strides 4, 8, 16, 32 (levels 2 ... 5).

``plain`` is small and trains from scratch on a CPU; ``resnet`` is the body of ResNet-18/34/50/101
with torchvision's blocks and parameter names, so that torchvision's ImageNet weights load into it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import FrozenBatchNorm2d

from rebalance.errors import InputError
from rebalance.lookup import bind_options

FIRST_LEVEL = 2  # stride 4
RESNETS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with groups of eight channels (or one group, if eight does not divide)."""
    return nn.GroupNorm(channels // 8 if channels % 8 == 0 else 1, channels)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "frozen_batch": FrozenBatchNorm2d,
    "batch": nn.BatchNorm2d,
    "group": group_norm,
}


class Backbone(nn.Module):
    """A stem and stages.

    Attributes:
        out_channels: channels of the map after each stage, finest (stride 4) first.
    """

    out_channels: tuple[int, ...]

    def keep_levels(self, count: int) -> None:
        """Drop all but the first ``count`` stages, whose maps alone are used.

        Stages without a loss would cost time, and DDP waits for the gradient of every parameter.
        """
        raise NotImplementedError


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


class ResNetBackbone(Backbone):
    """ResNet body (He et al., CVPR 2016) without pooling and classifier.

    Args:
        depth: 18, 34, 50 or 101.
        width: channels of the first stage; 64 is the published network.
        frozen_stages: 0: everything trains; k: the stem and the first k stages do not.
        norm: "frozen_batch" (statistics and affine fixed), "batch" or "group".
        weights: safetensors file with torchvision's parameter names (``fc.*`` left out), or None.

    Raises:
        InputError: unknown depth or norm; a weights file that is missing or does not fit.
    """

    def __init__(
        self,
        depth: int = 50,
        width: int = 64,
        frozen_stages: int = 1,
        norm: str = "frozen_batch",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if depth not in RESNETS:
            raise InputError(
                f"backbone resnet: depth must be one of {list(RESNETS)}, got {depth!r}"
            )
        if norm not in NORMS:
            raise InputError(f"backbone.norm must be one of {list(NORMS)}, got {norm!r}")
        block, blocks = RESNETS[depth]
        make_norm = NORMS[norm]
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = make_norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels, stages = width, []
        for index, count in enumerate(blocks):
            planes = width * 2**index
            stride = 1 if index == 0 else 2
            layers = []
            for position in range(count):
                shortcut = None
                if position == 0 and (stride != 1 or channels != planes * block.expansion):
                    shortcut = nn.Sequential(
                        nn.Conv2d(channels, planes * block.expansion, 1, stride=stride, bias=False),
                        make_norm(planes * block.expansion),
                    )
                layers.append(
                    block(
                        channels,
                        planes,
                        stride=stride if position == 0 else 1,
                        downsample=shortcut,
                        norm_layer=make_norm,
                    )
                )
                channels = planes * block.expansion
            stages.append(nn.Sequential(*layers))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.out_channels = tuple(width * 2**index * block.expansion for index in range(4))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if weights is not None:
            load_weights(self, weights)
        frozen = [self.conv1, self.bn1, *stages[:frozen_stages]] if frozen_stages > 0 else []
        for module in frozen:
            module.requires_grad_(False)

    def keep_levels(self, count: int) -> None:
        """See ``Backbone``."""
        for index in range(count, len(self.out_channels)):
            delattr(self, f"layer{index + 1}")
        self.out_channels = self.out_channels[:count]

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> maps of strides 4, 8, 16, 32."""
        hidden = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = []
        for index in range(len(self.out_channels)):
            hidden = getattr(self, f"layer{index + 1}")(hidden)
            maps.append(hidden)
        return maps


def load_weights(backbone: nn.Module, path: str | Path) -> None:
    """Load a safetensors file (no code is executed) into ``backbone``: all parameters or none.

    Raises:
        InputError: missing or damaged file; a parameter absent, unknown or of another shape.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"backbone weights {path}: cannot be read: {error}") from error
    wanted = backbone.state_dict()
    optional = {name for name in wanted if name.endswith("num_batches_tracked")}
    state = {
        name: value
        for name, value in state.items()
        if not name.startswith("fc.")
        and (name in wanted or not name.endswith("num_batches_tracked"))
    }
    missing, unknown = wanted.keys() - state.keys() - optional, state.keys() - wanted.keys()
    if missing or unknown:
        raise InputError(
            f"backbone weights {path}: missing {sorted(missing)[:3]}, "
            f"unknown {sorted(unknown)[:3]} ({len(missing)} and {len(unknown)} in all)"
        )
    for name, value in state.items():
        if value.shape != wanted[name].shape:
            raise InputError(
                f"backbone weights {path}: {name} is {list(value.shape)}, "
                f"this backbone needs {list(wanted[name].shape)}"
            )
    backbone.load_state_dict(state, strict=False)


def _conv_norm(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, group_norm(out_channels), nn.ReLU(inplace=True))


BACKBONES: dict[str, Callable[..., Backbone]] = {
    "plain": PlainBackbone,
    "resnet": ResNetBackbone,
}


def make_backbone(name: str, **options: object) -> Backbone:
    """A backbone by name, with ``out_channels`` per level; unknown name or option: InputError."""
    return bind_options("backbone", BACKBONES, name, options)()
