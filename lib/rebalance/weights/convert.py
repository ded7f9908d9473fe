"""A checkpoint of another project into one of our detectors, and back."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rebalance.detectors.detector import Detector
from rebalance.errors import InputError
from rebalance.weights import mmdetection, torchvision
from rebalance.weights.names import COUNTER, Layout, Row, translate


class Source(NamedTuple):
    """Another project.

    Attributes:
        rows: a detector of ours -> how its parts are called there.
        current: a name in a file -> the present name.
    """

    rows: Callable[[Detector], Sequence[Row]]
    current: Callable[[str], str]


SOURCES: dict[str, Source] = {
    "mmdetection": Source(mmdetection.rows, mmdetection.current),
    "torchvision": Source(torchvision.rows, torchvision.current),
}


def import_weights(
    state: Mapping[str, Tensor], detector: Detector, source: str
) -> dict[str, Tensor]:
    """A state dict of another project as one of ours, complete, for ``load_state_dict``.

    What is no part of a published detector, such as the balance of losses, keeps the values that
    the detector has.

    Args:
        state: name -> tensor, as ``read_weights`` gives it.
        detector: a detector of the same architecture; it is not changed.
        source: a key of ``SOURCES``.

    Raises:
        InputError: unknown source; names that are missing or too many; shapes that differ.
    """
    project = _project(source)
    # Trained on several devices, a network is an attribute of another module.
    given = {
        project.current(re.sub(r"^module\.", "", name)): value for name, value in state.items()
    }
    ours_of = {
        theirs: (ours, layout)
        for ours, (theirs, layout) in translate(detector, project.rows(detector), source).items()
    }
    result = dict(detector.state_dict())
    missing = [name for name in ours_of if name not in given and not name.endswith(COUNTER)]
    surplus = [name for name in given if name not in ours_of and not name.endswith(COUNTER)]
    other_shapes = []
    for theirs, (ours, layout) in ours_of.items():
        if theirs in given:
            value, wanted = _in_our_layout(given[theirs], layout), result[ours]
            if value is None or value.shape != wanted.shape:
                shape = list((given[theirs] if value is None else value).shape)
                other_shapes.append(f"{theirs} is {shape}, ours {list(wanted.shape)}")
            else:
                result[ours] = value.to(wanted.dtype)
    problems = [
        f"{what} {', '.join(names[:3])} ({len(names)} in all)"
        for what, names in (("missing", missing), ("unknown", surplus), ("shapes:", other_shapes))
        if names
    ]
    if problems:
        raise InputError(f"weights of {source} do not fit this detector: {'; '.join(problems)}")
    return result


def export_weights(detector: Detector, to: str) -> dict[str, Tensor]:
    """The detector's weights under the names and in the layout of another project.

    Args:
        detector: one of ours.
        to: a key of ``SOURCES``.

    Raises:
        InputError: unknown project, or one without such a detector.
    """
    values = detector.state_dict()
    result = {}
    for ours, (theirs, layout) in translate(detector, _project(to).rows(detector), to).items():
        result[theirs] = values[ours] if layout is None else layout.to_theirs(values[ours])
        if theirs.endswith("running_var"):  # our frozen layers have no counter, theirs do
            counter = theirs.removesuffix("running_var") + COUNTER
            result.setdefault(counter, torch.tensor(0))
    return result


def _in_our_layout(value: Tensor, layout: Layout | None) -> Tensor | None:
    """None: of a shape that cannot have that layout."""
    try:
        return value if layout is None else layout.to_ours(value)
    except RuntimeError:
        return None


def _project(name: str) -> Source:
    if name not in SOURCES:
        raise InputError(f"weights: source must be one of {sorted(SOURCES)}, got {name!r}")
    return SOURCES[name]
