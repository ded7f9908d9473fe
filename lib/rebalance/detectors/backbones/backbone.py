"""What every backbone offers, and how ImageNet weights come into it."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from rebalance.errors import InputError

FIRST_LEVEL = 2  # stride 4


class Backbone(nn.Module):
    """A stem and stages.

    Attributes:
        out_channels: channels of the maps that ``forward`` gives, finest first.
        classifier: start of the names, in a file of ImageNet weights, of what a detector lacks.
        fresh: parts of the names of parameters that no ImageNet classifier has.
    """

    out_channels: tuple[int, ...]
    classifier: str = "fc."
    fresh: tuple[str, ...] = ()

    def keep_levels(self, count: int) -> None:
        """Drop all but the first ``count`` stages, whose maps alone are used.

        Stages without a loss would cost time, and DDP waits for the gradient of every parameter.
        """
        raise NotImplementedError


def load_weights(backbone: Backbone, path: str | Path) -> None:
    """Load a safetensors file (no code is executed) into ``backbone``: all parameters or none.

    The classifier in the file is left out, what no classifier has (``Backbone.fresh``) stays as it
    is.

    Raises:
        InputError: missing or damaged file; a parameter absent, unknown or of another shape.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"backbone weights {path}: cannot be read: {error}") from error
    wanted = backbone.state_dict()
    optional = {
        name
        for name in wanted
        if name.endswith("num_batches_tracked") or any(part in name for part in backbone.fresh)
    }
    state = {
        name: value
        for name, value in state.items()
        if not name.startswith(backbone.classifier)
        and (name in wanted or not name.endswith("num_batches_tracked"))
    }
    missing, unknown = wanted.keys() - state.keys() - optional, state.keys() - wanted.keys()
    if missing or unknown:
        raise InputError(
            f"backbone weights {path}: missing {sorted(missing)[:3]}, "
            f"unknown {sorted(unknown)[:3]} ({len(missing)} and {len(unknown)} in all)"
        )
    for name, value in state.items():
        if value.shape != wanted[name].shape:
            raise InputError(
                f"backbone weights {path}: {name} is {list(value.shape)}, "
                f"this backbone needs {list(wanted[name].shape)}"
            )
    backbone.load_state_dict(state, strict=False)
