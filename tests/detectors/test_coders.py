"""Coders: recorded predictions and targets, values by hand, inverses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rebalance.config.options.coders import Coder
from rebalance.detectors.candidates import points
from rebalance.detectors.coders import DeltaCoder, DistanceCoder, clip_boxes, make_coder
from rebalance.detectors.select import best_pairs
from torchvision.ops import generalized_box_iou

from .recorded import Case, cases_with
from .test_candidates import grid_as_recorded, maps_of


def rows_of(maps, num_columns):
    """[B, A * columns, h, w] maps -> [B, N, columns] and level sizes."""
    rows = [m.unflatten(1, (-1, num_columns)).permute(0, 3, 4, 1, 2).flatten(1, 3) for m in maps]
    return torch.cat(rows, dim=1), [level.shape[1] for level in rows]


DENSE = ["retinanet_r50_fpn", "retinanet_ignore", "atss_r50_fpn", "fovea_r50_fpn"]


@cases_with("batched_nms", among=DENSE)
def test_decoded_boxes_are_those_that_entered_the_recorded_suppression(name):
    """Scores, choice, grid, decoding and clipping of a dense detector together."""
    case = Case(name)
    forward = "train_a/bbox_head.forward/0"
    class_maps = case.levels(f"{forward}/cls")
    scores, sizes = rows_of(class_maps, 5)
    deltas, _ = rows_of(case.levels(f"{forward}/reg"), 4)
    head = case.model["bbox_head"]
    if name.startswith("fovea"):
        grid = points(head["strides"], base_edges=head["base_edge_list"])
        coder, margin = DistanceCoder(), 1.0
    else:
        grid = grid_as_recorded(case)
        stds = head["bbox_coder"]["target_stds"]
        coder = DeltaCoder(tuple(1 / std for std in stds), two_sided=True)
        margin = 0.0
    references, level_sizes = grid(maps_of(*[map_.shape[-2:] for map_ in class_maps]))
    assert level_sizes == sizes
    rows, _ = best_pairs(scores.sigmoid(), sizes, num=100, threshold=0.05)
    image, row = rows // len(references), rows % len(references)
    boxes = coder.decode(deltas.flatten(0, 1)[rows], references[row])
    image_sizes = torch.tensor([meta["img_shape"][:2] for meta in case.meta["img_metas"]])
    boxes = clip_boxes(boxes, image_sizes[image], margin=margin)
    for index, call in enumerate(case.calls("batched_nms")):
        torch.testing.assert_close(
            boxes[image == index], case[f"{call}/in_boxes"], rtol=1e-5, atol=1e-3
        )


@cases_with("bbox_head.get_targets", among=["retinanet_r50_fpn", "ssd300_head"])
def test_encoded_boxes_are_the_recorded_targets(name):
    """Each recorded target belongs to one of the objects of its image."""
    case = Case(name)
    targets = torch.cat(case.levels("train_a/bbox_head.get_targets/0/2"), dim=1)
    labels = torch.cat(case.levels("train_a/bbox_head.get_targets/0/0"), dim=1)
    grid = grid_as_recorded(case)
    shapes = [(38, 38)] if name == "ssd300_head" else [(16, 20)]
    shapes += [
        case[f"train_a/bbox_head.forward/0/cls/{level}"].shape[-2:]
        for level in range(1, len(grid.strides))
    ]
    stds = case.model["bbox_head"]["bbox_coder"]["target_stds"]
    coder = DeltaCoder(tuple(1 / std for std in stds), two_sided=True)
    references, _ = grid(maps_of(*shapes))
    for image in range(2):
        rows = (labels[image] < 5).nonzero().squeeze(1)
        assert len(rows) > 0
        gt_boxes = case[f"in/a/gt_boxes/{image}"]
        encoded = coder.encode(gt_boxes[None].expand(len(rows), -1, -1), references[rows, None])
        nearest = (encoded - targets[image, rows, None]).abs().amax(2).amin(1)
        assert nearest.max() < 1e-4
        decoded = coder.decode(targets[image, rows], references[rows])
        assert (decoded[:, None] - gt_boxes).abs().amax(2).amin(1).max() < 1e-3


@cases_with("bbox_head.get_targets", among=["fovea_r50_fpn"])
def test_encoded_distances_are_the_recorded_targets(name):
    case = Case(name)
    labels, targets = (case[f"train_a/bbox_head.get_targets/0/{part}"] for part in (0, 1))
    head = case.model["bbox_head"]
    sizes = [m.shape[-2:] for m in case.levels("train_a/bbox_head.forward/0/cls")]
    references, level_sizes = points(head["strides"], base_edges=head["base_edge_list"])(
        maps_of(*sizes)
    )
    # Levels, then images, then cells.
    image_sizes = [size for size in level_sizes for _ in range(2)]
    parts = zip(labels.split(image_sizes), targets.split(image_sizes), strict=True)
    num_objects = 0
    for index, (label, target) in enumerate(parts):
        of_level = references.split(level_sizes)[index // 2]
        rows = (label < 5).nonzero().squeeze(1)
        num_objects += len(rows)
        gt_boxes = case[f"in/a/gt_boxes/{index % 2}"]
        encoded = DistanceCoder().encode(
            gt_boxes[None].expand(len(rows), -1, -1), of_level[rows, None]
        )
        nearest = (encoded - target[rows, None]).abs().amax(2).amin(1)
        assert (nearest < 1e-4).all()
    assert num_objects > 0


@pytest.mark.parametrize(("box", "weights", "expected"), [
    pytest.param([0, 0, 10, 20], (1, 1, 1, 1), [0, 0, 0, 0], id="the reference itself"),
    pytest.param([5, 0, 15, 20], (1, 1, 1, 1), [0.5, 0, 0, 0], id="shifted by half its width"),
    pytest.param([0, 0, 20, 20], (10, 10, 5, 5), [5, 0, 5 * math.log(2), 0], id="twice as wide"),
])  # fmt: skip
def test_deltas_by_hand(box, weights, expected):
    reference = torch.tensor([[0.0, 0, 10, 20]])
    deltas = DeltaCoder(weights).encode(torch.tensor([box]).float(), reference)
    torch.testing.assert_close(deltas, torch.tensor([expected]).float())


def test_distances_by_hand():
    """Point (8, 8), unit 4: distances 4, 8, 8, 2 are 1, 2, 2, 1/2 units."""
    reference = torch.tensor([[4.0, 4, 12, 12]])
    box = torch.tensor([[4.0, 0, 16, 10]])
    logs = DistanceCoder().encode(box, reference)
    torch.testing.assert_close(logs.exp(), torch.tensor([[1.0, 2, 2, 0.5]]))
    torch.testing.assert_close(DistanceCoder().decode(logs, reference), box)
    far = torch.tensor([[9.0, 7.9, 1000, 10]])  # the point is left of it; 0.025 and 248 units
    logs = DistanceCoder().encode(far, reference)
    torch.testing.assert_close(logs.exp(), torch.tensor([[1 / 16, 1 / 16, 16, 0.5]]))


corner = st.floats(-50, 50)
side = st.floats(0.5, 30)  # sides differ less than 62.5 fold, so nothing is clamped
box = st.tuples(corner, corner, side, side)
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def boxes_of(*rows):
    return torch.tensor([[x, y, x + w, y + h] for x, y, w, h in rows]).double()


@settings(deadline=None)
@given(box, box, st.booleans())
def test_decoding_inverts_encoding(one, other, two_sided):
    boxes = boxes_of(one, other)
    coder = DeltaCoder(WEIGHTS, two_sided)
    decoded = coder.decode(coder.encode(boxes[:1], boxes[1:]), boxes[1:])
    torch.testing.assert_close(decoded, boxes[:1], atol=1e-6, rtol=1e-6)


@settings(deadline=None)
@given(st.tuples(*[st.floats(-2.7, 2.7)] * 4), box)
def test_encoding_inverts_decoding_of_distances(logs, reference):
    logs, reference = torch.tensor([logs]).double(), boxes_of(reference)
    coder = DistanceCoder()
    again = coder.encode(coder.decode(logs, reference), reference)
    torch.testing.assert_close(again, logs, atol=1e-6, rtol=1e-6)


@settings(deadline=None)
@given(box, box, box)
def test_unit_boxes_have_the_giou_of_the_real_ones(pred, target, anchor):
    pred, target, anchor = boxes_of(pred), boxes_of(target), boxes_of(anchor)
    coder = DeltaCoder(WEIGHTS)
    unit = [coder.decode_unit(coder.encode(boxes, anchor)) for boxes in (pred, target)]
    torch.testing.assert_close(
        generalized_box_iou(*unit), generalized_box_iou(pred, target), atol=1e-6, rtol=1e-6
    )


def test_limits_of_decoded_sides():
    reference = torch.tensor([[0.0, 0, 8, 8]])
    huge, tiny = torch.tensor([[0.0, 0, 1e4, 1e4]]), torch.tensor([[0.0, 0, -1e4, -1e4]])
    for two_sided, smallest in ((False, 0.0), (True, 8 * 16 / 1000)):
        coder = DeltaCoder(two_sided=two_sided)
        sides = [(boxes[:, 2] - boxes[:, 0]).item() for boxes in
                 (coder.decode(huge, reference), coder.decode(tiny, reference))]  # fmt: skip
        assert sides == pytest.approx([8 * 1000 / 16, smallest], rel=1e-6)


def test_clipping_to_images_of_a_batch():
    boxes = torch.tensor([[[-3.0, 2, 30, 40]], [[-3.0, 2, 30, 40]]])
    sizes = torch.tensor([[10, 20], [50, 25]])
    assert clip_boxes(boxes, sizes[:, None]).tolist() == [[[0, 2, 20, 10]], [[0, 2, 25, 40]]]
    assert clip_boxes(boxes[0], sizes[0], margin=1).tolist() == [[0, 2, 19, 9]]
    assert clip_boxes(boxes[0, :0], sizes[:0]).shape == (0, 4)


@pytest.mark.parametrize("name", sorted(Coder.parts()))
def test_no_boxes(name):
    none = torch.zeros(0, 4)
    assert make_coder(name).encode(none, none).shape == (0, 4)
    assert make_coder(name).decode(none, none).shape == (0, 4)
