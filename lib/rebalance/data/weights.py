"""Published weights as safetensors: a format that holds tensors and nothing that runs."""

from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from rebalance.data.files import write_atomically
from rebalance.errors import InputError


def convert_weights(source: str | Path, out: str | Path) -> None:
    """Convert a state dict saved by torch, read without running code in it, to safetensors.

    Args:
        source: ``.pth`` file with a dict of name -> tensor.
        out: ``.safetensors`` file to write.

    Raises:
        InputError: no such file, not a file of tensors only, or damaged.
    """
    source = Path(source)
    if not source.is_file():
        raise InputError(f"{source}: no such weights file")
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    # Whatever it is that fails: torch's unpickler raises nearly anything when it reads junk. Only
    # the first line of its message, since the rest advises to load the file in an unsafe way.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        kind = type(error).__name__
        raise InputError(f"{source}: not a file of tensors only: {kind}: {reason}") from None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise InputError(
            f"{source}: must hold a dict of name -> tensor, got {type(state).__name__}"
        )
    # Clones: safetensors refuses tensors that share memory.
    tensors = {name: value.detach().clone().contiguous() for name, value in state.items()}
    write_atomically(out, save(tensors))
