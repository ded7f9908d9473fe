"""Where an object of the last frame is expected in the next."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class ConstantVelocity:
    """The box of the last frame, moved on as it moved last; its size stays.

    It looks at no pixels. The thesis has an online tracker of others, which does.

    Attributes:
        box: float64 [4] xyxy, pixels, in the last frame.
        velocity: float64 [2], pixels a frame.
    """

    box: NDArray[np.float64]
    velocity: NDArray[np.float64]

    @classmethod
    def at(cls, box: NDArray[np.float64]) -> "ConstantVelocity":
        """An object seen for the first time, at rest."""
        return cls(np.asarray(box, np.float64), np.zeros(2))

    def predict(self) -> NDArray[np.float64]:
        """Box in the next frame, float64 [4] xyxy."""
        return self.box + np.tile(self.velocity, 2)

    def update(self, box: NDArray[np.float64]) -> None:
        """Take the box that the object was found at in the next frame."""
        self.velocity = (box[:2] + box[2:] - self.box[:2] - self.box[2:]) / 2
        self.box = np.asarray(box, np.float64)
