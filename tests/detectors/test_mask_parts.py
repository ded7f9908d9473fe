"""Parts of mask detectors by hand and by brute force."""

import math

import pytest
import torch
from rebalance.assigners import make_assigner
from rebalance.detectors.context import PositionAttention
from rebalance.detectors.mask_ious import mask_iou_targets
from rebalance.detectors.matching import match
from rebalance.detectors.types import Candidates, make_candidates, make_truths
from rebalance.errors import InputError
from rebalance.losses import mask_iou_loss
from rebalance.samplers import make_sampler


def truths_of(boxes, masks=None):
    boxes = torch.tensor(boxes, dtype=torch.float32)
    target = {"boxes": boxes, "labels": torch.arange(1, len(boxes) + 1),
              "ignored_boxes": torch.zeros(0, 4), "image_size": (20, 20),
              "image_id": 0}  # fmt: skip
    return make_truths([target | ({} if masks is None else {"masks": masks})], (20, 20))


def test_iou_of_a_mask_counts_what_of_the_object_lies_outside_the_roi():
    """An object of 10 x 4 pixels; the RoI is its left half, the mask in it 2 x 2 cells.

    Inside: predicted 3 cells, of the object 2, both 1. The object is 2 / (20 / 40) = 4 cells.
    1 / (3 + 4 - 1).
    """
    masks = torch.zeros(1, 20, 20, dtype=torch.uint8)
    masks[0, 4:8, 2:12] = 1
    truths = truths_of([[2, 4, 12, 8]], masks)
    predicted = torch.tensor([[[True, True], [True, False]]])
    targets = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    roi = torch.tensor([[2.0, 4.0, 7.9, 9.5]])  # whole pixels: 2 ... 6 by 4 ... 8
    found = mask_iou_targets(predicted, targets, roi, torch.tensor([0]), truths)
    torch.testing.assert_close(found, torch.tensor([1 / 6]))


def test_masks_of_nothing_have_iou_0():
    truths = truths_of([[2, 4, 12, 8]], torch.zeros(1, 20, 20, dtype=torch.uint8))
    nothing = torch.zeros(1, 2, 2)
    boxes = torch.tensor([[19.5, 19.5, 20.0, 20.0]])
    assert mask_iou_targets(nothing.bool(), nothing, boxes, torch.tensor([0]), truths) == 0
    none = torch.zeros(0, dtype=torch.int64)
    assert mask_iou_targets(nothing.bool()[:0], nothing[:0], boxes[:0], none, truths).shape == (0,)


@pytest.mark.parametrize(("reduction", "expected"), [("none", [0.04, 0.0, 0.25]), ("sum", 0.29),
                                                     ("mean", 0.145)])  # fmt: skip
def test_ious_of_masks_are_learnt_where_there_is_any_by_hand(reduction, expected):
    ious, targets = torch.tensor([0.5, 0.9, 1.0]), torch.tensor([0.7, 0.0, 0.5])
    torch.testing.assert_close(mask_iou_loss(ious, targets, reduction), torch.tensor(expected))


def test_no_masks_give_a_loss_of_0_and_a_gradient():
    ious = torch.zeros(0, requires_grad=True)
    loss = mask_iou_loss(ious, torch.zeros(0), "mean")
    assert loss == 0
    assert loss.requires_grad


@pytest.mark.parametrize("vertical_query", ["own", "transposed"])
def test_position_attention_cell_by_cell(vertical_query):
    """Zhu et al., Eq. 4, second term, in float64; 6 channels of 8 have a head."""
    torch.manual_seed(0)
    heads, size, stride = 3, 5, 2
    attention = PositionAttention(8, heads, stride, vertical_query).double()
    torch.nn.init.constant_(attention.gamma, 0.7)
    maps = torch.randn(2, 8, size, size, dtype=torch.float64)
    query = attention.query_conv(maps).unflatten(1, (heads, 2))
    value = attention.value_conv(maps).unflatten(1, (heads, 2))

    def embedded(distance, linear):
        angles = [distance / 1000 ** (wave / 2) for wave in range(2)]
        waves = [*map(math.sin, angles), *map(math.cos, angles)]
        return (linear(torch.tensor(waves, dtype=torch.float64)) / math.sqrt(2)).view(heads, 2)

    gathered = torch.zeros(2, heads, 2, size, size, dtype=torch.float64)
    places = range(0, size, stride)
    for y in range(size):
        for x in range(size):
            other = (x, y) if vertical_query == "transposed" else (y, x)
            energy = {
                (v, u): (query[..., y, x] * embedded(x - u, attention.position_x)).sum(2)
                + (query[..., *other] * embedded(y - v, attention.position_y)).sum(2)
                for v in places
                for u in places
            }
            shares = torch.stack(list(energy.values())).softmax(0)
            for share, (v, u) in zip(shares, energy, strict=True):
                gathered[..., y, x] += share[..., None] * value[..., v, u]
    expected = maps + 0.7 * attention.proj_conv(gathered.flatten(1, 2))
    torch.testing.assert_close(attention(maps), expected)


def test_position_attention_starts_as_the_identity():
    maps = torch.randn(1, 8, 3, 4)
    assert torch.equal(PositionAttention(8, 2)(maps), maps)


@pytest.mark.parametrize(
    "options", [(6, 2), (8, 9), (8, 0), (8, 2, 2, "theirs")], ids=["of 4", "many", "none", "query"]
)
def test_position_attention_refuses(options):
    with pytest.raises(InputError, match="attention: "):
        PositionAttention(*options)


def test_ground_truths_among_rois_belong_to_themselves_and_take_no_proposal():
    """The proposal overlaps the second object more (IoU 0.75 against 0.6), but is the best of both.

    With later objects first it would go to the second anyway, so that the first is put last.
    Among the assigner's candidates the objects' own boxes would be their best.
    """
    truths = truths_of([[0, 0, 10, 8], [0, 0, 10, 6.0]])
    rois = make_candidates([torch.tensor([[0.0, 0, 10, 4.8]])])
    together = Candidates(torch.cat([rois.boxes, truths.boxes]), torch.zeros(3).long(), (3,))
    options = {"positive_iou": 0.5, "negative_iou": 0.5, "low_quality_iou": "positive"}
    for contested, owner in (("last", 1), ("strongest", 1)):
        assigner = make_assigner("max_iou", contested=contested, **options)
        found = match(assigner, make_sampler("all"), together, truths, [torch.Generator()],
                      costs=None, truths_last=True)  # fmt: skip
        assert found.gt.tolist() == [owner, 0, 1]
        torch.testing.assert_close(found.ious, torch.tensor([0.8, 1.0, 1.0]))
    swapped = truths_of([[0, 0, 10, 6], [0, 0, 10, 8.0]])
    together = together._replace(boxes=torch.cat([rois.boxes, swapped.boxes]))
    assigner = make_assigner("max_iou", contested="last", **options)
    arguments = (make_sampler("all"), together, swapped, [torch.Generator()], None)
    assert match(assigner, *arguments, truths_last=True).gt.tolist() == [1, 0, 1]
    assert match(assigner, *arguments).gt.tolist() == [0, 0, 1]
    with pytest.raises(InputError, match="low_quality_iou: must be one of 'positive', got 'all'"):
        make_assigner("max_iou", low_quality_iou="all")(rois.boxes, truths.boxes, truths.labels)
