"""Selection functions on the recorded inputs of the published ones."""

import pytest
import torch
from rebalance.detectors.select import (
    best_anchors,
    best_of_groups,
    best_pairs,
    fast_nms,
    matrix_nms,
    nms,
    score_voting,
    select_proposals,
    top_of_levels,
)

from ..recorded import Case, cases_with


def pairs_above(scores, threshold):
    """[n, C] scores -> rows and classes (from 0) above the threshold."""
    return (scores > threshold).nonzero().unbind(1)


def recorded_inputs(case, call):
    """Boxes, scores and groups of a recorded suppression, and how many of them stayed.

    Those that stayed come first. The published sort breaks ties in any order (one image has 13
    equal scores), ours by row: so what was before what among equals is as recorded.
    """
    kept = case[f"{call}/out/1"]
    dropped = torch.ones(len(case[f"{call}/in_scores"]), dtype=torch.bool)
    dropped[kept] = False
    order = torch.cat((kept, dropped.nonzero().squeeze(1)))
    return *(case[f"{call}/in_{part}"][order] for part in ("boxes", "scores", "idxs")), len(kept)


@cases_with("batched_nms")
def test_nms_keeps_the_recorded_rows(name):
    case = Case(name)
    for call in case.calls("batched_nms"):
        boxes, scores, groups, num_kept = recorded_inputs(case, call)
        assert nms(boxes, scores, groups, iou=case.iou(call)).tolist() == list(range(num_kept))


@cases_with("multiclass_nms")
def test_nms_of_all_classes_gives_the_recorded_detections(name):
    case = Case(name)
    for call in case.calls("multiclass_nms"):
        scores, boxes = case[f"{call}/in_scores"][:, :5], case[f"{call}/in_boxes"]
        rows, classes = pairs_above(scores, float(case[f"{call}/in_score_thr"]))
        of_class = boxes.reshape(len(boxes), -1, 4).expand(-1, 5, 4)[rows, classes]
        given = torch.cat((of_class, scores[rows, classes, None], classes[:, None]), dim=1)
        recorded = torch.cat((case[f"{call}/out/0"], case[f"{call}/out/1"][:, None]), dim=1)
        # RoIs without area have equal features and scores; what was first among equals stayed.
        stayed = (given[:, None] == recorded).all(2).any(1)
        given = given[stayed.logical_not().argsort(stable=True)]
        kept = nms(given[:, :4], given[:, 4], given[:, 5].long(), iou=case.iou(call))
        ours = given[kept[: int(case[f"{call}/in_max_num"])]]
        assert torch.equal(ours[:, 4], recorded[:, 4])
        assert sorted(ours.tolist()) == sorted(recorded.tolist())


@cases_with("fast_nms")
def test_fast_nms_gives_the_recorded_detections_of_both_images_at_once(name):
    case = Case(name)
    image, rows, classes = [], [], []
    calls = case.calls("fast_nms")
    for index, call in enumerate(calls):
        above = pairs_above(case[f"{call}/in_scores"][:, :5], float(case[f"{call}/in_score_thr"]))
        rows.append(above[0])
        classes.append(above[1])
        image.append(torch.full_like(above[0], index))
    boxes = torch.cat(
        [case[f"{call}/in_boxes"][row] for call, row in zip(calls, rows, strict=True)]
    )
    scores = torch.cat([
        case[f"{call}/in_scores"][row, class_]
        for call, row, class_ in zip(calls, rows, classes, strict=True)
    ])  # fmt: skip
    coefficients = torch.cat(
        [case[f"{call}/in_coeffs"][row] for call, row in zip(calls, rows, strict=True)]
    )
    image, classes = torch.cat(image), torch.cat(classes)
    kept = fast_nms(
        boxes,
        scores,
        image * 5 + classes,
        iou=float(case[f"{calls[0]}/in_iou_thr"]),
        top_k=int(case[f"{calls[0]}/in_top_k"]),
    )
    kept = kept[best_of_groups(scores[kept], image[kept], int(case[f"{calls[0]}/in_max_num"]))]
    recorded = torch.cat([case[f"{call}/out/0"] for call in calls])
    assert torch.equal(torch.cat((boxes[kept], scores[kept, None]), dim=1), recorded)
    assert classes[kept].tolist() == torch.cat([case[f"{call}/out/1"] for call in calls]).tolist()
    assert torch.equal(coefficients[kept], torch.cat([case[f"{call}/out/2"] for call in calls]))


@cases_with("mask_matrix_nms")
def test_matrix_nms_gives_the_recorded_masks(name):
    case = Case(name)
    for call in case.calls("mask_matrix_nms"):
        rows, scores = matrix_nms(
            case[f"{call}/in_masks"],
            case[f"{call}/in_scores"],
            case[f"{call}/in_labels"],
            kernel="gaussian",
            sigma=float(case[f"{call}/in_sigma"]),
            pre_nms=int(case[f"{call}/in_nms_pre"]),
            threshold=float(case[f"{call}/in_filter_thr"]),
        )
        num = int(case[f"{call}/in_max_num"])
        assert rows[:num].tolist() == case[f"{call}/out/3"].tolist()
        torch.testing.assert_close(scores[:num], case[f"{call}/out/0"], rtol=1e-5, atol=0)


@cases_with("bbox_head.score_voting")
def test_score_voting_gives_the_recorded_boxes(name):
    """Both images in one call; the published boxes of nan by name, kept boxes by default."""
    case = Case(name)
    calls = case.calls("bbox_head.score_voting")
    boxes, groups, voters, voter_scores, voter_groups, recorded = [], [], [], [], [], []
    for image, call in enumerate(calls):
        labels = case[f"{call}/in_labels"]
        order = labels.argsort(stable=True)  # the published order
        boxes.append(case[f"{call}/in_boxes"][order, :4])
        groups.append(image * 5 + labels[order])
        scores = case[f"{call}/in_mlvl_nms_scores"][:, :5]
        rows, classes = pairs_above(scores, float(case[f"{call}/in_thr"]))
        voters.append(case[f"{call}/in_mlvl_bboxes"][rows])
        voter_scores.append(scores[rows, classes])
        voter_groups.append(image * 5 + classes)
        recorded.append(case[f"{call}/0"][:, :4])
        assert case[f"{call}/1"].tolist() == labels[order].tolist()
    parts = [torch.cat(part) for part in (boxes, groups, voters, voter_scores, voter_groups)]
    recorded = torch.cat(recorded)
    published = score_voting(*parts, without_votes="nan")
    torch.testing.assert_close(published, recorded, rtol=1e-5, atol=1e-4, equal_nan=True)
    lost = recorded.isnan().any(1)
    kept = score_voting(*parts)
    assert torch.equal(kept[~lost], published[~lost])
    assert torch.equal(kept[lost], parts[0][lost])


def rpn_settings(case, phase):
    """Settings of the proposals, under the names of either generation of mmdetection."""
    part = "test_cfg" if phase == "test" else "train_cfg"
    settings = case.meta["config"].get(part) or case.model[part]
    return settings["rpn" if phase == "test" else "rpn_proposal"]


@pytest.mark.parametrize("phase", ["train_a", "test"])
@cases_with("rpn_head.get_bboxes")
def test_proposals_are_the_recorded_ones(name, phase):
    """From the boxes that entered the recorded suppressions, both images in one call."""
    case = Case(name)
    calls = [call for call in case.calls("batched_nms") if call.startswith(phase)]
    inputs = [recorded_inputs(case, call)[:3] for call in calls]
    # A rectangular batch: levels are filled up with the worst of boxes.
    boxes, scores, levels = [], [], []
    for level in range(5):
        longest = max(int((level_of == level).sum()) for *_, level_of in inputs)
        boxes.append(torch.zeros(2, longest, 4))
        scores.append(torch.zeros(2, longest))
        levels.append(torch.full((longest,), level))
        for image, (box, score, level_of) in enumerate(inputs):
            count = int((level_of == level).sum())
            boxes[-1][image, :count] = box[level_of == level]
            scores[-1][image, :count] = score[level_of == level]
    boxes, scores, levels = torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(levels)
    settings = rpn_settings(case, phase)
    rows = select_proposals(
        boxes,
        scores,
        levels,
        iou=case.iou(calls[0]),
        post_nms=settings["max_per_img" if "max_per_img" in settings else "max_num"],
        min_size=0 if "mmdet 2.28" in case.meta["revision"] else None,
    )
    recorded = [
        proposals
        for call in case.calls("rpn_head.get_bboxes")
        if call.startswith(phase)
        for proposals in case.levels(call)
    ]
    found = torch.cat((boxes.flatten(0, 1), scores.flatten()[:, None]), dim=1)[rows]
    image = rows // len(levels)
    for index, expected in enumerate(recorded):
        ours = found[image == index]
        assert torch.equal(ours[:, 4], expected[:, 4])
        assert sorted(ours.tolist()) == sorted(expected.tolist())


@cases_with("rpn_head.get_bboxes")
def test_best_anchors_of_a_level_are_those_of_the_recorded_rpn(name):
    """Scores that entered the recorded suppression; it had lost the boxes without area."""
    case = Case(name)
    calls = [call for call in case.calls("batched_nms") if call.startswith("train_a")]
    maps = case.levels("train_a/rpn_head.forward/0/cls")
    logits = [map_.permute(0, 2, 3, 1).flatten(1) for map_ in maps]
    scores = torch.cat(logits, dim=1).sigmoid()
    num = rpn_settings(case, "train_a")["nms_pre"]
    rows, levels = top_of_levels(scores, [level.shape[1] for level in logits], num)
    for image, call in enumerate(calls):
        ours = scores[image, rows[image]]
        recorded, recorded_levels = case[f"{call}/in_scores"], case[f"{call}/in_idxs"]
        for level in range(len(maps)):
            got, expected = ours[levels == level], recorded[recorded_levels == level]
            assert len(got) >= len(expected)
            if len(expected):
                nearest = (got[:, None] - expected).abs().amin(0)
                assert nearest.max() < 1e-6


def anchor_rows(maps, num_columns):
    """[B, A * columns, h, w] maps of the levels -> [B, N, columns], anchors of a level."""
    rows = [
        map_.unflatten(1, (-1, num_columns)).permute(0, 3, 4, 1, 2).flatten(1, 3) for map_ in maps
    ]
    return torch.cat(rows, dim=1), [level.shape[1] for level in rows]


FORWARD = "train_a/bbox_head.forward/0"  # the same maps as at test, where they are not recorded
PAIRS = ["retinanet_r50_fpn", "retinanet_ignore", "atss_r50_fpn", "fovea_r50_fpn"]


@cases_with("batched_nms", among=PAIRS)
def test_best_pairs_are_those_of_the_recorded_detectors(name):
    case = Case(name)
    logits, sizes = anchor_rows(case.levels(f"{FORWARD}/cls"), 5)
    scores = logits.sigmoid()
    settings = case.model["test_cfg"]
    rows, labels = best_pairs(
        scores, sizes, num=settings["nms_pre"], threshold=settings["score_thr"]
    )
    best = scores.flatten(0, 1)[rows, labels - 1]
    if f"{FORWARD}/centerness/0" in case:
        centerness, _ = anchor_rows(case.levels(f"{FORWARD}/centerness"), 1)
        best = best * centerness.flatten()[rows].sigmoid()
    for image, call in enumerate(case.calls("batched_nms")):
        of_image = rows // scores.shape[1] == image
        assert (labels[of_image] - 1).tolist() == case[f"{call}/in_idxs"].tolist()
        torch.testing.assert_close(best[of_image], case[f"{call}/in_scores"], rtol=1e-5, atol=1e-7)


# The branches predict images one by one: only the first, which fills the canvas, has the same maps.
IMAGES = {
    "paa_r50_fpn": 2,
    "ranksort_atss": 1,
    "ranksort_paa": 1,
    "alrp_retinanet": 1,
    "ap_retinanet": 1,
    "alrp_fovea": 1,
    "ap_fovea": 1,
    "ranksort_yolact": 1,
    "yolact_r50": 2,
}


@cases_with("bbox_head.forward", among=IMAGES)
def test_best_anchors_are_those_of_the_recorded_detectors(name):
    case = Case(name)
    softmax = name == "yolact_r50"
    settings = case.model.get("test_cfg") or case.meta["config"]["test_cfg"]
    logits, sizes = anchor_rows(case.levels(f"{FORWARD}/cls"), 6 if softmax else 5)
    scores = logits.softmax(2)[..., :5] if softmax else logits.sigmoid()
    if f"{FORWARD}/iou/0" in case:
        ious, _ = anchor_rows(case.levels(f"{FORWARD}/iou"), 1)
        scores = (scores * ious.sigmoid()).sqrt()
    rows, labels = best_anchors(
        scores, sizes, num=settings["nms_pre"], threshold=settings["score_thr"]
    )
    image = rows // scores.shape[1]
    calls = case.calls("multiclass_nms") or case.calls("fast_nms")
    for index in range(IMAGES[name]):
        recorded = case[f"{calls[index]}/in_scores"][:, :5]
        expected_rows, expected = pairs_above(recorded, settings["score_thr"])
        ours = scores.flatten(0, 1)[rows, labels - 1][image == index]
        # Levels of fewer anchors than may stay are not sorted there.
        for class_ in range(5):
            torch.testing.assert_close(
                ours[labels[image == index] == class_ + 1].sort().values,
                recorded[expected_rows, expected][expected == class_].sort().values,
                rtol=1e-5,
                atol=1e-7,
            )
