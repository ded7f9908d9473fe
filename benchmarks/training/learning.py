"""Does a training learn in each precision, and over two devices?

``python benchmarks/training/learning.py`` trains a run of the scale ``shapes`` with ``rebalance
train``, once for each precision and again over two devices where there are two, and prints the loss
at the beginning and the end. Exits with 1 unless each falls below ``--share`` of what it was.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch
import yaml
from iterations import experiments
from rebalance.config.experiments import resolve_run
from rebalance.data.shapes import make_shapes

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")


def losses(run: dict, folder: Path) -> tuple[float, float]:
    """Mean loss of the first and of the last tenth of a training, at least of one iteration."""
    folder.mkdir()
    (folder / "run_file.yaml").write_text(yaml.safe_dump(run))
    command = [sys.executable, "-m", "rebalance", "train", "--threads", "1",
               "--run-file", folder / "run_file.yaml", "--out", folder / "run"]  # fmt: skip
    subprocess.run(command, check=True)
    loss = pd.read_csv(folder / "run/log.csv")["loss"]
    tenth = max(1, len(loss) // 10)
    return loss[:tenth].mean(), loss[-tenth:].mean()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="retinanet_r50_focal_eiou")
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--share", type=float, default=0.6, help="of the loss that may be left")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    arguments = parser.parse_args()
    learnt = []
    print("precision    devices  loss: begin      end")
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "data"
        run = resolve_run(experiments(), arguments.run, "shapes", data=str(data)).model_dump()
        make_shapes(data / "shapes", num_train=arguments.images, num_val=1, image_size=96, seed=0)
        run["schedule"]["iterations"] = arguments.iterations
        devices = [1, 2] if torch.cuda.device_count() > 1 else [1]
        for precision in arguments.precisions:
            for count in devices:
                run["hardware"].update(precision=precision, devices=count)
                begin, end = losses(run, Path(name) / f"{precision}_{count}")
                print(f"{precision:12} {count:7} {begin:12.3f} {end:8.3f}", flush=True)
                learnt.append(end < arguments.share * begin)
    return 0 if all(learnt) else 1


if __name__ == "__main__":
    sys.exit(main())
