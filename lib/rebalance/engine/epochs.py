"""The weights after each epoch, evaluated: a trained run in, epochs.json out.

Some works search for the best epoch of a training on the images that they report, which is kind to
every row of their tables. epochs.json has what such a search looks at::

    epochs             one entry per epoch, in order:
      epoch              1, 2, ...
      iteration          after which its weights were kept
      metrics            the numbers of metrics.json, without classes; null where undefined
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rebalance.data.files import write_atomically
from rebalance.engine.predict import detections_of
from rebalance.engine.run_folder import EPOCHS, epoch_weights
from rebalance.engine.trained_run import load_model, open_trained_run
from rebalance.errors import InputError
from rebalance.metrics.evaluate import evaluate, evaluate_boxes_and_masks
from rebalance.metrics.output import to_json


def evaluate_epochs(
    run_dir: str | Path,
    out: str | Path,
    *,
    test_settings: Mapping[str, Any] | None = None,
    settings_place: str = "test_settings",
    tau: float = 0.5,
    ranking: str = "scores",
    ious: Sequence[float] = (),
    with_masks: bool = False,
    threads: int | None = None,
) -> None:
    """Predict and evaluate the validation images once per epoch.

    Args:
        run_dir: holds model.safetensors, run.yaml and the folder ``epochs``; none can run code.
        out: the file to write, whole or not at all.
        test_settings: changes to the detector's test settings.
        settings_place: how messages name these.
        tau: see ``metrics.evaluate.evaluate``.
        ranking: see ``metrics.evaluate.evaluate``.
        ious: see ``metrics.evaluate.evaluate``.
        with_masks: masks beside boxes, under names with ``mask_``.
        threads: of the CPU; None leaves torch's number.

    Raises:
        InputError: missing or damaged files, among them those of the epochs.
    """
    run = open_trained_run(
        run_dir, "val", test_settings=test_settings, settings_place=settings_place, threads=threads
    )
    weights = epoch_weights(Path(run_dir))
    if not weights:
        raise InputError(
            f"{Path(run_dir) / EPOCHS}: no weights were kept; a run whose schedule has `epochs` "
            "keeps them, trained again"
        )
    measure = evaluate_boxes_and_masks if with_masks else evaluate
    epochs = []
    for number, (iteration, path) in enumerate(weights.items(), start=1):
        load_model(run.detector, path)
        metrics = measure(
            run.settings["dataset"]["val"]["annotations"],
            detections_of(run),
            tau=tau,
            ranking=ranking,
            ious=ious,
        )
        del metrics["per_class"], metrics["settings"]
        epochs.append({"epoch": number, "iteration": iteration, "metrics": metrics})
    write_atomically(out, to_json({"epochs": epochs}).encode())
