"""Whether a folder of the user's own has the masks that a detector needs, before any job."""

import json
import tempfile
from pathlib import Path

from rebalance.data.files import write_atomically
from rebalance.errors import InputError


def check_masks(
    annotations: dict[str, Path], images: dict[str, Path], first: int | None, record: Path
) -> None:
    """Take a COCO folder as its job will, in a temporary place, and read the masks of all objects.

    That takes a minute for files as large as COCO's. It is done once for each state of the files:
    their sizes and times of change are kept when nothing was wrong.

    Args:
        annotations: annotation file of each split.
        images: folder of images of each split.
        first: images of each split that are taken; None takes all.
        record: file to keep the state in.

    Raises:
        InputError: what `take_coco_folder` refuses, or an object without a valid segmentation.
            The message names file, annotation and field.
    """
    state = json.dumps([first, *(_state(file) for file in annotations.values())])
    if record.is_file() and record.read_text() == state:
        return
    # Both import torch, which takes longer than all else when a workflow is read.
    from rebalance.data.coco import CocoDataset
    from rebalance.data.folder import FolderSplit, take_coco_folder

    with tempfile.TemporaryDirectory() as folder:
        splits = {split: FolderSplit(file, images[split]) for split, file in annotations.items()}
        take_coco_folder(splits, folder, first=first)
        for split, file in annotations.items():
            taken = Path(folder) / "annotations" / f"{split}.json"
            try:
                CocoDataset(taken, Path(folder) / "images", masks=True)
            except InputError as error:
                raise InputError(str(error).replace(str(taken), str(file))) from None
    write_atomically(record, state.encode())


def _state(file: Path) -> tuple[str, int, int]:
    """What changes with the contents of a file."""
    status = file.stat()
    return str(file.resolve()), status.st_size, status.st_mtime_ns
