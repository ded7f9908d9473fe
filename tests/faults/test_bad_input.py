"""One fault in a valid file: a right result, or one line that names the file; never half a file.

``make fuzz`` draws ten times as many, and others every time.
"""

import contextlib
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from rebalance.cli import main
from rebalance.config.experiments import load_experiments, resolve_run

from .mutations import damaged, mutated

CASES = int(os.environ.get("REBALANCE_FUZZ", "250"))
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


def run(*argv: object) -> tuple[int, str]:
    """Exit code and stderr of the command line."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = main([str(argument) for argument in argv])
    return code, errors.getvalue()


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
    made = out / "annotations" / "val.json"
    if code:
        (out / "annotations" / "train.json").unlink(missing_ok=True)
    check(code, errors.replace(" left out ", ""), [train, val, folder / "images"], [made])


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
    # The data set is not there: what passes the settings is refused by its name.
    assert code == 2
    check(code, errors, [file, Path("annotations")], [folder / result])


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
        # Names, dates and rights have no checksum in a zip; contents have.
        assert sorted(found.values()) == sorted(FILES.values())
    else:
        assert code == 2
        assert found == {}
        assert str(file) in errors
        assert list(out.parent.iterdir()) == []
