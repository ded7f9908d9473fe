"""Entries of ``config/datasets.yaml``: where images and annotations come from."""

from typing import Annotated, ClassVar

from annotated_types import Ge, Len
from pydantic import StringConstraints

from rebalance.config.bounds import Count, Index, Pixels, Text
from rebalance.config.part import Options, Part, section

Names = Annotated[list[Text], Len(1)]
ImageSets = Annotated[list[Annotated[str, StringConstraints(pattern=r"^[^:]+:[^:]+$")]], Len(1)]


class Dataset(Part, noun="kind of data set", tag="kind"):
    """All end as ``images/`` and ``annotations/{train,val}.json``, in COCO's format."""

    has_masks: ClassVar[bool] = True
    """Whether its annotations may have masks."""


class Drawn(Options):
    """Synthetic images, drawn from a seed."""

    seed: Index
    """Of the drawing."""
    num_train: Annotated[int, Ge(2)]
    """Training images."""
    num_val: Count
    """Validation images."""
    image_size: Pixels
    """Pixels, width and height."""


class Shapes(Drawn, Dataset, name="shapes"):
    """Synthetic images, without any download."""


class ShapesVoc(Drawn, Dataset, name="shapes_voc"):
    """Synthetic images written in Pascal VOC's layout, and read back."""

    has_masks: ClassVar[bool] = False

    classes: Names
    """Class names, in order."""
    train: ImageSets
    """``<folder>:<set>``, below the drawn folder."""
    val: ImageSets
    """Likewise, for validation."""


class ShapesVideos(Dataset, name="shapes_videos"):
    """Synthetic videos, to validate on only."""

    has_masks: ClassVar[bool] = False

    seed: Index
    """Of the drawing."""
    num_videos: Count
    """Videos."""
    num_frames: Count
    """Frames of each."""
    image_size: Pixels
    """Pixels, width and height."""


class ImagenetVid(Dataset, name="imagenet_vid"):
    """ImageNet VID in its own layout, which is given after registration; to validate on only."""

    has_masks: ClassVar[bool] = False

    annotations: Text
    """Folder of a folder per video with an XML per frame, below the data folder."""
    images: Text
    """Folder of the same with JPEGs."""
    categories: Text
    """Data set whose categories it gets: that which the detector learns from."""


class CocoDownload(Dataset, name="coco_download"):
    """Archives in COCO's layout."""

    archives: Names
    """What is downloaded, by name."""


class VocDownload(Dataset, name="voc_download"):
    """Archives in Pascal VOC's layout."""

    has_masks: ClassVar[bool] = False

    archives: Names
    """What is downloaded, by name."""
    train: ImageSets
    """``<folder>:<set>``, below the data folder's ``raw``."""
    val: ImageSets
    """Likewise, for validation."""


class Splits(Options):
    """A path for each split, below the data folder."""

    train: Text
    """Of training."""
    val: Text
    """Of validation."""


class CocoFolder(Dataset, name="coco_folder"):
    """A folder of one's own in COCO's layout."""

    images: Splits
    """Folders of images."""
    annotations: Splits
    """Annotation files."""
    first: Count | None = section()
    """Images taken of each split, by id; all if not given."""
