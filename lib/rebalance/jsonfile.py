"""Reading of the JSON files that the suite itself writes."""

import json
from pathlib import Path
from typing import Any

from rebalance.errors import InputError


def read_json(path: str | Path, what: str) -> Any:
    """The value in a JSON file.

    Args:
        path: of the file.
        what: the file is, for the message: "file of metrics".

    Raises:
        InputError: there is no such file, or it is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such {what}") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
