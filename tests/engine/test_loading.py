"""Images and boxes on their way to the network."""

import pytest
import torch
from PIL import Image
from rebalance.data.coco import CocoDataset
from rebalance.engine.batches import BatchPlan
from rebalance.engine.loading import BatchDataset, LoadFailure, Normaliser, batch_loader, transform

from .conftest import splits

SETTINGS = {"min_size": 48, "max_size": 64, "horizontal_flip": 0.5}


def make_example():
    image = torch.zeros(3, 20, 40, dtype=torch.uint8)
    image[:, 4:8, 10:30] = 200
    target = {
        "boxes": torch.tensor([[10.0, 4, 30, 8]]),
        "labels": torch.tensor([2]),
        "ignored_boxes": torch.zeros(0, 4),
        "image_id": 7,
    }
    return image, target


def test_flip_mirrors_pixels_and_boxes_by_hand():
    image, target = make_example()
    image[:, 4:8, 10] = 100
    flipped, result = transform(image, target, (20, 40), flip=True)
    assert result["boxes"].tolist() == [[10, 4, 30, 8]]  # centred: 40 - 30 = 10
    assert flipped[0, 5, 29] == 100
    assert type(result["boxes"]) is torch.Tensor
    _, shifted = transform(image, {**target, "boxes": target["boxes"] - 10}, (20, 40), flip=True)
    assert shifted["boxes"].tolist() == [[20, -6, 40, -2]]


def test_resize_scales_boxes_with_the_pixels_they_enclose():
    image, target = make_example()
    resized, result = transform(image, target, (30, 80), flip=False)
    assert result["boxes"].tolist() == [[20, 6, 60, 12]]
    assert result["image_size"] == (30, 80)
    assert resized[0, 7:11, 22:58].float().mean() > 190
    assert resized[0, :4].max() == resized[0, 15:].max() == 0


def test_padding_is_zero_after_normalising():
    normalise = Normaliser({"mean": [1.0, 2.0, 3.0], "std": [2.0, 2.0, 4.0]}, torch.device("cpu"))
    result = normalise(torch.full((2, 3, 4, 4), 5, dtype=torch.uint8), [(4, 4), (2, 3)])
    assert result[0, :, 0, 0].tolist() == [2.0, 1.5, 0.5]
    assert result[1, :, :2, :3].eq(result[0, :, :2, :3]).all()
    assert result[1, :, 2:].eq(0).all()
    assert result[1, :, :, 3:].eq(0).all()


def test_flips_depend_on_seed_iteration_and_image_only(shapes):
    dataset = BatchDataset(CocoDataset(**splits(shapes)["train"]), SETTINGS, seed=0)
    flips = [[dataset._flips(iteration, image) for image in range(200)] for iteration in (0, 0, 1)]
    assert flips[0] == flips[1] != flips[2]
    assert 60 < sum(flips[0]) < 140
    never = BatchDataset(dataset.source, {**SETTINGS, "horizontal_flip": 0.0}, seed=0)
    assert not any(never._flips(0, image) for image in range(50))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_corrupt_file_arrives_as_a_value_also_from_a_worker(shapes, tmp_path, num_workers):
    images = tmp_path / "images" / "train"
    images.mkdir(parents=True)
    for path in sorted((shapes / "images" / "train").iterdir()):
        (images / path.name).write_bytes(path.read_bytes())
    bad = sorted(images.iterdir())[2]
    bad.write_bytes(bad.read_bytes()[:300])
    source = CocoDataset(splits(shapes)["train"]["annotations"], tmp_path / "images")
    dataset = BatchDataset(source, SETTINGS, seed=0)
    plans = [BatchPlan(0, (0, 1), (64, 64)), BatchPlan(1, (1, 2), (64, 64))]
    good, broken = batch_loader(dataset, plans, num_workers, pin_memory=False)
    assert good.images.shape == (2, 3, 64, 64)
    assert isinstance(broken, LoadFailure)
    assert bad.name in broken.message


def test_a_batch_holds_each_image_in_its_corner(shapes):
    source = CocoDataset(**splits(shapes)["train"])
    dataset = BatchDataset(source, {"min_size": 1, "max_size": 64, "horizontal_flip": 0.0}, None)
    dataset.sizes = source.sizes  # no resizing
    batch = dataset[BatchPlan(0, (0, 1, 2), (96, 96))]
    for index, (image, target) in enumerate(zip(batch.images, batch.targets, strict=True)):
        height, width = source.sizes[index]
        with Image.open(source.images / source._files[index]) as file:
            expected = torch.tensor(list(file.convert("RGB").getdata()))
        assert image[:, :height, :width].permute(1, 2, 0).reshape(-1, 3).equal(expected.byte())
        assert image[:, height:].max() == 0
        assert target["image_id"] == source.image_ids[index]
