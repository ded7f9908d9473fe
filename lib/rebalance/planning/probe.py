"""``rebalance probe``: a few iterations of every detector of some targets, on this device."""

from collections.abc import Iterable
from typing import Any

import torch

from rebalance.config.targets import Target
from rebalance.engine.probe import measure_pace, seconds_to_start, this_device
from rebalance.engine.progress import progress_bar
from rebalance.planning.jobs import Jobs
from rebalance.planning.measured import (
    Networks,
    image_size,
    iteration_of,
    num_classes,
    probe_file,
    read_measurements,
    write_measurements,
)


def probe(jobs: Jobs, targets: Iterable[Target], threads: int | None = None) -> str:
    """Measure one run of each detector, if that is not known yet; count operations of all.

    Args:
        jobs: of the scale.
        targets: whose trainings are asked for.
        threads: of the CPU; None leaves torch's number.

    Returns:
        The file that holds what was found.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    device = this_device()
    path = probe_file(device)
    found: dict[str, Any] = {"device": device, "threads": torch.get_num_threads(), "paces": {}}
    if path.is_file():
        found = read_measurements(path)
    found["seconds_to_start"] = seconds_to_start()
    paces = found["paces"].setdefault(jobs.scale, {})
    experiments = jobs.experiments
    runs = [job.run for job in jobs.all(targets) if job.rule == "train" and job.run is not None]
    first_of = {experiments.runs[run].base: run for run in reversed(runs)}
    for name in progress_bar(first_of.values(), desc="detectors"):
        run = jobs.run(name)
        digest = iteration_of(run)
        if paces.get(name, {}).get("iteration") == digest:
            continue
        pace = measure_pace(run, num_classes(experiments, run), image_size(experiments, run))
        paces[name] = {"iteration": digest, **pace._asdict()}
        write_measurements(path, found)
    write_measurements(path, found)
    networks = Networks(jobs)
    networks.count(runs, "operations")
    networks.count(runs, "parameters")
    return str(path)
