"""Box coder, anchors, backbones, neck, heads."""

import math

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from rebalance.detectors.backbones import ResNetBackbone, load_weights, make_backbone
from rebalance.detectors.candidates import anchors as lay_anchors
from rebalance.detectors.coders import DeltaCoder
from rebalance.detectors.heads import HeadContext, RetinaHead
from rebalance.detectors.necks import Pyramid
from rebalance.errors import InputError
from safetensors.torch import save_file


@pytest.mark.parametrize(("box", "weights", "expected"), [
    pytest.param([0, 0, 10, 20], (1, 1, 1, 1), [0, 0, 0, 0], id="the reference itself"),
    pytest.param([5, 0, 15, 20], (1, 1, 1, 1), [0.5, 0, 0, 0], id="shifted by half its width"),
    pytest.param([0, 0, 20, 20], (10, 10, 5, 5), [5, 0, 5 * math.log(2), 0], id="twice as wide"),
])  # fmt: skip
def test_deltas_by_hand(box, weights, expected):
    reference = torch.tensor([[0.0, 0, 10, 20]])
    deltas = DeltaCoder(weights).encode(torch.tensor([box]).float(), reference)
    torch.testing.assert_close(deltas, torch.tensor([expected]).float())


corner = st.floats(-50, 50)
side = st.floats(0.5, 30)  # sides differ less than 62.5 fold, so nothing is clamped


@settings(deadline=None)
@given(st.tuples(corner, corner, side, side), st.tuples(corner, corner, side, side))
def test_decoding_inverts_encoding(one, other):
    boxes = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in (one, other)]).double()
    coder = DeltaCoder((10.0, 10.0, 5.0, 5.0))
    decoded = coder.decode(coder.encode(boxes[:1], boxes[1:]), boxes[1:])
    torch.testing.assert_close(decoded, boxes[:1], atol=1e-6, rtol=1e-6)


def test_huge_deltas_decode_to_finite_boxes():
    boxes = DeltaCoder().decode(torch.tensor([[0.0, 0, 1e4, 1e4]]), torch.tensor([[0.0, 0, 8, 8]]))
    torch.testing.assert_close(boxes[0, 2] - boxes[0, 0], torch.tensor(8 * 1000 / 16))


def test_anchors_by_hand():
    grid = lay_anchors([8, 16], base_scale=2, scales_per_octave=1, ratios=[1.0])
    anchors, level_sizes = grid([torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 2)])
    assert level_sizes == [6, 2]
    assert anchors[:4].tolist() == [[-8, -8, 8, 8], [0, -8, 16, 8], [8, -8, 24, 8], [-8, 0, 8, 16]]
    assert anchors[6:].tolist() == [[-16, -16, 16, 16], [0, -16, 32, 16]]


def test_head_rows_are_in_the_order_of_the_anchors():
    """A head that copies channel values: row (cell, anchor) must hold that cell's channels."""
    head = RetinaHead(HeadContext((6,), 3, 3, (2,)), num_convs=0)
    for layer in (head.class_logits, head.box_deltas):
        torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(head.class_logits.bias)
    for channel in range(6):
        head.class_logits.weight.data[channel, channel, 1, 1] = 1
    map_ = torch.arange(6 * 4).reshape(1, 6, 2, 2).float()
    logits, deltas = head([map_])[:2]
    assert logits.shape == (8, 3)
    assert deltas.shape == (8, 1, 4)
    # cell (0, 1) is the second; its second anchor has channels 3, 4, 5
    assert logits[3].tolist() == map_[0, 3:, 0, 1].tolist()


@pytest.mark.parametrize("depth", [18, 50])
def test_resnet_equals_torchvisions_after_loading_its_weights(depth, tmp_path):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, f"resnet{depth}")(
        norm_layer=torchvision.ops.FrozenBatchNorm2d
    ).eval()
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    ours = make_backbone("resnet", depth=depth, weights=str(tmp_path / "weights.safetensors"))
    body = torchvision.models._utils.IntermediateLayerGetter(
        theirs, {f"layer{k}": str(k) for k in (1, 2, 3, 4)}
    )
    image = torch.rand(1, 3, 64, 64)
    for map_, expected in zip(ours(image), body(image).values(), strict=True):
        torch.testing.assert_close(map_, expected)


def test_weights_with_batch_norm_counters_load_into_frozen_ones(tmp_path):
    state = torchvision.models.resnet18().state_dict()
    save_file(state, tmp_path / "w.safetensors")
    ours = ResNetBackbone(18, weights=str(tmp_path / "w.safetensors"))
    torch.testing.assert_close(ours.layer4[1].bn2.weight, state["layer4.1.bn2.weight"])


@pytest.mark.parametrize(("change", "message"), [
    pytest.param(lambda s: s.pop("conv1.weight"), r"missing \['conv1.weight'\]", id="missing"),
    pytest.param(lambda s: s.update(extra=torch.zeros(1)), r"unknown \['extra'\]", id="unknown"),
    pytest.param(lambda s: s.update({"conv1.weight": torch.zeros(8, 3, 3, 3)}),
                 r"conv1.weight is \[8, 3, 3, 3\], this backbone needs \[8, 3, 7, 7\]", id="shape"),
])  # fmt: skip
def test_weights_that_do_not_fit_are_refused_by_name(change, message, tmp_path):
    backbone = ResNetBackbone(18, width=8)
    state = {name: value.clone() for name, value in backbone.state_dict().items()}
    change(state)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=message):
        load_weights(backbone, tmp_path / "w.safetensors")


def test_damaged_and_missing_weight_files_are_refused_by_name(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    for name in ("bad.safetensors", "absent.safetensors"):
        with pytest.raises(InputError, match=name):
            make_backbone("resnet", depth=18, weights=str(tmp_path / name))


def test_frozen_stages_do_not_train_and_the_others_do():
    backbone = ResNetBackbone(18, width=8, frozen_stages=2, norm="group")
    frozen = {name for name, p in backbone.named_parameters() if not p.requires_grad}
    assert {name.split(".")[0] for name in frozen} == {"conv1", "bn1", "layer1", "layer2"}
    trained = {name.split(".")[0] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"layer3", "layer4"}


@pytest.mark.parametrize("options", [
    pytest.param({"name": "plain", "widths": [8, 16, 24, 32], "convs": 2}, id="plain"),
    pytest.param({"name": "resnet", "depth": 18, "width": 8}, id="resnet18"),
    pytest.param({"name": "resnet", "depth": 50, "width": 8, "norm": "group"}, id="resnet50"),
])  # fmt: skip
def test_pyramid_levels_have_their_strides(options):
    backbone = make_backbone(**options)
    neck = Pyramid(backbone.out_channels, channels=8, first_level=3, num_levels=5)
    maps = neck(backbone(torch.zeros(1, 3, 128, 256)))
    assert neck.strides == (8, 16, 32, 64, 128)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (8, 128 // stride, 256 // stride) for stride in neck.strides
    ]


def test_unknown_parts_are_refused():
    with pytest.raises(InputError, match=r"backbone must be one of plain, resnet, vgg"):
        make_backbone("vit")
    with pytest.raises(InputError, match=r"depth: must be one of 18, 34, 50, 101, got 49"):
        make_backbone("resnet", depth=49)
    with pytest.raises(InputError, match="first_level must be in"):
        Pyramid([8, 8], first_level=4)


@pytest.mark.parametrize("options", [
    pytest.param({"name": "plain"}, id="plain"),
    pytest.param({"name": "resnet", "depth": 18, "width": 8, "frozen_stages": 0}, id="resnet18"),
])  # fmt: skip
def test_stages_that_nothing_reads_are_dropped(options):
    """DDP waits for the gradient of every parameter, so there must be none without one."""
    backbone = make_backbone(**options)
    before = backbone(torch.ones(1, 3, 64, 64))
    backbone.keep_levels(2)
    after = backbone(torch.ones(1, 3, 64, 64))
    assert len(backbone.out_channels) == len(after) == 2
    for map_, expected in zip(after, before, strict=False):
        torch.testing.assert_close(map_, expected)
    sum(map_.sum() for map_ in after).backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)
