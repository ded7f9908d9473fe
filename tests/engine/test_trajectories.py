"""Training itself against the published loop: 24 iterations of mmdetection's, followed by ours.

``trajectory_settings/<case>.yaml`` names the golden case of the detectors that the network is like,
and what differs (``recorded_samples``: number of a step -> its name among the recorded draws, which
it is given). Optimiser, schedule and images come from the recorded case. The folder of the data is
found through REBALANCE_GOLDEN.
"""

import copy

import pytest
import torch
import yaml
from detectors.golden import FOLDER, REPOSITORY, GoldenCase
from detectors.test_golden import names_of_losses
from detectors.test_golden import settings_of as detector_settings_of
from rebalance.config.reading import merged
from rebalance.detectors import build_detector
from rebalance.engine.fabric import single_device_fabric
from rebalance.engine.updates import Updates
from rebalance.weights.convert import export_weights, import_weights

TRAJECTORIES = FOLDER.parent / "trajectories"
pytestmark = [
    pytest.mark.xdist_group("trajectories"),  # one process follows each of them once
    pytest.mark.skipif(
        not TRAJECTORIES.is_dir(), reason="needs golden/trajectories (REBALANCE_GOLDEN)"
    ),
]
SETTINGS = REPOSITORY / "tests" / "engine" / "trajectory_settings"
CASES = sorted(path.stem for path in SETTINGS.glob("*.yaml"))
ITERATIONS_PER_EPOCH = 6


def settings_of(name):
    own = yaml.safe_load((SETTINGS / f"{name}.yaml").read_text())
    return merged(detector_settings_of(own.pop("like")), own)


def schedule_of(meta):
    optimizer, rate = meta["optimizer"], meta["lr_config"]
    per_step = ITERATIONS_PER_EPOCH if "Epoch" in str(meta["runner"]) else 1
    parameterwise = optimizer.get("paramwise_cfg")
    return {
        "iterations": len(meta["lr"]),
        "lr": optimizer["lr"],
        "momentum": optimizer["momentum"],
        "weight_decay": optimizer["weight_decay"],
        "bias": parameterwise and {
            "lr_factor": parameterwise["bias_lr_mult"],
            "decay_factor": parameterwise["bias_decay_mult"],
        },
        "warmup": {
            "name": rate["warmup"],
            "iterations": rate["warmup_iters"],
            "factor": rate["warmup_ratio"],
        },
        "decay": {"name": "step", "at": [step * per_step for step in rate["step"]], "factor": 0.1},
        "clip_norm": meta["optimizer_config"]["grad_clip"]["max_norm"],
    }  # fmt: skip


def target_of(case, image):
    target = {
        "boxes": case[f"in/gt_boxes/{image}"],
        "labels": case[f"in/gt_labels/{image}"].long() + 1,
        "ignored_boxes": torch.zeros(0, 4),
        "image_size": tuple(case.meta["img_metas"][image]["img_shape"][:2]),
        "image_id": image,
    }
    if f"in/gt_masks/{image}" in case:
        target["masks"] = case[f"in/gt_masks/{image}"]
    return target


def give_recorded_samples(case, settings, detector):
    """Draws of anchors are indices; those of RoIs are boxes, as proposals swap places easily."""

    def recorded_sampler(site):
        prefixes = (
            f"sample/{iteration}/{site}/{image}"
            for iteration, batch in enumerate(case.meta["batches"], 1)
            for image in range(len(batch))
        )

        def sample(assignment, *, boxes, **_):
            prefix = next(prefixes)
            if f"{prefix}/boxes" in case:
                exact = "donot_use_mm_for_euclid_dist"
                distance = torch.cdist(case[f"{prefix}/boxes"], boxes, compute_mode=exact)
                return distance.argmin(dim=1).sort().values
            drawn = [case[f"{prefix}/{kind}"].long() for kind in ("pos", "neg")]
            return torch.cat(drawn).sort().values

        return sample

    for step, site in settings["recorded_samples"].items():
        detector.steps[step].sampler = recorded_sampler(site)


class Followed:
    """Our training over the recorded batches, with what is to be compared."""

    def __init__(self, name):
        self.case = case = GoldenCase(name, TRAJECTORIES)
        self.settings = settings_of(name)
        meta = case.meta
        detector = build_detector(self.settings, num_classes=meta["num_classes"])
        self.start = case.state()
        detector.load_state_dict(import_weights(self.start, detector, "mmdetection"))
        if "recorded_samples" in self.settings:
            give_recorded_samples(case, self.settings, detector)
        fabric = single_device_fabric("32-true")
        updates = Updates(fabric, detector.train(), schedule_of(meta))
        self.detector, self.optimizer = detector, updates.optimizer
        self.values, self.after, self.momentum = [], {}, {}
        for iteration, batch in enumerate(meta["batches"]):
            images = torch.stack([case[f"in/img/{image}"] for image in batch])
            targets = [target_of(case, image) for image in batch]
            rngs = [torch.Generator().manual_seed(0) for _ in batch]
            self.values.append(updates.backward(iteration, images, targets, rngs))
            updates.apply()
            if iteration + 1 in (1, 8, 24):
                self.after[iteration + 1] = export_weights(detector, "mmdetection")
                self.after[iteration + 1] = {
                    key: value.clone() for key, value in self.after[iteration + 1].items()
                }
                self.momentum[iteration + 1] = self.buffers()

    def buffers(self):
        """Momentum under the names of mmdetection."""
        shadow = copy.deepcopy(self.detector)
        with torch.no_grad():
            for ours, theirs in zip(self.detector.parameters(), shadow.parameters(), strict=True):
                state = self.optimizer.state.get(ours, {})
                theirs.copy_(state.get("momentum_buffer", torch.zeros_like(ours)))
        return export_weights(shadow, "mmdetection")


@pytest.fixture(scope="module", params=CASES)
def followed(request):
    return Followed(request.param)


def test_learning_rates_are_the_published_ones(followed):
    meta = followed.case.meta
    base = meta["optimizer"]["lr"]
    for values, recorded in zip(followed.values, meta["lr"], strict=True):
        for rate, group in zip(recorded, meta["groups"], strict=True):
            assert values["lr"] * group["lr"] / base == pytest.approx(rate, rel=1e-6)


def test_losses_and_gradient_norms_are_followed(followed):
    meta = followed.case.meta
    tolerance = max(1e-5, 5 * meta["sensitivity"]["losses_any_iteration"])
    terms_of = names_of_losses(followed.settings, meta["losses"])
    for ours, terms in {"loss": ["loss"], **terms_of}.items():
        for iteration, values in enumerate(followed.values):
            expected = sum(meta["losses"][term][iteration] for term in terms)
            near = pytest.approx(expected, rel=tolerance, abs=1e-3 * tolerance)
            assert values[ours] == near, f"{ours} in iteration {iteration + 1}"
    norms = [values["grad_norm"] for values in followed.values]
    assert norms == pytest.approx(meta["grad_norm"], rel=2e-2)


def test_weights_go_the_published_way(followed):
    """Recorded weights, and of all parameters how far they went; frozen ones not a bit."""
    meta = followed.case.meta
    for name, known in meta["params"].items():
        start, end = followed.start[name], followed.after[24][name]
        if known["never_changed"]:
            assert torch.equal(start, end), name
            continue
        assert known["requires_grad"]
        tolerance = max(1e-3, 5 * known["update_sensitivity"])
        went = float((end - start).norm())
        assert went == pytest.approx(known["update_norm_24"], rel=tolerance, abs=1e-9), name
        if f"after/24/{name}" in followed.case:
            recorded = followed.case[f"after/24/{name}"]
            apart = float((end - recorded).norm()) / known["update_norm_24"]
            assert apart < tolerance, name


def test_momentum_is_the_published_one(followed):
    compared = 0
    for iteration, buffers in followed.momentum.items():
        for name, ours in buffers.items():
            if f"momentum/{iteration}/{name}" not in followed.case:
                continue
            recorded = followed.case[f"momentum/{iteration}/{name}"]
            assert float((ours - recorded).norm()) <= 5e-2 * float(recorded.norm()) + 1e-9, name
            compared += 1
    assert compared > 0


def test_running_statistics_are_the_published_ones(followed):
    buffers = followed.case.meta.get("buffers")
    if buffers is None:
        assert followed.case.meta["norm_eval"]
    for name, known in (buffers or {}).items():
        ours = followed.after[24].get(name)
        if ours is None or not ours.is_floating_point():
            continue
        assert float(ours.norm()) == pytest.approx(known["norm_24"], rel=1e-3), name
        if not known["changed"]:
            assert torch.equal(ours, followed.start[name]), name
