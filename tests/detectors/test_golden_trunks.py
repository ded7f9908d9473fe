"""Backbone and neck of every golden case, its weights loaded, against the recorded pyramid."""

import pytest
import torch
import yaml
from rebalance.detectors import build_detector
from rebalance.detectors.backbones import make_backbone
from rebalance.detectors.heads import HeadContext, make_head
from rebalance.detectors.necks import make_neck
from rebalance.weights.convert import export_weights, import_weights
from torch import nn

from detectors.golden import FOLDER, GoldenCase, case_names

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="needs golden/detectors (REBALANCE_GOLDEN)"
)

RESNET = {"name": "resnet", "depth": 50, "width": 4, "frozen_stages": 0,
          "norm": "frozen_statistics"}  # fmt: skip
POOLED = {"name": "fpn", "channels": 8, "first_level": 2, "num_levels": 5, "extra": "pool"}
FROM_C5 = {"name": "fpn", "channels": 8, "first_level": 3, "num_levels": 5, "extra": "conv",
           "extra_from": "input", "extra_relu": False}  # fmt: skip
FROM_P5 = {**FROM_C5, "extra_from": "output"}
GROIE = {**POOLED, "channels": 12}
STEM64 = {**RESNET, "stem": 64}  # mmdetection 2.1.0 narrows the stages only
YOLACT = {**FROM_C5, "upsample": "bilinear"}
CARAFE = {"name": "carafe_fpn", "channels": 8, "compressed_channels": 8}
LIBRA = {**POOLED, "name": "balanced_fpn"}
DEFORMABLE = {**RESNET, "deformable_stages": [2, 3, 4]}
CONTEXT = {**RESNET, "context_stages": [2, 3, 4], "context_ratio": 0.25}
TRUNKS = {
    "alrp_faster_rcnn": (STEM64, POOLED),
    "alrp_fovea": (STEM64, FROM_C5),
    "alrp_retinanet": (STEM64, FROM_C5),
    "alrp_retinanet_atss": (STEM64, FROM_C5),
    "ap_fovea": (STEM64, FROM_C5),
    "ap_retinanet": (STEM64, FROM_C5),
    "atss_r50_fpn": (RESNET, FROM_P5),
    "cascade_mask_rcnn_r50_fpn": (RESNET, POOLED),
    "cascade_rcnn_r50_fpn": (RESNET, POOLED),
    "dynamic_rcnn": (RESNET, POOLED),
    "faster_rcnn_carafe": (RESNET, CARAFE),
    "faster_rcnn_dconv": (DEFORMABLE, POOLED),
    "faster_rcnn_ohem": (RESNET, POOLED),
    "faster_rcnn_r50_fpn": (RESNET, POOLED),
    "fovea_align_r50_fpn": (RESNET, FROM_C5),
    "fovea_r50_fpn": (RESNET, FROM_C5),
    "htc_without_semantic_r50_fpn": (RESNET, POOLED),
    "libra_faster_rcnn": (RESNET, LIBRA),
    "mask_rcnn_gcb_r16": (CONTEXT, POOLED),
    "mask_rcnn_groie": (RESNET, GROIE),
    "mask_rcnn_r50_fpn": (RESNET, POOLED),
    "ms_rcnn_r50_fpn": (RESNET, POOLED),
    "paa_r50_fpn": (RESNET, FROM_P5),
    "r3cnn_advanced": (RESNET, POOLED),
    "r3cnn_naive": (RESNET, POOLED),
    "ranksort_atss": (RESNET, FROM_P5),
    "ranksort_cascade_rcnn": (RESNET, POOLED),
    "ranksort_faster_rcnn": (RESNET, POOLED),
    "ranksort_mask_rcnn": (RESNET, POOLED),
    "ranksort_paa": (RESNET, FROM_P5),
    "ranksort_yolact": (RESNET, YOLACT),
    "retinanet_ignore": (RESNET, FROM_C5),
    "retinanet_r50_fpn": (RESNET, FROM_C5),
    "solov2_r50_fpn": (RESNET, POOLED),
    "yolact_r50": (RESNET, YOLACT),
}
HEADS_ALONE = {"ranksort_solov2_head", "ssd300_head"}  # no backbone; the latter has a neck


class Parts(nn.Module):
    """A detector without its steps: what weights are imported into."""

    def __init__(self, backbone, neck, **heads):
        super().__init__()
        self.backbone, self.neck, self.heads = backbone, neck, nn.ModuleDict(heads)
        self.steps = []


def make_trunk(backbone, neck, **heads):
    backbone = make_backbone(**backbone)
    return Parts(backbone, make_neck(in_channels=backbone.out_channels, **neck), **heads)


def assert_close_to_largest(ours, golden, tolerance=1e-4):
    """Within ``tolerance`` of the largest value, as the golden README has it."""
    torch.testing.assert_close(ours, golden, rtol=0, atol=tolerance * golden.abs().max().item())


def of_trunk(state):
    return {k: v for k, v in state.items() if k.startswith(("backbone.", "neck."))}


def test_every_case_is_here():
    assert TRUNKS.keys() | HEADS_ALONE == set(case_names())


@pytest.mark.parametrize("name", sorted(TRUNKS))
def test_pyramid_is_the_recorded_one(name):
    case = GoldenCase(name)
    trunk = make_trunk(*TRUNKS[name])
    state = of_trunk(case.state())
    trunk.load_state_dict(import_weights(state, trunk, "mmdetection"))
    with torch.no_grad():
        maps = trunk.neck(trunk.backbone(case["in/img"]))  # in training mode, as recorded
    recorded = [level for level in range(5) if f"train_a/neck/0/out/{level}" in case]
    # The finest level of the larger cases is not stored.
    assert recorded == list(range(int("train_a/neck/0/out/0" not in case), len(maps)))
    for level in recorded:
        assert_close_to_largest(maps[level], case[f"train_a/neck/0/out/{level}"])


@pytest.mark.parametrize("name", sorted(TRUNKS))
def test_weights_come_back_as_they_were(name):
    trunk = make_trunk(*TRUNKS[name])
    state = of_trunk(GoldenCase(name).state())
    trunk.load_state_dict(import_weights(state, trunk, "mmdetection"))
    assert_same(export_weights(trunk, "mmdetection"), state)


def test_ssd_maps_are_the_recorded_ones():
    case = GoldenCase("ssd300_head")
    neck = make_neck("ssd", [8, 16], size=300, channels=[8] * 4)
    detector = Parts(nn.Identity(), neck)
    state = of_trunk(case.state())
    detector.load_state_dict(import_weights(state, detector, "mmdetection"))
    with torch.no_grad():
        maps = neck([case["in/feats/0"], case["in/feats/1"]])
    assert [tuple(map_.shape[1:]) for map_ in maps] == [
        (8, 38, 38), (16, 19, 19), (8, 10, 10), (8, 5, 5), (8, 3, 3), (8, 1, 1)
    ]  # fmt: skip
    for level in range(1, 6):  # the finest is not stored: see the test of its own
        assert_close_to_largest(maps[level], case[f"train_a/neck/0/out/{level}"])
    assert_same(export_weights(detector, "mmdetection"), state)


def test_retinanet_head_has_the_recorded_outputs():
    case = GoldenCase("retinanet_r50_fpn")
    head = make_head(HeadContext((8,) * 5, 5, 5, (9,) * 5), name="retina", channels=8)
    detector = make_trunk(RESNET, FROM_C5, dense=head)
    state = case.state()
    detector.load_state_dict(import_weights(state, detector, "mmdetection"))
    maps = [case[f"train_a/neck/0/out/{level}"] for level in range(5)]
    predictions = head(maps)
    for kind, ours, columns in (("cls", predictions.logits, 5), ("reg", predictions.deltas, 4)):
        theirs = [case[f"train_a/bbox_head.forward/0/{kind}/{level}"] for level in range(5)]
        rows = [m.permute(0, 2, 3, 1).reshape(2, -1, columns) for m in theirs]
        assert_close_to_largest(ours.reshape(-1, columns), torch.cat(rows, 1).flatten(0, 1))
    assert_same(export_weights(detector, "mmdetection"), state)


def test_faster_rcnn_heads_have_the_recorded_outputs():
    """The softmax of ours has the background first, the recorded one last."""
    case = GoldenCase("faster_rcnn_r50_fpn")
    rpn = make_head(HeadContext((8,) * 5, 1, 1, (3,) * 5), name="rpn", channels=8)
    box = make_head(HeadContext((8,) * 5, 5, 6), name="fc", channels=32)
    detector = make_trunk(RESNET, POOLED, rpn=rpn, a=box)
    state = case.state()
    detector.load_state_dict(import_weights(state, detector, "mmdetection"))
    predictions = box(case["train_a/roi_head.bbox_roi_extractor/0/out"])
    logits = case["train_a/roi_head.bbox_head.forward/0/cls"]
    assert_close_to_largest(predictions.logits[:, 1:], logits[:, :5])
    assert_close_to_largest(predictions.logits[:, 0], logits[:, 5])
    deltas = case["train_a/roi_head.bbox_head.forward/0/reg"]
    assert_close_to_largest(predictions.deltas.flatten(1), deltas)
    maps = [case[f"train_a/neck/0/out/{level}"] for level in range(5)]
    logits = [case[f"train_a/rpn_head.forward/0/cls/{level}"] for level in range(5)]
    rows = [map_.permute(0, 2, 3, 1).reshape(2, -1) for map_ in logits]
    assert_close_to_largest(rpn(maps).logits[:, 0], torch.cat(rows, dim=1).flatten())
    assert_same(export_weights(detector, "mmdetection"), state)


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=0)


def detector_of(repository, backbone, neck, steps, heads):
    """Narrow heads for the settings of Faster R-CNN, with ``steps``."""
    detector = yaml.safe_load((repository / "config" / "detectors.yaml").read_text())["faster_rcnn"]
    detector |= {"neck": neck, "steps": steps}
    detector["heads"] = {"rpn": {"name": "rpn", "channels": 8}, **heads}
    detector["mask"] = {
        "pooling": {"size": 14, "sampling_ratio": 0},
        "objective": {"name": "linear", "mask": {"name": "mask_cross_entropy"}},
    }
    return build_detector({"backbone": backbone, "detector": detector}, num_classes=5)


FC = {"name": "fc", "channels": 32, "class_agnostic": True}
MASK = {"name": "mask", "channels": 8}
PASSED_ON = {**MASK, "residual": True}
BOXES = [{"box": name, "iou": iou} for name, iou in (("a", 0.5), ("b", 0.6), ("c", 0.7))]
WITH_MASKS = [BOXES[0], {"mask": "m"}, BOXES[1], {"mask": "n"}, BOXES[2], {"mask": "o"}]
STAGED = {
    "mask_rcnn_r50_fpn": ([BOXES[0], {"mask": "m"}], {"a": {**FC, "class_agnostic": False},
                                                       "m": MASK}),
    "cascade_rcnn_r50_fpn": (BOXES, {"a": FC, "b": FC, "c": FC}),
    "cascade_mask_rcnn_r50_fpn": (WITH_MASKS, {"a": FC, "b": FC, "c": FC,
                                               "m": MASK, "n": MASK, "o": MASK}),
    "htc_without_semantic_r50_fpn": (WITH_MASKS, {"a": FC, "b": FC, "c": FC, "m": MASK,
                                                  "n": PASSED_ON, "o": PASSED_ON}),
    "r3cnn_naive": ([BOXES[0], {"mask": "m"}, {"box": "a", "iou": 0.6}, {"mask": "m"}],
                    {"a": FC, "m": PASSED_ON}),
}  # fmt: skip


@pytest.mark.parametrize("name", STAGED)
def test_whole_state_dicts_go_in_and_come_back(repository, name):
    steps, heads = STAGED[name]
    detector = detector_of(repository, *TRUNKS[name], ["rpn", *steps], heads)
    state = GoldenCase(name).state()
    detector.load_state_dict(import_weights(state, detector, "mmdetection"))
    assert_same(export_weights(detector, "mmdetection"), state)
