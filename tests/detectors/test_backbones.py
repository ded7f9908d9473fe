"""Backbones and necks against torchvision's, against counts by hand, and against their formulas."""

import pytest
import torch
import torchvision
from rebalance.detectors.backbones import make_backbone
from rebalance.detectors.carafe import Carafe
from rebalance.detectors.context import GlobalContext, NonLocal
from rebalance.detectors.deformable import DeformableConv2d
from rebalance.detectors.head_parts import HeadContext
from rebalance.detectors.heads import make_head
from rebalance.detectors.necks import make_neck
from rebalance.errors import InputError
from safetensors.torch import save_file
from torch.nn import functional


def trainable(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def drawn(module, std=0.1):
    """Random parameters, where the initial ones are zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
    return module


@pytest.mark.parametrize(("name", "options"), [
    pytest.param("resnet34", {"depth": 34}, id="ResNet-34"),
    pytest.param("resnext101_64x4d", {"depth": 101, "groups": 64, "width_per_group": 4},
                 id="ResNeXt-101 64x4d"),
])  # fmt: skip
def test_resnets_equal_torchvisions(name, options, tmp_path):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)().eval()
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    ours = make_backbone("resnet", **options, weights=str(tmp_path / "w.safetensors"))
    body = torchvision.models._utils.IntermediateLayerGetter(
        theirs, {f"layer{k}": str(k) for k in (1, 2, 3, 4)}
    )
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for map_, expected in zip(ours(image), body(image).values(), strict=True):
            torch.testing.assert_close(map_, expected)


def test_resnext_101_32x4d_has_the_parameters_of_its_work():
    """Xie et al., Table 1 and 4: 44.2 M with the classifier, whose 2,049,000 are not here."""
    backbone = make_backbone(
        "resnet", depth=101, groups=32, width_per_group=4, norm="frozen_statistics", frozen_stages=0
    )
    assert trainable(backbone) == 44_177_704 - 2_049_000
    assert backbone.layer1[0].conv2.weight.shape == (128, 4, 3, 3)  # 32 groups of 4
    assert backbone.layer4[0].conv2.weight.shape == (1024, 32, 3, 3)


def test_vgg_is_torchvisions_ssd(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.detection.ssd300_vgg16(weights=None, weights_backbone=None).eval()
    state = theirs.backbone.state_dict()
    ours = make_backbone("vgg")
    neck = make_neck("ssd", ours.out_channels)
    names = dict(zip(ours.state_dict(), [k for k in state if k != "scale_weight"], strict=False))
    ours.load_state_dict({name: state[partner] for name, partner in names.items()})
    rest = [k for k in state if k not in names.values() and k != "scale_weight"]
    with torch.no_grad():
        neck.scale.copy_(state["scale_weight"])
        for parameter, partner in zip(neck.extra.parameters(), rest, strict=True):
            parameter.copy_(state[partner])
        image = torch.rand(1, 3, 300, 300)
        maps, expected = neck(ours(image)), theirs.backbone(image).values()
    assert [map_.shape[-1] for map_ in maps] == [38, 19, 10, 5, 3, 1]
    for map_, partner in zip(maps, expected, strict=True):
        torch.testing.assert_close(map_, partner)


def test_ssd512_has_seven_levels():
    backbone = make_backbone("vgg", width=4)
    neck = make_neck("ssd", backbone.out_channels, size=512, channels=[8] * 5)
    maps = neck(backbone(torch.rand(1, 3, 512, 512)))
    assert [map_.shape[-1] for map_ in maps] == [64, 32, 16, 8, 4, 2, 1]
    assert neck.level_channels == tuple(map_.shape[1] for map_ in maps)
    assert all(
        stride * map_.shape[-1] == 512 for stride, map_ in zip(neck.strides, maps, strict=True)
    )


def test_ssd_scales_the_unit_vectors_of_its_first_map():
    map_ = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1).expand(1, 2, 40, 40)
    neck = make_neck("ssd", [2, 4], channels=[4] * 4)
    scaled = neck([map_, torch.rand(1, 4, 20, 20)])[0]
    torch.testing.assert_close(scaled[0, :, 0, 0], torch.tensor([12.0, 16.0]))  # 20 * (0.6, 0.8)


def test_imagenet_weights_of_vgg_leave_fc6_and_fc7_as_drawn(tmp_path):
    state = torchvision.models.vgg16().features.state_dict()
    state = {f"features.{name}": value for name, value in state.items()}
    save_file({**state, "classifier.0.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    ours = make_backbone("vgg", weights=str(tmp_path / "w.safetensors"))
    torch.testing.assert_close(ours.features[28].weight, state["features.28.weight"])
    assert ours.features[31].weight.std() > 0


def test_trunk_of_mask_rcnn_trains_what_its_work_counts():
    """R3-CNN, Table 1: 44,170 K with RPN 593,935, box head 14,306,705 and mask head 2,643,280.

    ResNet-50 without classifier 23,508,032, less the stem 9,536 and layer1 215,808; pyramid
    983,040 + 1,024 + 4 * 590,080.
    """
    backbone = make_backbone("resnet", depth=50, norm="frozen_statistics", frozen_stages=1)
    neck = make_neck("fpn", backbone.out_channels, first_level=2, num_levels=5, extra="pool")
    assert trainable(backbone) == 23_508_032 - 9_536 - 215_808
    assert trainable(neck) == 3_344_384
    heads = 593_935 + 14_306_705 + 2_643_280
    assert (trainable(backbone) + trainable(neck) + heads) // 1000 == 44_170
    frozen = make_backbone("resnet", depth=50, norm="frozen_batch", frozen_stages=1)
    assert trainable(backbone) - trainable(frozen) == 50_176


def test_frozen_statistics_stay_and_the_affine_trains():
    backbone = make_backbone("resnet", depth=18, width=8, norm="frozen_statistics")
    buffers = {name: value.clone() for name, value in backbone.named_buffers()}
    images = torch.rand(2, 3, 64, 64)
    in_training = backbone.train()(images)[-1]
    in_training.sum().backward()
    for name, value in backbone.named_buffers():
        assert torch.equal(value, buffers[name])
    assert torch.equal(in_training, backbone.eval()(images)[-1])
    assert backbone.layer4[1].bn2.weight.grad.abs().sum() > 0
    assert backbone.layer1[0].bn1.weight.grad is None


def test_batch_statistics_train_but_in_frozen_stages():
    backbone = make_backbone("resnet", depth=18, width=8, norm="batch", frozen_stages=1).train()
    backbone(torch.rand(2, 3, 64, 64))
    counts = {name.split(".")[0]: int(value) for name, value in backbone.named_buffers()
              if name.endswith("num_batches_tracked")}  # fmt: skip
    assert counts == {"bn1": 0, "layer1": 0, "layer2": 1, "layer3": 1, "layer4": 1}


@pytest.mark.parametrize("modulated", [False, True])
def test_deformable_convolution_starts_as_a_plain_one(modulated):
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
    deformable = DeformableConv2d.of(plain, modulated)
    map_ = torch.rand(2, 4, 9, 7)
    factor = 0.5 if modulated else 1.0  # sigmoid(0)
    torch.testing.assert_close(deformable(map_), plain(map_) * factor)


def test_deformable_convolution_samples_at_its_offsets():
    """All offsets one row down and half a column right: the plain convolution of a shifted map."""
    deformable = DeformableConv2d(1, 1, modulated=True)
    torch.nn.init.ones_(deformable.weight)
    with torch.no_grad():  # (y, x) of each of nine cells, then nine factors
        deformable.conv_offset.bias.copy_(torch.tensor([1.0, 0.5] * 9 + [100.0] * 9))
    map_ = torch.rand(1, 1, 8, 8)
    shifted = (map_[:, :, 1:, :-1] + map_[:, :, 1:, 1:]) / 2
    expected = functional.conv2d(shifted, torch.ones(1, 1, 3, 3))
    torch.testing.assert_close(deformable(map_)[:, :, 1:6, 1:6], expected[:, :, :5, :5])


def test_modulated_stages_train_and_others_stay_plain():
    backbone = make_backbone(
        "resnet", depth=50, width=4, deformable_stages=[3, 4], modulated=True, norm="group"
    )
    kinds = [type(getattr(backbone, f"layer{k}")[0].conv2) for k in (1, 2, 3, 4)]
    assert kinds == [torch.nn.Conv2d, torch.nn.Conv2d, DeformableConv2d, DeformableConv2d]
    backbone(torch.rand(1, 3, 64, 64))[-1].square().sum().backward()
    assert backbone.layer4[2].conv2.conv_offset.weight.shape == (27, 32, 3, 3)
    assert backbone.layer4[2].conv2.conv_offset.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("block", [GlobalContext(8, 0.5), NonLocal(8), Carafe(8)])
def test_blocks_start_neutral(block):
    map_ = torch.rand(2, 8, 5, 6)
    if isinstance(block, Carafe):  # a nearly uniform mean of windows: constant maps stay inside
        out = block(torch.ones_like(map_))
        torch.testing.assert_close(out[:, :, 4:-4, 4:-4], torch.ones(2, 8, 2, 4))
    else:
        assert torch.equal(block(map_), map_)


def test_global_context_by_loops():
    block, map_ = drawn(GlobalContext(4, 0.5), 1.0), torch.rand(1, 4, 3, 2)
    cells = map_[0].flatten(1).T  # [6, 4]
    scores = torch.stack([block.conv_mask.weight[0, :, 0, 0] @ cell for cell in cells])
    weights = scores.exp() / scores.exp().sum()
    pooled = sum(weight * cell for weight, cell in zip(weights, cells, strict=True))
    added = block.channel_add_conv(pooled[None, :, None, None])
    torch.testing.assert_close(block(map_), map_ + added)


@pytest.mark.parametrize("scaled", [False, True])
def test_non_local_by_loops(scaled):
    block, map_ = drawn(NonLocal(4, scaled=scaled), 1.0), torch.rand(1, 4, 3, 2)
    g, theta, phi = (layer(map_)[0].flatten(1).T for layer in (block.g, block.theta, block.phi))
    gathered = torch.zeros(6, 2)
    for i in range(6):
        products = torch.stack([theta[i] @ phi[j] / (2**0.5 if scaled else 1) for j in range(6)])
        gathered[i] = sum(p * g[j] for j, p in enumerate(products.exp() / products.exp().sum()))
    expected = map_ + block.conv_out(gathered.T.reshape(1, 2, 3, 2))
    torch.testing.assert_close(block(map_), expected)


def test_carafe_by_loops():
    block, map_ = (
        drawn(Carafe(3, kernel_size=3, compressed_channels=4), 1.0),
        torch.rand(1, 3, 3, 4),
    )
    encoded = functional.pixel_shuffle(block.content_encoder(block.channel_compressor(map_)), 2)
    expected = torch.zeros(1, 3, 6, 8)
    for y in range(6):
        for x in range(8):
            weights = encoded[0, :, y, x].softmax(0).reshape(3, 3)
            for dy in range(3):
                for dx in range(3):
                    row, column = y // 2 + dy - 1, x // 2 + dx - 1
                    if 0 <= row < 3 and 0 <= column < 4:
                        expected[0, :, y, x] += weights[dy, dx] * map_[0, :, row, column]
    torch.testing.assert_close(block(map_), expected)


def test_extra_levels_read_what_they_say():
    maps = [torch.rand(1, 4, 8, 8), torch.rand(1, 6, 4, 4)]
    for extra_from, width in (("input", 6), ("output", 5)):
        neck = make_neck("fpn", [4, 6], channels=5, first_level=2, num_levels=4,
                         extra_from=extra_from)  # fmt: skip
        levels = neck(maps)
        first, second = neck.fpn.extra_blocks.convs
        assert first.weight.shape == (5, width, 3, 3)
        torch.testing.assert_close(
            levels[2], first(maps[1] if extra_from == "input" else levels[1])
        )
        torch.testing.assert_close(levels[3], second(levels[2].relu()))
    neck = make_neck("fpn", [4, 6], channels=5, first_level=2, num_levels=4, extra_relu=False)
    levels = neck(maps)
    torch.testing.assert_close(levels[3], neck.fpn.extra_blocks.convs[1](levels[2]))
    neck = make_neck("fpn", [4, 6], channels=5, first_level=2, num_levels=4, extra="pool")
    levels = neck(maps)
    assert torch.equal(levels[2], levels[1][:, :, ::2, ::2])
    assert torch.equal(levels[3], levels[1][:, :, ::4, ::4])


def test_carafe_pyramid_on_maps_of_odd_size():
    neck = make_neck("carafe_fpn", [4, 8], channels=4, num_levels=3, compressed_channels=4)
    maps = neck([torch.rand(1, 4, 13, 9), torch.rand(1, 8, 7, 5)])
    assert [tuple(map_.shape[1:]) for map_ in maps] == [(4, 13, 9), (4, 7, 5), (4, 4, 3)]


@pytest.mark.parametrize(("make", "message"), [
    pytest.param(lambda: make_backbone("resnet", depth=18, deformable_stages=[4]),
                 "needs depth 50 or 101, got depth 18", id="basic blocks"),
    pytest.param(lambda: make_backbone("resnet", context_stages=[5]),
                 r"context_stages.0.: must be at most 4, got 5", id="stage"),
    pytest.param(lambda: make_backbone("resnet", norm="instance"),
                 "norm: must be one of", id="norm"),
    pytest.param(lambda: make_neck("bifpn", [8]), "neck must be one of", id="neck"),
    pytest.param(lambda: make_neck("fpn", [8], first_level=2, extra="pool", extra_from="input"),
                 r"extra_from: must be 'output' with extra 'pool', got 'input'", id="pool from C5"),
    pytest.param(lambda: make_neck("fpn", [8], first_level=2, upsample="cubic"),
                 "upsample: must be one of", id="upsample"),
    pytest.param(lambda: make_neck("ssd", [8, 8], size=400), "size: must be one of", id="ssd"),
    pytest.param(lambda: make_neck("ssd", [8, 8], channels=[8]),
                 "channels: must be 4 numbers with size 300", id="levels"),
    pytest.param(lambda: make_neck("balanced_fpn", [8], refine_level=5),
                 r"refine_level: must be less than num_levels, 5, got 5", id="refine level"),
    pytest.param(lambda: make_head(HeadContext((8, 16), 2, 3), "retina"),
                 "same channels on all levels", id="one head for unlike maps"),
])  # fmt: skip
def test_impossible_trunks_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
