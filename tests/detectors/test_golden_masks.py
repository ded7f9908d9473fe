"""Masks, step by step as the published code was recorded; loops of R3-CNN in training and at test.

What ``test_golden`` compares at the end, here on the way: RoIs of the mask heads, refined and
assigned anew, their targets and outputs, IoUs of masks; masks in pixels of the original image.
"""

import functools

import pytest
import torch
from rebalance.detectors import build_detector

from detectors import test_golden as golden
from detectors.test_golden_staged import assert_close_to_largest, rows_of

pytestmark = golden.pytestmark
R3CNN = ("r3cnn_naive", "r3cnn_advanced")
SCORED = ("ms_rcnn_r50_fpn", "r3cnn_advanced")
MMDETECTION = (
    "mask_rcnn_r50_fpn",
    "mask_rcnn_gcb_r16",
    "mask_rcnn_groie",
    "ms_rcnn_r50_fpn",
    "cascade_mask_rcnn_r50_fpn",
    "htc_without_semantic_r50_fpn",
)
CASES = (*MMDETECTION, *R3CNN)
PIXELS = 1e-2  # global context amplifies rounding


def of_scenes(names):
    return pytest.mark.parametrize(("name", "scene"), [(n, s) for n in names for s in "ab"])


@functools.cache
def trained(name, scene):
    """The case, and what each kind of step trained on."""
    case, settings, detector = golden.load(name)
    if settings.get("recorded_proposals"):
        golden.give_proposals(case, detector.steps[0], f"train_{scene}/rpn_head.get_bboxes/0")
    rngs = [torch.Generator().manual_seed(0) for _ in case.meta["img_metas"]]
    found = {}
    with torch.no_grad():
        steps = detector.train().train_steps(
            golden.images_of(case), golden.targets_of(case, scene), rngs
        )
        for step, matched, _ in steps:
            found.setdefault(step.kind, []).append(matched)
    return case, found


def places(name, count):
    """Of each mask step: its head's number there with a dot, and the number of the call."""
    if name in R3CNN:
        return [(".0", loop) for loop in range(count)]
    return [("", 0)] if count == 1 else [(f".{stage}", 0) for stage in range(count)]


@of_scenes(CASES)
def test_masks_are_trained_on_the_recorded_rois_towards_the_recorded_targets(name, scene):
    """Of HTC and R3-CNN the RoIs are refined boxes, re-assigned with the stage's own threshold."""
    case, found = trained(name, scene)
    for matched, (head, call) in zip(found["mask"], places(name, len(found["mask"])), strict=True):
        rois = case[f"train_{scene}/roi_head.mask_roi_extractor{head}/{call}/rois"]
        rows = rows_of(rois, matched.candidates, PIXELS)
        targets = case[f"train_{scene}/roi_head.mask_head{head}.get_targets/{call}"]
        assert torch.equal(matched.mask_targets[rows], targets)
        assert 0 < targets.mean() < 1


@pytest.mark.parametrize("name", CASES)
def test_mask_heads_have_the_recorded_outputs(name):
    case, found = trained(name, "a")
    for matched, (head, call) in zip(found["mask"], places(name, len(found["mask"])), strict=True):
        rois = case[f"train_a/roi_head.mask_roi_extractor{head}/{call}/rois"]
        rows = rows_of(rois, matched.candidates, PIXELS)
        recorded = case[f"train_a/roi_head.mask_head{head}.forward/{call}/out"]
        logits = matched.predictions.extra["mask_logits"][rows[: len(recorded)]]
        assert_close_to_largest(logits, recorded, tolerance=1e-3)


@of_scenes(SCORED)
def test_ious_of_masks_and_what_is_learnt_are_the_recorded_ones(name, scene):
    case, found = trained(name, scene)
    (matched,) = found["mask_iou"]
    head, call = places(name, len(found["mask"]))[-1]
    rois = case[f"train_{scene}/roi_head.mask_roi_extractor{head}/{call}/rois"]
    rows = rows_of(rois, matched.candidates, PIXELS)
    targets = case[f"train_{scene}/roi_head.mask_iou_head.get_targets/0"]
    torch.testing.assert_close(matched.mask_iou_targets[rows], targets, rtol=1e-4, atol=1e-5)
    site = f"train_{scene}/roi_head.mask_iou_head.forward/0/out"
    if site in case:
        ious = matched.predictions.extra["mask_ious"][rows]
        assert_close_to_largest(ious, case[site], tolerance=1e-3)


@pytest.mark.parametrize("name", MMDETECTION)
def test_masks_in_the_original_image(name):
    case, settings, detector = golden.load(name)
    golden.compare_detections(case, settings, detector, phase="test_rescale")


@pytest.mark.parametrize("name", R3CNN)
@pytest.mark.parametrize("loops", [1, 2, 3, 4, 5])
def test_any_number_of_loops_at_test(name, loops):
    case, settings, detector = golden.load(name)
    detector.test = detector.test._replace(loops=loops)
    golden.compare_detections(case, settings, detector, phase=f"test_loops_{loops}")


@pytest.mark.parametrize("name", R3CNN)
def test_largest_logits_of_the_loops(name):
    case, settings, detector = golden.load(name)
    detector.test = detector.test._replace(average="largest_logits")
    golden.compare_detections(case, settings, detector, phase="test_loops_3_max")


@pytest.mark.parametrize(
    "variant", ["one_loop", "two_loops", "four_loops", "decreasing_thresholds"]
)
@of_scenes(R3CNN)
def test_any_number_of_loops_in_training(name, scene, variant):
    case, settings, three_loops = golden.load(name)
    recorded = case.meta["train_variants"][variant]
    steps = ["rpn"]
    for iou, weight in zip(recorded["thresholds"], recorded["loss_weights"], strict=True):
        steps += [{"box": "box", "iou": iou, "weight": weight}, {"mask": "mask", "weight": weight}]
    settings["detector"]["steps"] = [*steps, *(["mask_iou"] if name in SCORED else [])]
    detector = build_detector(settings, num_classes=case.meta["num_classes"])
    detector.load_state_dict(three_loops.state_dict())
    losses = golden.losses_of(case, settings, detector, scene)
    theirs = {
        "rpn_class_loss": "loss_rpn_cls",
        "rpn_box_loss": "loss_rpn_bbox",
        "mask_iou_loss": "loss_mask_iou",
    }
    tasks = {"class": "cls", "box": "bbox", "mask": "mask"}
    single = len(recorded["thresholds"]) == 1
    for stage in range(len(recorded["thresholds"])):
        for ours, name_there in tasks.items():
            prefix = "" if single else f"stage{stage + 1}_"
            theirs[f"{prefix}{ours}_loss"] = f"s{stage}.loss_{name_there}"
    terms = recorded["losses"][f"train_{scene}"]
    assert {theirs[ours] for ours in losses} == {term for term in terms if "loss" in term}
    for ours, loss in losses.items():
        expected = torch.tensor(float(golden.summed(terms[theirs[ours]])))
        torch.testing.assert_close(loss.detach(), expected, rtol=golden.LOSSES, atol=1e-6)
