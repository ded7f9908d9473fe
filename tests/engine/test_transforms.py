"""What happens to an image and its objects on the way to the network."""

from typing import Any

import numpy as np
import pytest
import torch
from rebalance.engine.transforms import (
    CROP_IOUS,
    Preparation,
    Window,
    _ssd_window,
    cut,
    resize_and_flip,
    ssd_augmentation,
)
from rebalance.errors import InputError
from torchvision import tv_tensors
from torchvision.transforms import v2

from .conftest import IMAGE

FILL = [124, 116, 104]
SQUARE = {"name": "square", "size": 96}


def settings(**train: Any) -> dict[str, Any]:
    return {**IMAGE, "train": {**IMAGE["train"], **train}}


def make_example():
    image = torch.zeros(3, 20, 40, dtype=torch.uint8)
    image[:, 4:8, 10:30] = 200
    target = {
        "boxes": torch.tensor([[10.0, 4, 30, 8]]),
        "labels": torch.tensor([2]),
        "ignored_boxes": torch.zeros(0, 4),
        "masks": (image[:1] > 0).to(torch.uint8),
        "image_id": 7,
    }
    return image, target


def random_example(seed: int, num_objects: int = 6):
    """Noise, and rectangles of whole pixels whose masks are full."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(40, 90, 2))
    corners = rng.integers(0, [width - 8, height - 8], (num_objects, 2))
    ends = np.minimum(corners + rng.integers(3, 60, (num_objects, 2)), [width, height])
    masks = np.zeros((num_objects, height, width), np.uint8)
    for mask, (x1, y1), (x2, y2) in zip(masks, corners, ends, strict=True):
        mask[y1:y2, x1:x2] = 1
    target = {
        "boxes": torch.tensor(np.concatenate([corners, ends], axis=1), dtype=torch.float32),
        "labels": torch.arange(1, num_objects + 1),
        "ignored_boxes": torch.tensor([[0.0, 0, 12, 9], [width - 5, height - 4, width, height]]),
        "masks": torch.from_numpy(masks),
        "image_id": seed,
    }
    image = torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8))
    return image, target


def test_flip_mirrors_pixels_boxes_and_masks_by_hand():
    image, target = make_example()
    image[:, 4:8, 10] = 100
    flipped, result = resize_and_flip(image, target, (20, 40), flip=True)
    assert result["boxes"].tolist() == [[10, 4, 30, 8]]  # centred: 40 - 30 = 10
    assert flipped[0, 5, 29] == 100
    assert type(result["boxes"]) is torch.Tensor
    shifted = {**target, "boxes": target["boxes"] - 10, "masks": target["masks"].roll(-10, 2)}
    _, result = resize_and_flip(image, shifted, (20, 40), flip=True)
    assert result["boxes"].tolist() == [[20, -6, 40, -2]]
    assert result["masks"].nonzero()[:, 1:].aminmax(dim=0).min.tolist() == [4, 20]
    assert type(result["masks"]) is torch.Tensor


def test_resize_scales_boxes_and_masks_with_the_pixels_they_enclose():
    image, target = make_example()
    resized, result = resize_and_flip(image, target, (30, 80), flip=False)
    assert result["boxes"].tolist() == [[20, 6, 60, 12]]
    assert result["image_size"] == (30, 80)
    assert resized[0, 7:11, 22:58].float().mean() > 190
    assert resized[0, :4].max() == resized[0, 15:].max() == 0
    expected = torch.zeros(1, 30, 80, dtype=torch.uint8)
    expected[:, 6:12, 20:60] = 1
    assert result["masks"].equal(expected)


def test_no_objects_are_resized_flipped_and_cut():
    image, target = make_example()
    target |= {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64),
               "masks": torch.zeros(0, 20, 40, dtype=torch.uint8)}  # fmt: skip
    _, result = resize_and_flip(image, target, (30, 80), flip=True)
    assert result["masks"].shape == (0, 30, 80)
    pixels, result = cut(image, target, Window(-5, -5, 30, 30), FILL)
    assert result["masks"].shape == (0, *pixels.shape[1:]) == (0, 30, 30)
    torch.manual_seed(0)
    assert all(ssd_augmentation(image, target, FILL)[1]["boxes"].shape == (0, 4) for _ in range(9))


@pytest.mark.parametrize("seed", range(12))
def test_a_window_shows_what_a_loop_over_its_pixels_finds(seed):
    image, target = random_example(seed)
    height, width = image.shape[1:]
    rng = np.random.default_rng(seed)
    top, left = (int(rng.integers(-30, side - 5)) for side in (height, width))
    window = Window(top, left, max(20, 6 - top), max(25, 6 - left))
    pixels, result = cut(image, target, window, FILL)
    centers = (target["boxes"][:, :2] + target["boxes"][:, 2:]) / 2
    kept = [k for k, (x, y) in enumerate(centers.tolist())
            if left < x < left + window.width and top < y < top + window.height]  # fmt: skip
    assert result["labels"].tolist() == target["labels"][kept].tolist()
    assert len(result["masks"]) == len(result["boxes"]) == len(kept)
    for y in range(window.height):
        for x in range(window.width):
            row, column = top + y, left + x
            if 0 <= row < height and 0 <= column < width:
                assert pixels[:, y, x].equal(image[:, row, column])
                assert result["masks"][:, y, x].equal(target["masks"][kept, row, column])
            else:
                assert pixels[:, y, x].tolist() == FILL
                assert result["masks"][:, y, x].sum() == 0
    for mask, (x1, y1, x2, y2) in zip(result["masks"], result["boxes"].tolist(), strict=True):
        y, x = mask.nonzero(as_tuple=True)  # the rectangles are full: their masks fill the boxes
        assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == [x1, y1, x2, y2]


def test_ignored_regions_keep_what_is_inside_by_hand():
    image, target = make_example()
    target["ignored_boxes"] = torch.tensor([[0.0, 0, 11, 5], [0, 0, 9, 20], [35, 15, 40, 20]])
    _, result = cut(image, target, Window(2, 10, 10, 20), FILL)
    assert result["ignored_boxes"].tolist() == [[0, 0, 1, 3]]
    assert result["boxes"].tolist() == [[0, 2, 20, 6]]


@pytest.mark.parametrize("seed", range(40))
def test_ssd_augmentation_equals_the_composition_of_torchvisions_transforms(seed):
    image, target = random_example(seed)
    torch.manual_seed(seed)
    ours, result = ssd_augmentation(image, target, FILL)
    sample = {
        "image": tv_tensors.Image(image),
        "masks": tv_tensors.Mask(target["masks"]),
        "boxes": tv_tensors.BoundingBoxes(
            target["boxes"], format="XYXY", canvas_size=image.shape[1:]
        ),
    }
    composed = v2.Compose([
        v2.RandomPhotometricDistort(),
        v2.RandomZoomOut(fill={tv_tensors.Image: FILL, tv_tensors.Mask: 0}),
        v2.RandomIoUCrop(min_scale=0.3, sampler_options=list(CROP_IOUS)),
    ])  # fmt: skip
    torch.manual_seed(seed)
    expected = composed(sample)
    kept = (expected["boxes"][:, 2:] > expected["boxes"][:, :2]).all(dim=1)
    assert ours.equal(expected["image"].as_subclass(torch.Tensor))
    assert result["labels"].equal(target["labels"][kept])
    assert result["masks"].equal(expected["masks"][kept].as_subclass(torch.Tensor))
    torch.testing.assert_close(result["boxes"], expected["boxes"][kept].as_subclass(torch.Tensor))


def test_windows_are_of_the_published_sizes_and_hold_an_object():
    size, boxes = (60, 90), torch.tensor([[5.0, 5, 25, 35], [40, 20, 88, 58]])
    torch.manual_seed(0)
    windows = [_ssd_window(size, boxes) for _ in range(600)]
    cropped = [w for w in windows if w.height < 60 or w.width < 90]
    expanded = [w for w in windows if w.height > 60 or w.width > 90]
    assert len([w for w in windows if w == (0, 0, 60, 90)]) > 30
    assert len(cropped) > 100
    assert len(expanded) > 100
    assert max(w.height for w in windows) > 200
    for window in windows:
        assert 18 <= window.height <= 240
        assert 27 <= window.width <= 360
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = (centers > torch.tensor([window.left, window.top])) & (
            centers < torch.tensor([window.left + window.width, window.top + window.height])
        )
        assert inside.all(dim=1).any()


def test_what_is_drawn_depends_on_seed_iteration_and_image_only():
    image, target = random_example(3)
    chosen = settings(resize=SQUARE, augment="ssd")

    def made(seed: int, iteration: int, image_id: int) -> torch.Tensor:
        torch.manual_seed(image_id)  # must not matter
        prepare = Preparation(chosen, seed)
        return prepare(image, {**target, "image_id": image_id}, iteration)[0]

    first = made(0, 5, 1)
    assert first.shape == (3, 96, 96)
    assert first.equal(made(0, 5, 1))
    for other in ((1, 5, 1), (0, 6, 1), (0, 5, 2)):
        assert not first.equal(made(*other))


def test_torchs_global_generator_is_left_as_it_was():
    image, target = random_example(3)
    prepare = Preparation(settings(resize=SQUARE, augment="ssd"), seed=0)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    prepare(image, target, 0)
    assert torch.random.get_rng_state().equal(before)


def test_flips_come_half_of_the_time():
    prepare = Preparation(IMAGE, seed=0)
    flips = [[prepare._flips(iteration, image) for image in range(200)] for iteration in (0, 0, 1)]
    assert flips[0] == flips[1] != flips[2]
    assert 60 < sum(flips[0]) < 140
    never = Preparation(settings(horizontal_flip=0.0), seed=0)
    assert not any(never._flips(0, image) for image in range(50))


def test_a_range_is_drawn_from_its_first_to_its_last_size():
    prepare = Preparation(
        settings(resize={"name": "keep_ratio", "min_size": [48, 52], "max_size": 100}), seed=0
    )
    sizes = [prepare.size_of((100, 150), image, 3) for image in range(300)]
    assert {height for height, _ in sizes} == {48, 49, 50, 51, 52}
    assert set(sizes) == {(48, 72), (49, 74), (50, 75), (51, 76), (52, 78)}
    assert sizes == [prepare.size_of((100, 150), image, 3) for image in range(300)]
    assert sizes != [prepare.size_of((100, 150), image, 4) for image in range(300)]
    image, target = random_example(0)
    for iteration in range(5):
        planned = prepare.size_of((image.shape[1], image.shape[2]), 0, iteration)
        assert prepare(image, target, iteration)[0].shape[1:] == planned


def test_images_at_test_have_a_size_of_their_own_and_are_not_drawn():
    image, target = random_example(0)
    chosen = {**settings(augment="ssd", resize=SQUARE), "test": {"resize": {"name": "square",
              "size": 64}}}  # fmt: skip
    at_test = Preparation(chosen, seed=None)
    prepared, result = at_test(image, target)
    expected, boxes = resize_and_flip(image, target, (64, 64), flip=False)
    assert prepared.equal(expected)
    assert result["boxes"].equal(boxes["boxes"])


@pytest.mark.parametrize(("train", "message"), [
    ({"resize": {"name": "round"}}, r"resize must be one of keep_ratio, square, got 'round'"),
    ({"resize": {"name": "square", "sise": 3}}, r"unknown key 'sise' \(did you mean 'size'"),
    ({"augment": "sdd", "resize": SQUARE}, r"augment: must be one of 'ssd', got 'sdd'"),
    ({"augment": "ssd"}, r"resize.name: must be 'square' with augment 'ssd'.*got 'keep_ratio"),
    ({"resize": {"name": "keep_ratio", "min_size": [9, 5], "max_size": 9}}, r"at least 32, got"),
])  # fmt: skip
def test_meaningless_settings_are_refused(train, message):
    with pytest.raises(InputError, match=message):
        Preparation(settings(**train), seed=0)


def test_nothing_is_drawn_at_test():
    resize = {"name": "keep_ratio", "min_size": [48, 52], "max_size": 100}
    with pytest.raises(InputError, match=r"min_size: must be a whole number at test, got \[48"):
        Preparation({**IMAGE, "test": {"resize": resize}}, seed=None)
