"""Faster R-CNN, Cascade R-CNN and their kin, step by step as mmdetection 2.28 was recorded.

What ``test_golden`` compares at the end, here on the way: outputs of the region proposal network,
its targets, proposals, refined boxes, RoIs and their targets, RoIAlign features, box heads.
"""

import pytest
import torch
from rebalance.detectors.flow import Flow
from rebalance.detectors.types import make_truths

from detectors import test_golden as golden

pytestmark = golden.pytestmark
CASES = (
    "faster_rcnn_r50_fpn",
    "faster_rcnn_carafe",
    "faster_rcnn_dconv",
    "faster_rcnn_ohem",
    "libra_faster_rcnn",
    "dynamic_rcnn",
    "cascade_rcnn_r50_fpn",
)
per_case = pytest.mark.parametrize("name", CASES)
per_scene = pytest.mark.parametrize(("name", "scene"), [(n, s) for n in CASES for s in "ab"])
PIXELS = 1e-3
NUM_LEVELS = 5


def assert_close_to_largest(ours, recorded, tolerance=1e-4):
    torch.testing.assert_close(ours, recorded, rtol=0, atol=tolerance * float(recorded.abs().max()))


def make_flow(case, detector):
    image = case["in/img"]
    sizes = [tuple(meta["img_shape"][:2]) for meta in case.meta["img_metas"]]
    maps = detector.neck(detector.backbone(image))
    return Flow(maps, detector.neck.strides, tuple(image.shape[2:]), sizes)


@torch.no_grad()
def trained(name, scene):
    """The case, its detector and pass; of each step what it trained on, of box steps their RoIs."""
    case, settings, detector = golden.load(name)
    golden.give_recorded_samples(case, settings, detector, scene)
    flow = make_flow(case, detector.train())
    truths = make_truths(golden.targets_of(case, scene), flow.canvas)
    rngs = [torch.Generator().manual_seed(0) for _ in flow.sizes]
    matched, rois = [], []
    for step in detector.steps:
        if step.kind == "box":
            rois.append(flow.next_rois())
        matched.append(step.train_step(flow, truths, rngs, detector.heads))
        flow.trained.append((matched[-1], {}))
    return case, detector, flow, matched, rois


def sites(detector, phase, site):
    """``roi_head.bbox_head.forward`` -> of one stage or of each, the recorded places of its calls.

    ``site`` has ``{}`` for the number of the stage, with its dot.
    """
    num = sum(step.kind == "box" for step in detector.steps)
    numbers = [""] if num == 1 else [f".{stage}" for stage in range(num)]
    return [f"{phase}/{site.format(number)}" for number in numbers]


def last_call(case, site, field):
    """The last of the calls n in ``site/n/field``: hard examples are looked for before."""
    calls = 0
    while f"{site}/{calls + 1}/{field}" in case:
        calls += 1
    return f"{site}/{calls}"


def rows_of(recorded, rois, pixels=PIXELS):
    """[R] our row of each recorded RoI (image, box); both lists hold the same.

    Levels of the pyramid can propose the same box twice.
    """
    return partners(torch.cat([rois.image[:, None].float(), rois.boxes], dim=1), recorded, pixels)


def partners(ours, recorded, pixels=PIXELS):
    """[R] our row of each recorded one; each of both lists has a partner in the other."""
    assert ours.shape == recorded.shape
    apart = (ours[None] - recorded[:, None]).abs().amax(dim=2)
    assert apart.amin(dim=0).max() < pixels
    assert apart.amin(dim=1).max() < pixels
    return apart.argmin(dim=1)


@per_case
def test_outputs_of_the_region_proposal_network(name):
    case, detector, flow, matched, _ = trained(name, "a")
    with torch.no_grad():
        outputs = detector.heads["rpn"](flow.maps)
    sizes = matched[0].candidates.level_sizes
    compared = 0
    for kind, values in {"cls": outputs.logits, "reg": outputs.deltas}.items():
        levels = values.reshape(2, sum(sizes), -1).split(sizes, dim=1)
        for level, ours in enumerate(levels):
            site = f"train_a/rpn_head.forward/0/{kind}/{level}"
            if site in case:
                recorded = case[site].permute(0, 2, 3, 1).reshape(ours.shape)
                assert_close_to_largest(ours, recorded)
                compared += 1
    assert compared >= 2 * NUM_LEVELS - 1  # the finest deltas of most cases are not recorded


@per_scene
def test_anchors_are_assigned_as_recorded(name, scene):
    case, _, _, (of_rpn, *_), _ = trained(name, scene)
    labels, weights, deltas = (
        torch.cat(
            [
                case[f"train_{scene}/rpn_head.get_targets/0/{field}/{level}"]
                for level in range(NUM_LEVELS)
            ],
            dim=1,
        ).flatten(0, 1)
        for field in range(3)
    )
    recorded = torch.where(weights > 0, (labels == 0).long(), -1)  # 0 is their only object
    ours = torch.full_like(recorded, -1)
    ours[of_rpn.matches.rows] = of_rpn.labels
    assert torch.equal(ours, recorded)
    rows = of_rpn.matches.rows[of_rpn.positives]
    torch.testing.assert_close(of_rpn.target_deltas, deltas[rows], rtol=1e-4, atol=1e-5)
    assert recorded.max() == 1


@per_scene
def test_training_proposals_and_refined_boxes_are_the_recorded_ones(name, scene):
    case, detector, _, _, rois = trained(name, scene)
    phase = f"train_{scene}"
    for image in range(2):
        ours = rois[0].boxes.split(list(rois[0].counts))[image]
        # As sets: cells where all is zero after ReLU have equal scores.
        partners(ours, case[f"{phase}/rpn_head.get_bboxes/0/{image}"][:, :4])
        refined = sites(detector, phase, "roi_head.bbox_head{}.refine_bboxes/0")[:-1]
        for site, later in zip(refined, rois[1:], strict=True):
            partners(later.boxes.split(list(later.counts))[image], case[f"{site}/{image}"])


@per_scene
def test_rois_and_their_targets_are_the_recorded_ones(name, scene):
    case, detector, _, (_, *stages), _ = trained(name, scene)
    phase = f"train_{scene}"
    extractors = sites(detector, phase, "roi_head.bbox_roi_extractor{}")
    targets = sites(detector, phase, "roi_head.bbox_head{}.get_targets/0")
    for matched, extractor, target in zip(stages, extractors, targets, strict=True):
        recorded_rois = case[f"{last_call(case, extractor, 'rois')}/rois"]
        rows = rows_of(recorded_rois, matched.candidates)
        labels = case[f"{target}/0"].long()  # the background is the last class
        assert torch.equal((matched.labels[rows] - 1) % 6, labels)
        ours = torch.zeros(len(rows), 4)
        ours[matched.positives] = matched.target_deltas
        torch.testing.assert_close(ours[rows], case[f"{target}/2"], rtol=1e-4, atol=1e-4)
        assert (labels < 5).any()


@per_case
def test_outputs_of_the_box_heads_in_training(name):
    case, detector, _, (_, *stages), _ = trained(name, "a")
    extractors = sites(detector, "train_a", "roi_head.bbox_roi_extractor{}")
    forwards = sites(detector, "train_a", "roi_head.bbox_head{}.forward")
    for matched, extractor, forward in zip(stages, extractors, forwards, strict=True):
        rows = rows_of(case[f"{last_call(case, extractor, 'rois')}/rois"], matched.candidates)
        call = last_call(case, forward, "cls")
        assert_close_to_largest(matched.logits[rows].roll(-1, dims=1), case[f"{call}/cls"])
        deltas = matched.predictions.deltas[rows].flatten(1)
        assert_close_to_largest(deltas, case[f"{call}/reg"])


def test_pooled_features():
    case, detector, flow, (_, matched), _ = trained("faster_rcnn_r50_fpn", "a")
    site = "train_a/roi_head.bbox_roi_extractor/0"
    rows = rows_of(case[f"{site}/rois"], matched.candidates)
    pooled = detector.steps[1].pooling(flow, matched.candidates)
    assert_close_to_largest(pooled[rows], case[f"{site}/out"])


@per_case
@torch.no_grad()
def test_stages_of_prediction(name):
    case, _, detector = golden.load(name)
    flow = make_flow(case, detector.eval())
    detector.steps[0].predict_step(flow, detector.heads)
    for image in range(2):
        ours = flow.rois.boxes.split(list(flow.rois.counts))[image]
        recorded = case[f"test/rpn_head.get_bboxes/0/{image}"][:, :4]
        torch.testing.assert_close(ours, recorded, rtol=0, atol=PIXELS)
    extractors = sites(detector, "test", "roi_head.bbox_roi_extractor{}/0/rois")
    forwards = sites(detector, "test", "roi_head.bbox_head{}.forward/0")
    for step, extractor, forward in zip(detector.steps[1:], extractors, forwards, strict=True):
        step.predict_step(flow, detector.heads)
        _, predictions, rois = flow.last
        ours = torch.cat([rois.image[:, None].float(), rois.boxes], dim=1)
        torch.testing.assert_close(ours, case[extractor], rtol=0, atol=PIXELS)
        assert_close_to_largest(predictions.logits.roll(-1, dims=1), case[f"{forward}/cls"])
        assert_close_to_largest(predictions.deltas.flatten(1), case[f"{forward}/reg"])


@torch.no_grad()
def test_threshold_and_beta_of_dynamic_rcnn_move_as_recorded():
    case, settings, detector = golden.load("dynamic_rcnn")
    recorded = case.meta["dynamic_steps"]
    settings["detector"]["box"]["dynamic"]["interval"] = recorded["update_iter_interval"]
    weights = {k: v for k, v in detector.state_dict().items() if "dynamic" not in k}
    detector = golden.build_detector(settings, num_classes=5)
    detector.load_state_dict(weights, strict=False)
    values = set()
    for index, iteration in enumerate(recorded["steps"]):
        if index == 3:  # what has been noted goes through a checkpoint
            state = detector.state_dict()
            detector = golden.build_detector(settings, num_classes=5)
            detector.load_state_dict(state)
        losses = golden.losses_of(case, settings, detector, iteration["scene"])
        for ours, theirs in (("class_loss", "loss_cls"), ("box_loss", "loss_bbox")):
            expected = torch.tensor(iteration["losses"][theirs])
            torch.testing.assert_close(losses[ours], expected, rtol=1e-4, atol=0)
        dynamic = detector.steps[1].dynamic
        values.add(round(float(dynamic.beta), 4))
        assert float(dynamic.iou) == pytest.approx(iteration["pos_iou_thr"], rel=1e-5)
        assert float(dynamic.beta) == pytest.approx(iteration["beta"], rel=1e-5)
    assert len(values) == 3


@pytest.mark.parametrize("scene", ["a", "b"])
def test_recorded_draws_of_libra_obey_our_schemes(scene):
    """Numbers per bin and per ground truth do not depend on chance, up to what is filled up."""
    case = golden.load("libra_faster_rcnn")[0]
    for image in range(2):
        truths = case[f"in/{scene}/gt_boxes/{image}"].reshape(-1, 4)
        site = f"train_{scene}/roi_head.bbox_assigner/{image}"
        overlaps, gt = case[f"{site}/max_overlaps"], case[f"{site}/gt_inds"].long()
        drawn = {
            kind: case[f"train_{scene}/roi_head.bbox_sampler/{image}/{kind}_inds"].long()
            for kind in ("pos", "neg")
        }
        negatives, taken = overlaps[gt == 0], overlaps[drawn["neg"] - len(truths)]
        if len(truths) == 0:
            assert len(taken) == 48
            continue
        assert (taken > 0).all()
        share = 36 // 3  # bins of a third of [0, 1]: ground truths are among the RoIs
        for low, high in ((0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1)):
            available = ((negatives > low) & (negatives <= high)).sum()
            assert ((taken > low) & (taken <= high)).sum() >= min(share, available)
        owners = torch.cat([torch.arange(1, len(truths) + 1), gt])[drawn["pos"]]
        assert len(owners) == 12
        assert torch.bincount(owners).max() <= round(12 / len(truths)) + 1
