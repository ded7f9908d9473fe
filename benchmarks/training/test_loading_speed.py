"""Images that one core reads, resizes and flips in a second, beside torchvision's own transforms.

JPEG files of COCO's usual 640 x 480 with seven boxes, for a shorter side of 800, in turn. Ours are
whole batches, as workers make them: 8-bit on their canvas, normalised on the device. torchvision's
are images alone: 8-bit, too, or as its reference trainings have them, normalised 32-bit floats.
Process time is what counts, so that other work on the machine matters little.
"""

import json
import statistics

import pytest
import torch
from iterations import NUM_OBJECTS, experiments, in_turn
from PIL import Image
from rebalance.config.experiments import resolve_run
from rebalance.data.coco import CocoDataset
from rebalance.engine.batches import training_batches
from rebalance.engine.loading import Batch, BatchDataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

RUN = "retinanet_r50_focal_eiou"
HEIGHT, WIDTH = 480, 640
IMAGES = 8
RESIZED = [v2.RandomShortestSize(800, 1333), v2.RandomHorizontalFlip()]
FLOATS = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.25] * 3)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = torch.Generator().manual_seed(0)
    for image in range(IMAGES):
        coarse = torch.randint(256, (1, 3, 30, 40), generator=rng).float()
        smooth = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bilinear")
        functional.to_pil_image(smooth[0].to(torch.uint8)).save(folder / f"{image}.jpg")
    sizes = {"height": HEIGHT, "width": WIDTH}
    coco = {
        "images": [{"id": i, "file_name": f"{i}.jpg", **sizes} for i in range(IMAGES)],
        "annotations": [
            {"id": i + 1, "image_id": i % IMAGES, "category_id": 1, "bbox": [40, 30, 200, 100],
             "area": 20_000, "iscrowd": 0}
            for i in range(NUM_OBJECTS * IMAGES)
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }  # fmt: skip
    (folder / "annotations.json").write_text(json.dumps(coco))
    return CocoDataset(annotations=folder / "annotations.json", images=folder)


def theirs(source, transforms):
    transform = v2.Compose(transforms)
    for index in range(IMAGES):
        image = functional.pil_to_tensor(Image.open(source.images / f"{index}.jpg"))
        boxes = tv_tensors.BoundingBoxes(
            source.target(index)["boxes"], format="XYXY", canvas_size=(HEIGHT, WIDTH)
        )
        transform(tv_tensors.Image(image), {"boxes": boxes})


def images_per_second(source, rounds):
    torch.set_num_threads(1)
    settings = resolve_run(experiments(), RUN, "paper").model_dump()["image"]
    dataset = BatchDataset(source, settings, seed=0)
    plans = training_batches(dataset.sizes(), IMAGES, seed=0, size_of=dataset.size_of)

    def ours():
        batch = dataset[next(plans)]
        assert isinstance(batch, Batch)
        assert min(batch.images.shape[-2:]) == 800

    loaders = {
        "rebalance": ours,
        "torchvision, 8 bit": lambda: theirs(source, RESIZED),
        "torchvision, 32 bit": lambda: theirs(source, [*RESIZED, *FLOATS]),
    }
    seconds = in_turn(loaders, rounds)
    return {name: IMAGES / statistics.median(times) for name, times in seconds.items()}


@pytest.mark.benchmark(group="training")
def test_a_core_loads_images_as_quickly_as_torchvision_alone(benchmark, source):
    speed = benchmark.pedantic(images_per_second, args=(source, 9), rounds=1)
    benchmark.extra_info.update(speed)
    assert speed["rebalance"] >= 0.8 * speed["torchvision, 32 bit"]
