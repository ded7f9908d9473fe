"""Images and boxes on their way to the network."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from rebalance.data.coco import CocoDataset
from rebalance.engine.batches import BatchPlan, training_batches
from rebalance.engine.loading import BatchDataset, LoadFailure, Normaliser, batch_loader

from .conftest import IMAGE, splits


def test_padding_is_zero_after_normalising():
    normalise = Normaliser({"mean": [1.0, 2.0, 3.0], "std": [2.0, 2.0, 4.0]}, torch.device("cpu"))
    result = normalise(torch.full((2, 3, 4, 4), 5, dtype=torch.uint8), [(4, 4), (2, 3)])
    assert result[0, :, 0, 0].tolist() == [2.0, 1.5, 0.5]
    assert result[1, :, :2, :3].eq(result[0, :, :2, :3]).all()
    assert result[1, :, 2:].eq(0).all()
    assert result[1, :, :, 3:].eq(0).all()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_corrupt_file_arrives_as_a_value_also_from_a_worker(shapes, tmp_path, num_workers):
    images = tmp_path / "images" / "train"
    images.mkdir(parents=True)
    for path in sorted((shapes / "images" / "train").iterdir()):
        (images / path.name).write_bytes(path.read_bytes())
    bad = sorted(images.iterdir())[2]
    bad.write_bytes(bad.read_bytes()[:300])
    source = CocoDataset(splits(shapes)["train"]["annotations"], tmp_path / "images")
    dataset = BatchDataset(source, IMAGE, seed=0)
    plans = [BatchPlan(0, (0, 1), (64, 64)), BatchPlan(1, (1, 2), (64, 64))]
    good, broken = batch_loader(dataset, plans, num_workers, pin_memory=False)
    assert good.images.shape == (2, 3, 64, 64)
    assert isinstance(broken, LoadFailure)
    assert bad.name in broken.message


def test_a_batch_holds_each_image_in_its_corner(shapes):
    source = CocoDataset(**splits(shapes)["train"])
    as_it_is = {"name": "keep_ratio", "min_size": 64, "max_size": 64}  # the longer side has 64
    dataset = BatchDataset(source, {**IMAGE, "test": {"resize": as_it_is}}, None)
    batch = dataset[BatchPlan(0, (0, 1, 2), (96, 96))]
    for index, (image, target) in enumerate(zip(batch.images, batch.targets, strict=True)):
        height, width = source.sizes[index]
        with Image.open(source.images / source._files[index]) as file:
            expected = torch.tensor(list(file.convert("RGB").getdata()))
        assert image[:, :height, :width].permute(1, 2, 0).reshape(-1, 3).equal(expected.byte())
        assert image[:, height:].max() == 0
        assert target["image_id"] == source.image_ids[index]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_masks_arrive_in_the_size_of_their_image_whoever_loads_them(shapes, num_workers):
    """The oracle: pycocotools, each pixel taken from where it is by nearest neighbour."""
    annotations = splits(shapes)["train"]["annotations"]
    source = CocoDataset(**splits(shapes)["train"], masks=True)
    dataset = BatchDataset(source, IMAGE, seed=0)
    plans = list(itertools.islice(training_batches(dataset.sizes(), 4, seed=0), 6))
    oracle = COCO(annotations)
    flipped = set()
    for plan, batch in zip(plans, batch_loader(dataset, plans, num_workers, False), strict=True):
        for index, target in zip(plan.indices, batch.targets, strict=True):
            (height, width), old = target["image_size"], source.sizes[index]
            assert target["masks"].shape == (len(target["boxes"]), height, width)
            assert target["masks"].dtype == torch.uint8
            rows = np.floor(np.arange(height) * (old[0] / height)).astype(int)
            columns = np.floor(np.arange(width) * (old[1] / width)).astype(int)
            key = {"imgIds": [target["image_id"]], "iscrowd": False}
            records = oracle.loadAnns(sorted(oracle.getAnnIds(**key)))
            expected = np.array([oracle.annToMask(record)[rows][:, columns] for record in records])
            flip = dataset.prepare._flips(plan.iteration, target["image_id"])
            flipped.add(flip)
            if len(records):
                masks = target["masks"].flip(-1) if flip else target["masks"]
                np.testing.assert_array_equal(masks.numpy(), expected)
    assert flipped == {True, False}
