"""VGG-16 as SSD reads it."""

from torch import Tensor, nn

from rebalance.detectors.backbones.backbone import Backbone, load_weights

STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))  # width and number of convolutions


class VGGBackbone(Backbone):
    """VGG-16 with fc6 and fc7 turned into convolutions (SSD, Liu et al., ECCV 2016, section 3.1).

    Gives conv4_3 (stride 8) and fc7 (stride 16). The fifth pooling has no stride; fc6 is dilated by
    6 in return. Poolings keep an odd last row: the maps of a 300x300 image have 38 and 19 cells.
    Layers have the numbers of torchvision's ``vgg16().features``; fc6 and fc7 follow as 31 and 33.

    Args:
        width: channels of the first stage; 64 is the published network.
        weights: safetensors file with torchvision's parameter names (``classifier.*`` left out), or
            None. fc6 and fc7 start from random values if it has none.
    """

    classifier = "classifier."
    fresh = ("features.31.", "features.33.")

    def __init__(self, width: int = 64, weights: str | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for factor, count in STAGES:
            for _ in range(count):
                layers += [nn.Conv2d(channels, width * factor, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width * factor
            layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
        layers[-1] = nn.MaxPool2d(3, stride=1, padding=1)
        layers += [nn.Conv2d(channels, width * 16, 3, padding=6, dilation=6), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(width * 16, width * 16, 1), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        pools = [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        self.cut = pools[3]  # conv4_3 is what the fourth pooling reads
        self.out_channels = (width * 8, width * 16)
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        if weights is not None:
            load_weights(self, weights)

    def keep_levels(self, count: int) -> None:
        """See ``Backbone``."""
        if count == 1:
            self.features = self.features[: self.cut]
        self.out_channels = self.out_channels[:count]

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> maps of strides 8 and 16."""
        maps = [self.features[: self.cut](images)]
        if len(self.out_channels) == 2:
            # The pooling must not change conv4_3's map, and does not: it is not in place.
            maps.append(self.features[self.cut :](maps[0]))
        return maps
