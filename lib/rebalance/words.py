"""Names as files and code have them, for a reader: in words, with indices below the line."""

import re
from html import escape

ACRONYMS = {
    "alrp": "aLRP",
    "ap": "AP",
    "atss": "ATSS",
    "ciou": "CIoU",
    "dcn": "DCN",
    "diou": "DIoU",
    "eiou": "EIoU",
    "gcnet": "GCNet",
    "ggiou": "GGIoU",
    "giou": "GIoU",
    "groie": "GRoIE",
    "iou": "IoU",
    "l1": "L1",
    "l2": "L2",
    "lrp": "LRP",
    "ofb": "OFB",
    "ohem": "OHEM",
    "ohpm": "OHPM",
    "olrp": "oLRP",
    "paa": "PAA",
    "pq": "PQ",
    "proi": "pRoI",
    "rcnn": "R-CNN",
    "roi": "RoI",
    "rois": "RoIs",
    "rpn": "RPN",
}
UNITS = {"gb": "GB", "k": "thousands", "mb": "MB"}
#: A letter or LRP with its index: N_TP, w_r, oLRP_Loc; none of the words of a longer name.
_SYMBOL = r"(?<![A-Za-z0-9])(o?LRP|[A-Za-z])_([A-Za-z0-9]+)(?!\w)"
_SYMBOL_OR_SPACE = re.compile(rf"{_SYMBOL}|(?<=\w)_(?=\w)")
_INDEXED = re.compile(rf"{_SYMBOL}|\b(A[PR])(\d+|[SML])\b")


def in_words(name: str) -> str:
    """HTML of a name: ``ap_loss of R1``, ``mask_oLRP_Loc``, ``n_parameters`` in words."""
    return indexed(spelled(name))


def spelled(name: str) -> str:
    """A name as text: ``mask_AP`` is mask AP, ``memory_gb`` has its unit in parentheses.

    Symbols keep their index (oLRP_Loc, w_r).
    """
    text = re.sub(r"\bn(?:um)?_", "number of ", name)
    text = re.sub(rf"_({'|'.join(UNITS)})\b", lambda unit: f" ({UNITS[unit[1]]})", text)
    text = _SYMBOL_OR_SPACE.sub(lambda found: found[0] if found[1] else " ", text)
    return re.sub(r"\b[a-z]+\d?\b", lambda word: ACRONYMS.get(word[0], word[0]), text)


def indexed(text: str) -> str:
    """HTML of a text, indices of symbols in it below the line: AP50, oLRP_Loc, N_TP, w_r."""
    return _INDEXED.sub(_below_the_line, escape(text))


def _below_the_line(found: re.Match[str]) -> str:
    symbol, index = filter(None, found.groups())
    return f"{symbol}<sub>{index}</sub>"
