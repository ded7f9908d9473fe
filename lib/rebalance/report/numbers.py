"""How numbers and the names of metrics are shown, in tables and wherever pages name them."""

from html import escape

import numpy as np

UNDEFINED = "–"


def metric_label(name: str) -> str:
    """HTML of a metric's name: AP50 and oLRP_Loc have subscripts."""
    stem, mark, rest = name.partition("_")
    if mark and stem in {"oLRP", "LRP"}:
        return f"{stem}<sub>{escape(rest)}</sub>"
    if name.startswith("mask_"):
        return f"mask {metric_label(rest)}"
    if name[:2] in {"AP", "AR"} and (name[2:].isdigit() or name[2:] in {"S", "M", "L"}):
        return f"{name[:2]}<sub>{name[2:]}</sub>"
    return escape(name.replace("_", " "))


def show_number(value: float, places: int, percent: bool, sign: bool = False) -> str:
    """A number as the table shows it: in percent or as it is, with a real minus; – if undefined."""
    if np.isnan(value):
        return UNDEFINED
    text = f"{100 * value if percent else value:{'+' if sign else ''}.{places}f}"
    # What rounds to nothing has no sign.
    text = text.lstrip("+-") if float(text) == 0 else text
    return text.replace("-", "−")
