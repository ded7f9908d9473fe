"""Numbers with bounds, by what they mean."""

from typing import Annotated

from annotated_types import Ge, Gt, Le, Len, Lt

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
"""A probability, an IoU, a fraction."""
OpenShare = Annotated[float, Gt(0), Lt(1)]
ShareAboveZero = Annotated[float, Gt(0), Le(1)]
ShareBelowOne = Annotated[float, Ge(0), Lt(1)]
Count = Annotated[int, Ge(1)]
"""1, 2, ..."""
Index = Annotated[int, Ge(0)]
"""0, 1, ..."""
Pixels = Annotated[int, Ge(32)]
"""Side of an image."""
Text = Annotated[str, Len(1)]
