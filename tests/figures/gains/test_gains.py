"""GGIoU's Figure 3 follows from its Table 8."""

from pathlib import Path

import pytest
import yaml
from rebalance.figures.checks import verdict
from rebalance.figures.gains.compute import gain_checks, gains_by_threshold

PAPERS = Path(__file__).resolve().parents[3] / "config" / "papers"


def test_gains_of_ggiou_follow_from_its_table_8():
    targets = yaml.safe_load((PAPERS / "ggiou.yaml").read_text())["targets"]
    target = targets["figure_3"]
    gains = gains_by_threshold(target["parameters"]["table_rows"])
    assert target["parameters"]["table_rows"] == targets["table_8"]["rows"]
    assert verdict(gain_checks(target["numbers"], gains)) == "reproduced"
    spoilt = target["numbers"] | {"gain_at_0_95": 11.2}
    assert verdict(gain_checks(spoilt, gains)) == "differs"
    printed = [0.65, 0.675, 0.85, 1.05, 1.425, 1.85, 2.575, 3.775, 6.75, 11.175]
    assert gains["gain"].tolist() == pytest.approx(printed, abs=1e-9)
    assert gains["threshold"].tolist() == pytest.approx([0.5 + 0.05 * k for k in range(10)])
