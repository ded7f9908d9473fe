"""Training: reproducible to the byte, resumable after any kill, clear when something is wrong."""

import copy
import json
import os
import random
import signal
import time

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from rebalance.config.parse import parse
from rebalance.config.run import Run, read_trained_run
from rebalance.engine import checkpoint as checkpoints
from rebalance.engine.loading import STOP_SIGNALS
from rebalance.engine.predict import predict
from rebalance.engine.train import NonFiniteLossError, train
from rebalance.errors import InputError
from safetensors.torch import load_file

from .conftest import OUTPUTS, STAGED, Interrupted, children, results, wait_for
from .test_mask_runs import MASK, MASK_HEAD


def test_outputs_are_complete_and_nothing_else_is_left(run, finished):
    assert sorted(p.name for p in finished.iterdir()) == OUTPUTS
    header, *rows = (finished / "log.csv").read_text().splitlines()
    assert header == "iteration,lr,loss,class_loss,box_loss,grad_norm"
    assert [int(row.split(",")[0]) for row in rows] == list(range(1, 13))
    for row in rows:
        _, _, loss, class_loss, box_loss, _ = map(float, row.split(","))
        assert loss == pytest.approx(class_loss + box_loss, rel=1e-6)
    settings = yaml.safe_load((finished / "run.yaml").read_text())
    assert {key: settings[key] for key in Run.model_fields} == parse(Run, run, "run").model_dump()
    assert settings["classes"]["ids"] == list(range(1, 9))
    assert settings["made_with"]["threads"] == 1
    assert torch.__version__.startswith(settings["made_with"]["versions"]["torch"])


def test_two_trainings_of_one_seed_are_byte_identical_and_of_two_seeds_differ(
    run, finished, tmp_path
):
    train(run, tmp_path / "again", threads=1)
    assert results(finished) == results(tmp_path / "again")
    train({**run, "seed": 4}, tmp_path / "other", threads=1)
    assert (
        results(finished)["model.safetensors"] != results(tmp_path / "other")["model.safetensors"]
    )


def test_workers_change_no_byte(run, finished, tmp_path):
    run["hardware"]["num_workers"] = 1
    train(run, tmp_path / "workers", threads=1)
    assert results(finished) == results(tmp_path / "workers")


def test_learning_rate_and_weights_follow_sgd(run, tmp_path):
    """With a learning rate too small to matter the weights stay; with a usual one they move."""
    run["schedule"]["iterations"] = 2
    run["schedule"]["lr"] = 1e-12
    train(run, tmp_path / "still", threads=1)
    run["schedule"]["lr"] = 0.01
    train(run, tmp_path / "moving", threads=1)
    still, moving = (
        load_file(tmp_path / name / "model.safetensors") for name in ("still", "moving")
    )
    changes = [(still[name] - moving[name]).abs().max() for name in still]
    assert min(changes) > 0


def kill_repeatedly(run, out, start, delays):
    """SIGKILL each training ``delay`` seconds after its first new row; then let one finish."""
    kills = 0
    for delay in delays:
        process = start(run, out)
        log = out / checkpoints.UNFINISHED_LOG
        wait_for(log, process)
        time.sleep(delay)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        if (out / "model.safetensors").exists():
            break
    last = start(run, out)
    _, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    return kills


def test_a_killed_training_ends_with_the_bytes_of_an_uninterrupted_one(run, start, tmp_path):
    run["schedule"]["iterations"] = 40
    train(run, tmp_path / "whole", threads=1)
    assert kill_repeatedly(run, tmp_path / "killed", start, [0.7]) == 1
    assert results(tmp_path / "whole") == results(tmp_path / "killed")


@pytest.mark.slow
def test_a_killed_loader_is_named_and_the_checkpoint_stays(run, start, tmp_path):
    run["schedule"].update(iterations=10**6, checkpoint_every=1)
    run["hardware"]["num_workers"] = 1
    process = start(run, tmp_path)
    wait_for(tmp_path / checkpoints.PREVIOUS, process)
    (loader,) = children(process.pid)
    os.kill(loader, signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == os.EX_TEMPFAIL, errors
    assert "rebalance train: a process that loads images was killed (DataLoader worker" in errors
    assert "Traceback" not in errors
    assert checkpoints.choose_checkpoint(tmp_path) == []


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_no_byte(run, start, tmp_path):
    run["schedule"].update(iterations=150, checkpoint_every=1)
    train(run, tmp_path / "whole", threads=1)
    delays = [random.Random(k).uniform(0, 0.6) for k in range(10)]
    assert kill_repeatedly(run, tmp_path / "killed", start, delays) >= 5
    assert results(tmp_path / "whole") == results(tmp_path / "killed")


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(n, marks=pytest.mark.slow) for n in STOP_SIGNALS[1:])],
)
def test_a_signal_leaves_a_checkpoint_and_asks_to_be_started_again(run, start, tmp_path, number):
    run["hardware"]["num_workers"] = 1  # a terminal sends Ctrl-C to it as well
    run["schedule"].update(iterations=40, checkpoint_every=1000)
    train(run, tmp_path / "whole", threads=1)
    process = start(run, tmp_path / "stopped")
    wait_for(tmp_path / "stopped" / checkpoints.UNFINISHED_LOG, process)
    time.sleep(0.2)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == os.EX_TEMPFAIL, errors
    assert "Traceback" not in errors
    assert "start again to go on" in errors
    state = checkpoints.load_checkpoint(tmp_path / "stopped")
    assert 0 <= state["iteration"] < 40
    assert train(run, tmp_path / "stopped", threads=1)
    assert results(tmp_path / "whole") == results(tmp_path / "stopped")


def test_rows_after_the_checkpoint_are_not_written_twice(run, finished, tmp_path, interrupt):
    restore = interrupt(4 * 5)  # in the sixth iteration, two after the checkpoint of the third
    with pytest.raises(Interrupted):
        train(run, tmp_path / "cut", threads=1)
    log = tmp_path / "cut" / checkpoints.UNFINISHED_LOG
    assert len(log.read_text().splitlines()) == 1 + 5
    restore()
    train(run, tmp_path / "cut", threads=1)
    assert results(finished) == results(tmp_path / "cut")


DRAWN = {
    "ssd": {"resize": {"name": "square", "size": 64}, "horizontal_flip": 0.5, "augment": "ssd"},
    "sizes": {"resize": {"name": "keep_ratio", "min_size": [40, 64], "max_size": 90},
              "horizontal_flip": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("images", DRAWN)
def test_what_is_drawn_of_images_is_drawn_again_after_an_interruption(
    run, tmp_path, interrupt, images
):
    run["image"]["train"] = DRAWN[images]
    run["hardware"]["num_workers"] = 1
    train(run, tmp_path / "whole", threads=1)
    run["hardware"]["num_workers"] = 0
    restore = interrupt(4 * 5)
    with pytest.raises(Interrupted):
        train(run, tmp_path / "cut", threads=1)
    restore()
    train(run, tmp_path / "cut", threads=1)
    assert results(tmp_path / "whole") == results(tmp_path / "cut")
    predict(tmp_path / "cut", tmp_path / "detections.json", threads=1)


BAD_MASKS = {
    "none": (None, "missing key 'segmentation', needed for masks"),
    "two points": ([[2, 2, 10, 20]], "segmentation must be .* polygons of three points and more"),
    "another size": (
        {"size": [9, 9], "counts": [0, 81]},
        r"segmentation.size must be \[\d+, \d+\], the height and width of its image, got \[9, 9\]",
    ),
    "too few runs": ("runs", r"segmentation.counts must .* that sum to \d+ x \d+, got \[5\]"),
}


@pytest.mark.parametrize("case", BAD_MASKS)
def test_a_mask_detector_stops_at_bad_masks_before_it_trains(run, shapes, tmp_path, case):
    segmentation, message = BAD_MASKS[case]
    coco = json.loads((shapes / "annotations" / "train.json").read_text())
    first = next(a for a in coco["annotations"] if not a["iscrowd"])
    first.pop("segmentation")
    if segmentation == "runs":
        image = next(image for image in coco["images"] if image["id"] == first["image_id"])
        segmentation = {"size": [image["height"], image["width"]], "counts": [5]}
    if segmentation is not None:
        first["segmentation"] = segmentation
    (tmp_path / "bad.json").write_text(json.dumps(coco))
    run["dataset"]["train"]["annotations"] = str(tmp_path / "bad.json")
    heads = {**STAGED["heads"], "mask": MASK_HEAD}
    run["detector"] = {
        **STAGED,
        "heads": heads,
        "mask": MASK,
        "steps": ["rpn", {"box": "box", "iou": 0.5}, {"mask": "mask"}],
    }
    with pytest.raises(InputError, match=rf"bad.json: annotation {first['id']}: {message}"):
        train(run, tmp_path / "out", threads=1)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_half_written_row_is_cut_off(run, finished, tmp_path, interrupt):
    restore = interrupt(4 * 5)
    with pytest.raises(Interrupted):
        train(run, tmp_path / "cut", threads=1)
    with (tmp_path / "cut" / checkpoints.UNFINISHED_LOG).open("a") as file:
        file.write("6,0.00")
    restore()
    train(run, tmp_path / "cut", threads=1)
    assert results(finished) == results(tmp_path / "cut")


def test_a_checkpoint_of_other_settings_is_put_aside(run, tmp_path, interrupt, capsys):
    restore = interrupt(4 * 5)
    with pytest.raises(Interrupted):
        train(run, tmp_path / "cut", threads=1)
    restore()
    run["schedule"]["lr"] = 0.002
    train(run, tmp_path / "cut", threads=1)
    assert "is of other settings" in capsys.readouterr().err
    assert (tmp_path / "cut" / "checkpoint.stale.pt").exists()
    train(run, tmp_path / "fresh", threads=1)
    assert results(tmp_path / "cut") == results(tmp_path / "fresh")


def test_settings_without_influence_do_not_lose_the_checkpoint(run, tmp_path, interrupt, capsys):
    restore = interrupt(4 * 5)
    with pytest.raises(Interrupted):
        train(run, tmp_path / "cut", threads=1)
    restore()
    run["hardware"]["num_workers"] = 1
    run["schedule"]["checkpoint_every"] = 5
    run["image"]["test"] = {"resize": {"name": "square", "size": 32}}
    run["detector"]["test"]["nms"] = {"name": "soft_nms"}
    train(run, tmp_path / "cut", threads=1)
    assert "going on after iteration 3" in capsys.readouterr().err


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def point_before_the_beginning(path):
    """By the places that the two ends of the zip's directory name."""
    content = bytearray(path.read_bytes())
    for end, place, length in ((b"PK\6\6", 48, 8), (b"PK\5\6", 16, 4)):
        at = content.rindex(end) + place
        moved = int.from_bytes(content[at : at + length], "little") + 64
        content[at : at + length] = moved.to_bytes(length, "little")
    path.write_bytes(content)


DAMAGES = {
    "one bit": flip_a_bit,
    "a seek": point_before_the_beginning,
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "killed between the two renames": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    run, finished, tmp_path, interrupt, capsys, damage
):
    restore = interrupt(4 * 8)  # after the checkpoints of iterations 3 and 6
    with pytest.raises(Interrupted):
        train(run, tmp_path / "cut", threads=1)
    restore()
    DAMAGES[damage](tmp_path / "cut" / "checkpoint.pt")
    train(run, tmp_path / "cut", threads=1)
    messages = capsys.readouterr().err
    assert "the checkpoint before it is used" in messages
    assert "going on after iteration 3" in messages
    assert results(finished) == results(tmp_path / "cut")
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == OUTPUTS


def test_without_a_whole_checkpoint_the_training_begins_anew(run, finished, tmp_path, capsys):
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 half a file")
    train(run, tmp_path, threads=1)
    assert "checkpoint.pt is damaged" in (messages := capsys.readouterr().err)
    assert "the training begins anew" in messages
    assert results(finished) == results(tmp_path)


def test_a_checkpoint_cannot_run_code(run, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"iteration": Evil()}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match=r"checkpoint.pt: no checkpoint of a training"):
        train(run, tmp_path, threads=1)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[1], {"iteration": 3}])
def test_a_file_of_another_program_is_no_checkpoint(run, tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match=r"checkpoint.pt: no checkpoint of this version"):
        train(run, tmp_path, threads=1)


def test_a_loss_that_becomes_nan_stops_the_run(run, tmp_path):
    run["schedule"]["lr"] = 1e30
    with pytest.raises(NonFiniteLossError, match=r"iteration \d+: .*loss.* is (nan|inf)") as error:
        train(run, tmp_path, threads=1)
    assert "images " in str(error.value)


@pytest.mark.parametrize("detector", [None, STAGED], ids=["dense", "staged"])
def test_a_run_that_may_diverge_ends_with_its_log(run, tmp_path, capsys, detector):
    """The figure needs the values up to the one that is not finite; the model is that before it."""
    run["detector"] = detector or run["detector"]
    run["schedule"]["lr"] = 1e30
    run["may_diverge"] = True
    assert train(run, tmp_path, threads=1)
    log = pd.read_csv(tmp_path / "log.csv")
    assert log.iteration.tolist() == list(range(1, len(log) + 1))
    assert 1 < len(log) < 12
    assert np.isfinite(log[:-1]).all(axis=None)
    assert not np.isfinite(log.iloc[-1]).all()
    assert read_trained_run(tmp_path / "run.yaml").diverged == len(log)
    assert f"diverged: iteration {len(log)}: " in capsys.readouterr().err
    weights = load_file(tmp_path / "model.safetensors")
    assert all(weight.isfinite().all() for weight in weights.values())
    assert not list(tmp_path.glob("*checkpoint*"))
    before = results(tmp_path)
    assert train(run, tmp_path, threads=1)
    assert results(tmp_path) == before
    assert "diverged" not in capsys.readouterr().err  # it is finished: nothing was trained again


def test_a_run_that_may_diverge_and_does_not_is_like_any_other(run, finished, tmp_path):
    run["may_diverge"] = True
    train(run, tmp_path, threads=1)
    assert results(finished) == results(tmp_path)
    assert read_trained_run(tmp_path / "run.yaml").diverged is None


def copy_images(shapes, folder):
    images = folder / "images" / "train"
    images.mkdir(parents=True)
    for path in (shapes / "images" / "train").iterdir():
        (images / path.name).write_bytes(path.read_bytes())
    return images


def test_a_corrupt_image_leaves_a_checkpoint_and_nothing_is_lost(run, finished, shapes, tmp_path):
    """Found, repaired, and gone on with: the bytes of a training that never met it."""
    images = copy_images(shapes, tmp_path)
    broken = sorted(images.iterdir())[5]
    whole = broken.read_bytes()
    broken.write_bytes(whole[:400])
    run["dataset"]["train"]["images"] = str(images.parent)
    run["schedule"]["checkpoint_every"] = 1000
    with pytest.raises(InputError, match=broken.name):
        train(run, tmp_path / "out", threads=1)
    assert checkpoints.load_checkpoint(tmp_path / "out")["iteration"] < 12
    broken.write_bytes(whole)
    train(run, tmp_path / "out", threads=1)
    assert results(finished) == results(tmp_path / "out")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: needs root")
def test_a_full_disk_keeps_the_old_checkpoint(run, finished, start, tmp_path):
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        run["schedule"].update(checkpoint_every=1)
        filler = disk / "filler"
        process = start(run, disk / "out")
        wait_for(disk / "out" / "checkpoint.pt", process)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        filler.write_bytes(bytes(max(free - 20000, 0)))
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (1, 2), errors
        assert "No space left on device" in errors
        assert "intact" in errors
        assert "Traceback" not in errors
        assert checkpoints.load_checkpoint(disk / "out") is not None
        filler.unlink()
        assert train(run, disk / "out", threads=1)
        assert results(finished) == results(disk / "out")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_file_too_large_for_its_limit_keeps_the_old_checkpoint(tmp_path):
    """The same without root: a limit on file sizes instead of a full disk."""
    import resource

    small, large = (
        {**dict.fromkeys(checkpoints.KEYS), "weights": torch.zeros(size)} for size in (10, 10**5)
    )
    checkpoints.save_checkpoint(tmp_path, small)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, before[1]))
    try:
        with pytest.raises(checkpoints.OutputError, match="the checkpoint before it is intact"):
            checkpoints.save_checkpoint(tmp_path, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert checkpoints.load_checkpoint(tmp_path)["weights"].shape == (10,)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_images_without_objects_train(run, shapes, tmp_path):
    coco = json.loads((shapes / "annotations" / "train.json").read_text())
    coco["annotations"] = coco["annotations"][:1]
    (tmp_path / "few.json").write_text(json.dumps(coco))
    run["dataset"]["train"]["annotations"] = str(tmp_path / "few.json")
    train(run, tmp_path / "out", threads=1)
    rows = (tmp_path / "out" / "log.csv").read_text().splitlines()[1:]
    assert 0 in {float(row.split(",")[4]) for row in rows}


def test_a_batch_that_does_not_divide_is_refused(run, tmp_path, monkeypatch):
    run["dataset"]["train"]["annotations"] = str(tmp_path / "absent.json")
    with pytest.raises(InputError, match=r"absent.json: no such annotation file"):
        train(run, tmp_path, threads=1)


def test_the_same_signal_handler_is_in_place_afterwards(run, finished):
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("family", ["dense", "staged"])
def test_mixed_precision_trains_and_predicts(run, tmp_path, family):
    if family == "staged":
        run["detector"] = copy.deepcopy(STAGED)
    run["hardware"]["precision"] = "bf16-mixed"
    run["schedule"]["iterations"] = 3
    run["variants"]["all"] = {"test": {"score_threshold": 0.0}}
    train(run, tmp_path / "run", threads=1)
    predict(tmp_path / "run", tmp_path / "detections.json", variant="all", threads=1)
    weights = load_file(tmp_path / "run" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert len((tmp_path / "detections.json").read_text()) > 2


@pytest.mark.parametrize("family", ["dense", "staged"])
def test_channels_last_is_another_layout_of_the_same_training(run, tmp_path, family):
    if family == "staged":
        run["detector"] = copy.deepcopy(STAGED)
    run["schedule"]["iterations"] = 3
    train(run, tmp_path / "contiguous", threads=1)
    run["hardware"]["channels_last"] = True
    train(run, tmp_path / "channels_last", threads=1)
    plain, other = (
        pd.read_csv(tmp_path / name / "log.csv") for name in ("contiguous", "channels_last")
    )
    # Proposals of equal scores may be ranked otherwise: sums are rounded otherwise.
    np.testing.assert_allclose(other["loss"], plain["loss"], rtol=1e-3)
    weights = load_file(tmp_path / "channels_last/model.safetensors")
    assert all(value.is_contiguous() for value in weights.values())
    assert train(run, tmp_path / "contiguous", threads=1), "the layout is no other training"
    assert read_trained_run(tmp_path / "contiguous/run.yaml").hardware.channels_last is False
