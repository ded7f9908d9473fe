"""One fault in a valid file: a right result, or one line that names the file; never half a file.

``make fuzz`` draws ten times as many, and others every time; it counts those refused and accepted.
"""

import argparse
import contextlib
import copy
import io
import json
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image
from rebalance.cli import build_parser, main
from rebalance.cli.arguments import output_file, output_folder
from rebalance.config.experiments import load_experiments, resolve_run
from rebalance.config.parse import Place
from rebalance.config.reading import load_yaml
from rebalance.data.coco import load_coco
from rebalance.data.files import MADE_FROM
from rebalance.engine.checkpoint import (
    CHECKPOINT,
    DAMAGED,
    PREVIOUS,
    choose_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from rebalance.engine.train import train
from rebalance.errors import InputError

from .conftest import small_run
from .mutations import arguments, damaged, mutated, places

pytestmark = pytest.mark.timeout(3600)  # of 20,000 cases on a busy machine

CASES = int(os.environ.get("REBALANCE_FUZZ", "170"))
fuzz = settings(
    max_examples=CASES,
    deadline=None,
    derandomize="REBALANCE_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)

GROUND_TRUTH = {
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 50, "height": 40},
        {"id": 2, "file_name": "b.jpg", "width": 40, "height": 50},
    ],
    "categories": [{"id": 1, "name": "disc"}, {"id": 3, "name": "ring"}],
    "annotations": [
        {"id": k + 1, "image_id": k % 2 + 1, "category_id": (1, 3)[k % 2], "iscrowd": 0,
         "bbox": [2 + k, 3, 10, 12], "area": 120, "num_keypoints": 17,
         "segmentation": [[2 + k, 3, 12 + k, 3, 12 + k, 15, 2 + k, 15]],
         "keypoints": [3, 4, 2] * 17}
        for k in range(4)
    ],
}  # fmt: skip
RESULTS = [
    {"image_id": k % 2 + 1, "category_id": (1, 3)[k % 2], "score": 0.9 - k / 10,
     "bbox": [2 + k, 4, 10, 11], "keypoints": [3, 5, 1] * 17,
     "segmentation": {"size": [(40, 50)[k % 2], (50, 40)[k % 2]], "counts": [500, 100, 1400]}}
    for k in range(4)
]  # fmt: skip
PANOPTIC = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 50, "height": 40}],
    "categories": [{"id": 1, "name": "disc", "isthing": 1}, {"id": 3, "name": "sky", "isthing": 0}],
    "annotations": [
        {"image_id": 1, "file_name": "a.png",
         "segments_info": [
             {"id": k, "category_id": (1, 3)[k - 1], "area": 1000, "iscrowd": 0,
              "bbox": [0, 20 * (k - 1), 50, 20]} for k in (1, 2)]}
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the cases write their files, one after the other."""
    folder = tmp_path_factory.mktemp("faults")
    for side in ("gt", "dt"):
        (folder / side).mkdir()
        pixels = np.zeros((40, 50, 3), np.uint8)
        pixels[:20, :, 0], pixels[20:, :, 0] = 1, 2
        Image.fromarray(pixels).save(folder / side / "a.png")
    (folder / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / "images" / name).write_bytes(b"not looked at")
    return folder


@pytest.fixture(scope="module")
def trained(repository, folder):
    """Settings of a trained run whose data set is not there, so that nothing is trained."""
    experiments = load_experiments(repository, check_runs=False)
    nowhere = str(folder / "nowhere")
    run = resolve_run(experiments, "retinanet_r50_eiou", "shapes", data=nowhere).model_dump()
    return {**run, "classes": {"ids": [1], "names": ["disc"]}, "made_with": {}}


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def ended(*argv: object) -> tuple[int, str]:
    """Exit code and stderr of the command line."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main([str(argument) for argument in argv])
        except SystemExit as end:  # argparse
            code = end.code
    return code, errors.getvalue()


def run(*argv: object) -> tuple[int, str]:
    """As ``ended``, and counted."""
    code, errors = ended(*argv)
    event("refused" if code else "accepted")
    return code, errors


def check(code: int, errors: str, inputs: list[Path], outputs: list[Path]) -> None:
    """A result that can be read, or one line with the name of a file and no result."""
    written = [path for path in outputs if path.exists()]
    for path in written:
        if path.suffix == ".json":
            json.loads(path.read_text())
        path.unlink()
    if code == 0:
        assert written == outputs
        return
    assert code == 2, errors
    assert written == []
    assert errors.count("rebalance ") == 1, errors
    assert any(str(path) in errors for path in inputs), errors
    assert len(errors) < 2000


@fuzz
@given(data=st.data(), iou_type=st.sampled_from(["bbox", "segm", "keypoints"]))
def test_annotations_and_detections(folder, data, iou_type):
    which = data.draw(st.sampled_from(["gt", "dt"]))
    contents = {"gt": GROUND_TRUTH, "dt": RESULTS}
    contents[which] = data.draw(mutated(contents[which]))
    gt, dt = (write_json(folder / f"{name}.json", contents[name]) for name in ("gt", "dt"))
    out, matches = folder / "metrics.json", folder / "matches.npz"
    code, errors = run("evaluate", "--gt", gt, "--dt", dt, "--iou-type", iou_type, "--out", out,
                       "--matches", matches)  # fmt: skip
    check(code, errors, [gt, dt], [out, matches])


@fuzz
@given(data=st.data())
def test_damaged_bytes_of_annotations(folder, data):
    gt, dt, out = folder / "gt.json", write_json(folder / "dt.json", RESULTS), folder / "m.json"
    gt.write_bytes(data.draw(damaged(json.dumps(GROUND_TRUTH).encode())))
    check(*run("evaluate", "--gt", gt, "--dt", dt, "--out", out), [gt, dt], [out])


@fuzz
@given(data=st.data())
def test_panoptic_segmentations(folder, data):
    which = data.draw(st.sampled_from(["gt", "dt"]))
    contents = {"gt": PANOPTIC, "dt": PANOPTIC}
    contents[which] = data.draw(mutated(PANOPTIC))
    gt, dt = (write_json(folder / f"{name}.json", contents[name]) for name in ("gt", "dt"))
    out = folder / "panoptic_metrics.json"
    code, errors = run("evaluate-panoptic", "--gt", gt, "--dt", dt, "--out", out)
    check(code, errors, [gt, dt, folder / "gt", folder / "dt"], [out])


@fuzz
@given(data=st.data())
def test_data_sets_in_coco_layout(folder, data):
    train = write_json(folder / "train.json", data.draw(mutated(GROUND_TRUTH)))
    val = write_json(folder / "val.json", GROUND_TRUTH)
    out = folder / "set"
    code, errors = run("data", "coco-folder", "--train-annotations", train, "--train-images",
                       folder / "images", "--val-annotations", val, "--val-images",
                       folder / "images", "--out", out)  # fmt: skip
    made = [out / "annotations" / f"{split}.json" for split in ("train", "val")]
    if code == 0:
        for path in made:
            load_coco(path)
    check(code, errors, [train, val, folder / "images"], made)


@pytest.mark.parametrize(("name", "command", "result"), [
    ("run.yaml", ["predict", "--run-dir", "{folder}"], "detections.json"),
    ("mine.yaml", ["train", "--run-file", "{folder}/mine.yaml"], "training/model.safetensors"),
])  # fmt: skip
@fuzz
@given(data=st.data())
def test_settings_of_a_run(folder, trained, data, name, command, result):
    file, out = folder / name, folder / result.split("/")[0]
    file.write_text(yaml.safe_dump(data.draw(mutated(trained))))
    code, errors = run(*(part.format(folder=folder) for part in command), "--out", out)
    # The data set is not there: what passes the settings is refused by its name, also by one that
    # a mutation gave it. Of `x`, which stands in many words, more of the message is asked for.
    assert code == 2
    annotations = [Path(name) for name in ("annotations", "/etc/passwd", "a\0b", ": x: no such")]
    check(code, errors, [file, *annotations], [folder / result])


@pytest.fixture(scope="module")
def scale_project(repository, tmp_path_factory):
    """A project of one scale, with a run for every name that the scale explains; and the scale.

    Without aliases, and without what it says of targets, of which there are none.
    """
    root = tmp_path_factory.mktemp("project")
    for folder in ("scales", "papers"):
        (root / "config" / folder).mkdir(parents=True)
    for name in ("config.yaml", "datasets.yaml", "detectors.yaml"):
        (root / "config" / name).symlink_to(repository / "config" / name)
    sections = {"dataset": "datasets", "backbone": "backbones", "schedule": "schedules"}
    runs: dict[str, object] = {}
    used: set[tuple[str, str]] = set()
    for path in sorted((repository / "config" / "papers").glob("*.yaml")):
        for name, run in load_yaml(path)["runs"].items():
            names = {(key, run[key]) for key in ("base", *sections)}
            if not names <= used:
                runs[name] = run
                used |= names
    work = {"title": "Runs", "reference": "Here", "runs": runs, "targets": {}}
    write_json(root / "config" / "papers" / "runs.yaml", work)
    scale = load_yaml(repository / "config" / "scales" / "shapes.yaml")
    for key, section in sections.items():
        scale[section] = {n: what for n, what in scale[section].items() if (key, n) in used}
    return root, json.loads(json.dumps({**scale, "classes": {}, "seeds_of": {}}))


@settings(fuzz, max_examples=CASES // 4)
@given(data=st.data())
def test_scale_files(scale_project, data):
    """A key that there is not, or a value of another type: the scale's file and key are named."""
    root, scale = scale_project
    *outer, key = data.draw(st.sampled_from(list(places(scale))))
    changed = copy.deepcopy(scale)
    inner = changed
    for step in outer:
        inner = inner[step]
    mistyped = isinstance(key, str) and data.draw(st.booleans())
    if mistyped:
        inner[f"{key}_"] = inner.pop(key)
    else:
        inner[key] = [] if isinstance(inner[key], str) else "wrong"
    file = write_json(root / "config" / "scales" / "shapes.yaml", changed)
    with pytest.raises(InputError) as error:
        load_experiments(root)
    message = str(error.value)
    assert "\n" not in message
    if mistyped and outer in (["datasets"], ["backbones"], ["schedules"]):
        # Of two names that differ, nobody knows which is meant: both are said, with their places.
        assert f"must be in {file}: {outer[0]} (" in message
        assert f"got {key!r} (did you mean" in message
    else:
        at = str(Place(str(file), (*outer, f"{key}_" if mistyped else key)))
        assert message.startswith((at, f"{Place(str(file), tuple(outer))}: missing key {key!r}"))


@fuzz
@given(data=st.data())
def test_damaged_yaml(folder, trained, data):
    file = folder / "mine.yaml"
    file.write_bytes(data.draw(damaged(yaml.safe_dump(trained).encode())))
    code, errors = run("train", "--run-file", file, "--out", folder / "training")
    assert code == 2
    assert errors.count("rebalance ") == 1, errors


FILES = {f"folder/{k}.bin": bytes(np.random.default_rng(k).bytes(400)) for k in range(4)}


def archive_bytes(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in FILES.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=buffer, mode=f"w:{kind}") as archive:
            for name, content in FILES.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVES = {kind: archive_bytes(kind) for kind in ("zip", "gz", "bz2", "xz")}


@fuzz
@given(data=st.data(), kind=st.sampled_from(list(ARCHIVES)))
def test_damaged_archives(folder, tmp_path_factory, data, kind):
    file = folder / "archive"
    file.write_bytes(data.draw(damaged(ARCHIVES[kind])))
    out = tmp_path_factory.mktemp("unpacked") / "out"
    code, errors = run("data", "extract", "--archive", file, "--out", out)
    found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    if code == 0:
        del found[MADE_FROM]
        # Names, dates and rights have no checksum in a zip; contents have.
        assert sorted(found.values()) == sorted(FILES.values())
    else:
        assert code == 2
        assert found == {}
        assert str(file) in errors
        assert list(out.parent.iterdir()) == []


VOC = {
    "folder": "VOC2007", "filename": "a.jpg", "segmented": 0,
    "size": {"width": 50, "height": 40, "depth": 3},
    "object": [
        {"name": ("cat", "dog")[k], "pose": "Left", "truncated": 0, "difficult": k,
         "bndbox": {"xmin": 3 + k, "ymin": 4, "xmax": 20, "ymax": 30}} for k in range(2)],
}  # fmt: skip


def xml(tag: str, value: object) -> str:
    if isinstance(value, list):
        return "".join(xml(tag, entry) for entry in value)
    if isinstance(value, dict):
        return f"<{tag}>{''.join(xml(str(key), below) for key, below in value.items())}</{tag}>"
    return f"<{tag}>{escape(str(value))}</{tag}>"


@pytest.fixture(scope="module")
def devkit(folder):
    devkit = folder / "VOC2007"
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (devkit / name).mkdir(parents=True)
    for name in ("a", "b"):
        (devkit / "JPEGImages" / f"{name}.jpg").write_bytes(b"not looked at")
    (devkit / "Annotations" / "b.xml").write_text(xml("annotation", VOC))
    (devkit / "ImageSets" / "Main" / "val.txt").write_text("b\n")
    return devkit


@fuzz
@given(data=st.data(), kind=st.sampled_from(["values", "values", "bytes", "list"]))
def test_pascal_voc(devkit, data, kind):
    content = data.draw(mutated(VOC)) if kind == "values" else VOC
    annotation = xml("annotation", content).encode(errors="surrogatepass")
    listing = b"a\nb\n"
    if kind == "bytes":
        annotation = data.draw(damaged(annotation))
    elif kind == "list":
        listing = data.draw(damaged(listing))
    (devkit / "Annotations" / "a.xml").write_bytes(annotation)
    (devkit / "ImageSets" / "Main" / "train.txt").write_bytes(listing)
    out = devkit.parent / "converted"
    made = [out / "annotations" / f"{split}.json" for split in ("train", "val")]
    code, errors = run("data", "voc", "--train", f"{devkit}:train", "--val", f"{devkit}:val",
                       "--out", out)  # fmt: skip
    if code == 0:
        for path in made:
            load_coco(path)
    check(code, errors, [devkit], made)


MANIFEST = {
    "scale": "shapes",
    "works": [
        {"key": "w", "title": "Work", "authors": "A. Author", "own": False,
         "targets": [
             {"name": "w_table_1", "title": "Table", "kind": "own", "status": "made",
              "reason": None, "departures": 2, "html": "gt/a.png", "thumbnail": "gt/a.png",
              "csv": None, "verdict": {"status": "redrawn", "words": "redrawn", "note": ""}},
             {"name": "w_table_2", "title": "Table", "kind": "own", "status": "waiting"}]}
    ],
}  # fmt: skip


@fuzz
@given(data=st.data())
def test_manifests_of_an_index(folder, data):
    content = data.draw(mutated(MANIFEST))
    out = folder / "index.html"
    with contextlib.chdir(folder):
        file = write_json(folder / "manifest.json", content)
        code, errors = run("index", "--manifest", file, "--out", out)
    check(code, errors, [file], [out])


STATE = {
    "settings": "{}", "made_from": {}, "threads": 1, "iteration": 7, "log_bytes": 100,
    "model": {"weight": torch.arange(40.0), "bias": torch.ones(3)},
}  # fmt: skip


@fuzz
@given(data=st.data())
def test_damaged_checkpoints(tmp_path_factory, data):
    """What is loaded is what was saved, of the last or of the one before."""
    folder = tmp_path_factory.mktemp("run")
    for iteration in (6, 7):
        save_checkpoint(folder, {**STATE, "iteration": iteration})
    file = folder / CHECKPOINT
    file.write_bytes(data.draw(damaged(file.read_bytes())))
    messages = choose_checkpoint(folder)
    found = load_checkpoint(folder)
    assert found["iteration"] == (6 if messages else 7)
    event("put aside" if messages else "accepted")
    assert found["model"].keys() == STATE["model"].keys()
    assert all(found["model"][name].equal(value) for name, value in STATE["model"].items())
    kept = {CHECKPOINT, DAMAGED} if messages else {CHECKPOINT, PREVIOUS}
    assert {path.name for path in folder.iterdir()} == kept


COMMANDS = [
    ["evaluate", "--gt", "gt.json", "--dt", "dt.json", "--iou-type", "bbox", "--tau", "0.5",
     "--ious", "0.5", "0.75", "--max-dets", "100", "--out", "new/m.json", "--per-class",
     "new/c.csv", "--matches", "new/m.npz"],
    ["evaluate-panoptic", "--gt", "p.json", "--dt", "p.json", "--gt-folder", "gt", "--dt-folder",
     "dt", "--tau", "0.5", "--out", "new/p.json"],
    ["compare", "--gt", "gt.json", "--dt", "dt.json", "dt.json", "--names", "a", "b",
     "--resamples", "20", "--seed", "1", "--out", "new/compare.json"],
    ["data", "coco-folder", "--train-annotations", "gt.json", "--train-images", "images",
     "--val-annotations", "gt.json", "--val-images", "images", "--first", "1", "--out", "new/set"],
    ["data", "voc", "--train", "VOC2007:val", "--val", "VOC2007:val", "--out", "new/voc"],
    ["data", "extract", "--archive", "files.zip", "--out", "new/files"],
    ["index", "--manifest", "manifest.json", "--out", "new/index.html"],
    ["train", "--run-file", "mine.yaml", "--wait", "0", "--out", "new/training"],
    ["predict", "--run-dir", "run", "--variant", "default", "--settings", "{}", "--split", "val",
     "--out", "new/d.json"],
    ["data", "download", "--url", "http://127.0.0.1:9/a", "--size", "3", "--md5", "0", "--out",
     "new/a"],
]  # fmt: skip


@pytest.fixture(scope="module")
def shelf(folder, devkit, trained):
    """A folder with everything that COMMANDS name, and some things that no command takes."""
    contents = {"gt": GROUND_TRUTH, "dt": RESULTS, "p": PANOPTIC, "manifest": MANIFEST}
    for name, content in contents.items():
        write_json(folder / f"{name}.json", content)
    (folder / "mine.yaml").write_text(yaml.safe_dump(trained))
    (folder / "files.zip").write_bytes(ARCHIVES["zip"])
    (folder / "empty").touch()
    (folder / "latin").write_bytes(b"\xe9: \xff")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    return folder


@pytest.fixture
def disk(tmp_path):
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def outputs_of(parser: argparse.ArgumentParser, *words: str) -> Iterator[tuple[str, ...]]:
    """Every sub-command with every option that names what it writes."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, sub_command in action.choices.items():
                yield from outputs_of(sub_command, *words, word)
        elif action.type in (output_file, output_folder):
            yield (*words, action.option_strings[0])


def test_read_only_disks_are_found_out_before_the_work(disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    outputs = list(outputs_of(build_parser()))
    assert {words[0] for words in outputs} >= {
        "train", "predict", "evaluate", "evaluate-epochs", "positives", "speed", "compare",
        "render", "notebook", "index", "data", "weights", "threshold", "link",
    }  # fmt: skip
    for words in outputs:
        code, errors = ended(*words, disk / "new" / "out")
        assert code == 2
        assert errors.count("\n") == 1
        assert f"{disk}/new/out" in errors
        assert "cannot be written" in errors


WRITERS = [
    *(command for command in COMMANDS if "run" not in command and command[0] != "train"),
    ["data", "shapes", "--num-train", "2", "--num-val", "1", "--out", "new/shapes"],
    ["data", "shapes-voc", "--num-train", "2", "--num-val", "1", "--out", "new/kit"],
    ["data", "shapes-videos", "--num-videos", "2", "--num-frames", "2", "--out", "new/videos"],
    ["data", "drawn-truth", "--task", "panoptic", "--annotations", "gt.json", "--out",
     "new/truth.json"],
    ["evaluate", "--gt", "gt.json", "--dt", "dt.json", "--html", "new/report.html"],
    ["compare", "--gt", "gt.json", "--dt", "dt.json", "dt.json", "--resamples", "20", "--out",
     "new/compare.json", "--html", "new/compare.html"],
    ["threshold", "--metrics", "m.json", "--dt", "dt.json", "--out", "new/kept.json"],
    ["link", "--gt", "frames.json", "--dt", "dt.json", "--out", "new/linked.json"],
    *(
        [name, "--run-dir", "finished", "--threads", "1", "--out", f"new/{name}.json"]
        for name in ("predict", "positives", "speed", "evaluate-epochs")
    ),
    ["weights", "export", "--to", "mmdetection", "--run-file", "finished/run.yaml", "--weights",
     "finished/model.safetensors", "--out", "new/exported.pth"],
    ["weights", "import", "--from", "mmdetection", "--run-file", "finished/run.yaml", "--weights",
     "exported.pth", "--out", "new/imported.safetensors", "--settings", "new/settings.yaml"],
    ["export", "--run", "finished", "--out", "new/exported"],
    ["render", "thesis_figure_1_2", "--scale", "shapes", "--executed", "new/page.ipynb", "--html",
     "new/page.html"],
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(shelf, repository):
    """A run that has trained, with the weights of its epoch; and what more the writers read."""
    run = small_run(repository, shelf / "data", num_train=2, num_val=12)
    run["schedule"].update(iterations=1, batch_size=2)
    # Layers that mmdetection has a name for.
    run["backbone"] = {"name": "resnet", "depth": 50, "width": 8, "norm": "frozen_batch"}
    run["detector"]["heads"]["dense"]["norm"] = "none"
    assert train(run, shelf / "finished", threads=1, epochs=1)
    with contextlib.chdir(shelf):
        assert ended("evaluate", "--gt", "gt.json", "--dt", "dt.json", "--out", "m.json")[0] == 0
        (export,) = (words for words in WRITERS if words[:2] == ["weights", "export"])
        assert ended(*export[:-1], "exported.pth") == (0, "")
    frames = [{**image, "video_id": 1, "frame": k}
              for k, image in enumerate(GROUND_TRUTH["images"])]  # fmt: skip
    write_json(shelf / "frames.json", {**GROUND_TRUTH, "images": frames})
    return shelf


@pytest.mark.parametrize("command", WRITERS, ids=lambda words: " ".join(words[:2]))
def test_a_full_disk_is_said_in_one_line(request, finished, disk, server, command):
    url = server.add("a", bytes(100))
    argv = [word.replace("new/", f"{disk}/").replace("http://127.0.0.1:9/a", url)
            for word in command if word not in ("--size", "3", "--md5", "0")]  # fmt: skip
    (disk / "m.json").write_text("old")
    with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    place = request.getfixturevalue("checkout") if command[0] == "render" else finished
    with contextlib.chdir(place):
        code, errors = ended(*argv)
    assert code == 2
    *progress, line = errors.splitlines()
    assert line.startswith("rebalance")
    assert not any(said.startswith(("rebalance", "Traceback")) for said in progress), errors
    assert "No space left on device" in line or "bytes are needed" in line
    assert str(disk) in line
    files = [path for path in disk.rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == ["filler", "m.json"]
    assert (disk / "m.json").read_text() == "old"


@fuzz
@given(data=st.data(), command=st.sampled_from(COMMANDS))
def test_command_lines(shelf, monkeypatch, data, command):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts to download
    argv = data.draw(arguments(command))
    with contextlib.chdir(shelf):
        before = {path: path.stat().st_mtime_ns for path in shelf.rglob("*") if path.is_file()}
        code, errors = run(*argv)
        after = {path for path in shelf.rglob("*") if path.is_file()}
    if code != 0:
        assert code == 2, errors
        *progress, line = errors.splitlines()
        assert all(said.endswith(": matching") for said in progress)
        assert line.startswith("rebalance")
        assert len(line) < 2000
        assert after == before.keys()
    for path in after - before.keys():
        assert path.name == MADE_FROM or not path.name.startswith(".")
        if path.suffix == ".json":
            json.loads(path.read_text())
        path.unlink()
