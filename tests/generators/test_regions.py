"""The feasible regions: IoU = T along the boundary, inside it more, outside it less."""

import numpy as np
import pytest
import torch
from rebalance.generators import feasible_area, feasible_region, generate_boxes, quadrant_areas

REFERENCE = torch.tensor([30.0, 30.0, 90.0, 60.0], dtype=torch.float64)


def iou(box, reference=REFERENCE):
    low, high = (
        torch.maximum(box[..., :2], reference[:2]),
        torch.minimum(box[..., 2:], reference[2:]),
    )
    inter = (high - low).clamp(min=0).prod(-1)
    areas = (box[..., 2:] - box[..., :2]).prod(-1) + (reference[2:] - reference[:2]).prod()
    return inter / (areas - inter)


def boxes_at(points, corner, other):
    """Boxes with one corner on each of the points and the opposite one at ``other``."""
    other = other.expand_as(points)
    return torch.cat([points, other] if corner == "top_left" else [other, points], dim=1)


def own_corner(corner):
    return REFERENCE[2:] if corner == "top_left" else REFERENCE[:2]


# One opposite corner in each quadrant, for both corners; all leave a region at T = 0.5.
OTHERS = {
    "top_left": [(85, 55), (100, 64), (80, 63), (97, 57)],
    "bottom_right": [(35, 35), (20, 26), (38, 28), (22, 33)],
}


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.75, 0.95])
@pytest.mark.parametrize("corner", ["top_left", "bottom_right"])
def test_iou_is_the_threshold_along_the_first_boundary(threshold, corner):
    outline = feasible_region(REFERENCE, threshold, corner)
    assert torch.equal(outline[0], outline[-1])
    ious = iou(boxes_at(outline, corner, own_corner(corner)))
    torch.testing.assert_close(ious, torch.full_like(ious, threshold), rtol=0, atol=1e-9)


@pytest.mark.parametrize("corner", ["top_left", "bottom_right"])
@pytest.mark.parametrize("quadrant", range(4))
def test_iou_is_the_threshold_along_the_second_boundary(corner, quadrant):
    other = torch.tensor(OTHERS[corner][quadrant], dtype=torch.float64)
    outline = feasible_region(REFERENCE, 0.5, corner, other)
    ious = iou(boxes_at(outline, corner, other))
    torch.testing.assert_close(ious, torch.full_like(ious, 0.5), rtol=0, atol=1e-9)


@pytest.mark.parametrize("corner", ["top_left", "bottom_right"])
@pytest.mark.parametrize("other", [None, 0, 1, 2, 3])
def test_the_boundary_parts_feasible_from_infeasible_points(corner, other):
    point = None
    if other is not None:
        point = torch.tensor(OTHERS[corner][other], dtype=torch.float64)
    outline = feasible_region(REFERENCE, 0.5, corner, point, num_points=4_000)
    middle = REFERENCE[:2] if corner == "top_left" else REFERENCE[2:]
    rng = torch.Generator().manual_seed(0)
    low, high = outline.amin(dim=0), outline.amax(dim=0)
    spread = torch.rand(4_000, 2, generator=rng, dtype=torch.float64) * 1.4 - 0.2
    points = low + spread * (high - low)
    opposite = own_corner(corner) if point is None else point
    reached = iou(boxes_at(points, corner, opposite)) >= 0.5
    # The region is star-shaped around the reference's own corner: compare radii at equal angles.
    angles, order = torch.atan2(*(outline[:-1] - middle).T.flip(0)).sort()
    radii = (outline[:-1] - middle).norm(dim=1)[order]
    at = torch.atan2(*(points - middle).T.flip(0))
    limit = torch.from_numpy(np.interp(at, angles, radii, period=2 * np.pi))
    distance = (points - middle).norm(dim=1)
    clear = (distance - limit).abs() > 0.01 * limit
    assert torch.equal((distance < limit)[clear], reached[clear])
    assert reached.any()
    assert not reached.all()


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.9])
def test_the_area_is_that_of_the_outline(threshold):
    outline = feasible_region(REFERENCE, threshold, "top_left", num_points=20_000)
    x, y = outline.T
    shoelace = ((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2).abs()
    exact = feasible_area(REFERENCE[None], torch.tensor([threshold], dtype=torch.float64))[0]
    torch.testing.assert_close(shoelace, exact, rtol=1e-6, atol=0)


def test_quadrants_of_figure_6():
    # paper/bbgen.yaml, figure 6, T = 0.5
    inside, outside, mixed = quadrant_areas(torch.tensor([0.5]))
    total = inside + outside + 2 * mixed
    shares = [float(part / total) for part in (inside, outside, mixed)]
    assert shares == pytest.approx([0.133, 0.335, 0.266], abs=5e-4)


@pytest.mark.parametrize(("threshold", "outwards", "inwards"), [(0.75, 1 / 3, 0.25), (0.5, 1, 0.5)])
def test_the_enclosing_rectangle_by_hand(threshold, outwards, inwards):
    # paper/bbgen.yaml, figure 4: 1/T - 1 outwards and 1 - T inwards, for sides of 1
    square = torch.tensor([0.0, 0.0, 1.0, 1.0])
    outline = feasible_region(square, threshold, "top_left")
    torch.testing.assert_close(outline.amin(dim=0), torch.full((2,), -outwards).double())
    torch.testing.assert_close(outline.amax(dim=0), torch.full((2,), inwards).double())


def test_generated_corners_lie_within_the_outline():
    boxes = generate_boxes(REFERENCE.repeat(5_000, 1), 0.6, torch.Generator().manual_seed(0))
    for corner, columns in (("top_left", slice(0, 2)), ("bottom_right", slice(2, 4))):
        outline = feasible_region(REFERENCE, 0.6, corner)
        assert (boxes[:, columns] >= outline.amin(dim=0) - 1e-9).all()
        assert (boxes[:, columns] <= outline.amax(dim=0) + 1e-9).all()


def test_threshold_one_leaves_a_point():
    outline = feasible_region(REFERENCE, 1.0, "top_left")
    torch.testing.assert_close(outline, REFERENCE[:2].expand_as(outline))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="corner must be one of"):
        feasible_region(REFERENCE, 0.5, "left")
    with pytest.raises(ValueError, match=r"iou must be in \(0, 1\]"):
        feasible_region(REFERENCE, 0.0, "top_left")
    with pytest.raises(ValueError, match="num_points must be 8 or more"):
        feasible_region(REFERENCE, 0.5, "top_left", num_points=7)
    with pytest.raises(ValueError, match=r"reference must be \[4\] xyxy with area"):
        feasible_region(torch.tensor([0.0, 0, 0, 1]), 0.5, "top_left")
    with pytest.raises(ValueError, match=r"no box with the corner \[40.0, 40.0\]"):
        feasible_region(REFERENCE, 0.5, "top_left", torch.tensor([40.0, 40.0]))
