"""Every part that a configuration may name, with its options. Importing it defines all of them.

Adding a part (a loss, a head, an assigner, ...) takes three things and no table:

1. its code, a function or a class whose keyword parameters are the options;
2. one class in the file of its kind, here. It says the name in settings, what it ``makes``, and for
   each option type, bounds, default and documentation::

       class Giou(BoxLoss, name="giou", makes="rebalance.losses.regression:giou_loss"):
           '''1 - GIoU (thesis Eq. 3.15).'''

           eps: Positive = 1e-7
           '''px^2, added to areas.'''

3. its test, and ``python -m rebalance.config.documentation``, which writes docs/options.md and the
   schemas again.

The class it stands below says where it may be named: a ``BoxLoss`` under ``box`` of an objective, a
``DenseHead`` in a dense step. A test compares options and defaults with the signature; parameters
without default, and those that the kind lists as ``given``, come from the library. A loss that is
divided by something of its own names it as ``normaliser``. Rules over several options are
validators that raise ``refusal``; see `MaxIou`. A new kind of step is a class of settings in
``steps.py``, its entry in ``STEPS``, a section of ``Detector``, and a builder in
``rebalance.detectors.build.STEPS``.

Code that binds parts by name: ``rebalance.config.bind.bind_part``. A training depends on the code
of the parts that its settings name (``rebalance.config.code``), so that adding one plans nothing.
"""

from rebalance.config.options import (
    assigners,
    backbones,
    candidates,
    coders,
    dataset,
    detector,
    hardware,
    heads,
    image,
    losses,
    necks,
    objectives,
    overlaps,
    pooling,
    rois,
    samplers,
    schedule,
    select,
    steps,
)

__all__ = [
    "assigners",
    "backbones",
    "candidates",
    "coders",
    "dataset",
    "detector",
    "hardware",
    "heads",
    "image",
    "losses",
    "necks",
    "objectives",
    "overlaps",
    "pooling",
    "rois",
    "samplers",
    "schedule",
    "select",
    "steps",
]
