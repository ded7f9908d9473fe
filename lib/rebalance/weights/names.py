"""How one of our parameters is called elsewhere, and how its values lie there."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from rebalance.detectors.detector import Detector
from rebalance.errors import InputError

PARTS = ("backbone.", "neck.", "heads.", "poolings.")
"""Where our names of what is published start. Else (a balance of losses) is of a training."""
COUNTER = "num_batches_tracked"  # of batch norm; some layers have none, and nothing reads it


class Layout(NamedTuple):
    """The same numbers in another order."""

    to_theirs: Callable[[Tensor], Tensor]
    to_ours: Callable[[Tensor], Tensor]


class Row(NamedTuple):
    """Names that start with ``ours`` start with ``theirs`` elsewhere.

    Attributes:
        ours: regular expression for the start of a name.
        theirs: what stands in its place; ``\\1`` is the first group.
        layout: None: the values lie as ours do.
    """

    ours: str
    theirs: str
    layout: Layout | None = None

    def under(self, ours: str, theirs: str) -> "Row":
        """The row of a part, of the whole in which the part has these prefixes."""
        return Row(re.escape(ours) + self.ours, theirs + self.theirs, self.layout)


class Name(NamedTuple):
    """One parameter or buffer: its name elsewhere and its layout there."""

    theirs: str
    layout: Layout | None


class HeadNames(NamedTuple):
    """A kind of head.

    Attributes:
        prefix: where its names start elsewhere.
        rows: the rows below this prefix, for one head.
    """

    prefix: str
    rows: Callable[[nn.Module], list[Row]]


def tower(ours: str, layers: nn.Sequential, conv: str, norm: str) -> list[Row]:
    """Rows of convolutions (with norms and activations between), which others count alone.

    Args:
        ours: attribute that holds ``layers``.
        layers: the convolutions.
        conv: name of the k-th convolution elsewhere, with ``{}`` for k, as ``cls_convs.{}.conv.``.
        norm: the same of its norm.
    """
    rows, index = [], -1
    for position, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            index += 1
            rows.append(Row(rf"{ours}\.{position}\.", conv.format(index)))
        elif isinstance(layer, nn.GroupNorm):
            rows.append(Row(rf"{ours}\.{position}\.", norm.format(index)))
    return rows


def translate(detector: Detector, rows: Sequence[Row], source: str) -> dict[str, Name]:
    """Our names -> theirs, of all parameters and buffers that are published.

    Raises:
        InputError: the source has no name for one of them.
    """
    names: dict[str, Name] = {}
    for ours in detector.state_dict():
        if not ours.startswith(PARTS):
            continue
        for row in rows:
            match = re.match(row.ours, ours)
            if match:
                names[ours] = Name(match.expand(row.theirs) + ours[match.end() :], row.layout)
                break
        else:
            raise InputError(f"weights: {source} has no detector with our {ours}")
    return names
