"""How pages show numbers."""

import numpy as np

UNDEFINED = "–"


def show_number(value: float, places: int, percent: bool, sign: bool = False) -> str:
    """A number as the table shows it: in percent or as it is, with a real minus; – if undefined."""
    if np.isnan(value):
        return UNDEFINED
    text = f"{100 * value if percent else value:{'+' if sign else ''}.{places}f}"
    # What rounds to nothing has no sign.
    text = text.lstrip("+-") if float(text) == 0 else text
    return text.replace("-", "−")
