"""Header and footer of a page, and its table as LaTeX."""

from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from rebalance.config.experiments import load_experiments
from rebalance.report.latex import save_latex
from rebalance.report.place import commit_date, footer_html, header_html, place_of


@pytest.fixture(scope="module")
def experiments(repository):
    return load_experiments(repository, check_runs=False)


def place(experiments, name):
    target, results = experiments.target(name), experiments.results("shapes")
    return place_of(experiments, target, results, Path(target.outputs(results)["html"]))


def test_a_page_of_runs_names_its_work_command_runs_and_downloads(
    experiments, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = Path("results/shapes/runs/retinanet_r50_giou/seed0/run.yaml")
    run.parent.mkdir(parents=True)
    run.write_text(f"made_with: {{commit: {'0' * 40}-dirty}}\n")
    found = place(experiments, "focal_eiou_table_2")
    text = header_html(found) + footer_html(found)
    for expected in (
        '<a href="../../index.html">Index</a>',
        '<a href="../../index.html?work=focal_eiou">Focal and Efficient IOU Loss',
        "<code>snakemake --config scale=shapes -- focal_eiou_table_2</code>",
        "8 trainings",
        '<a href="../../runs/retinanet_r50_giou/seed0/run.yaml">run.yaml</a>',
        "<code>000000000000-dirty</code></td><td>–</td>",
        '<a href="table.tex" download="focal_eiou_table_2.tex">LaTeX</a>',
        '<script src="../../pages.js">',
    ):
        assert expected in text, expected
    assert "@misc{zhang2021focal," in unquote(text)


def test_an_analytic_page_names_its_work_and_chapter_and_no_scale(experiments):
    found = place(experiments, "thesis_figure_5_5")
    assert found.work.startswith("Identifying and Addressing")
    assert (found.section, found.scale, found.runs) == ("Chapter 5", None, [])
    assert place(experiments, "thesis_figure_M_1").section == "Appendix M"
    assert [words for words, _ in found.downloads] == [
        "SVG", "PDF", "PNG", "CSV", "notebook", "checks"
    ]  # fmt: skip


def test_every_published_work_can_be_cited_and_own_works_are_not(experiments):
    for key, work in experiments.works.items():
        assert work.bibtex.startswith("@") != work.own, key
        assert work.bibtex.count("{") == work.bibtex.count("}"), key


def test_a_commit_that_is_not_here_has_no_date():
    assert commit_date("0" * 40) == "–"


def test_a_frame_as_latex(tmp_path):
    frame = pd.DataFrame({"loss_name": ["a & b_1", None], "AP (%)": [0.5, float("nan")]})
    save_latex(frame, tmp_path / "t.tex", "50% of it")
    lines = (tmp_path / "t.tex").read_text().splitlines()
    assert lines[2:8] == [
        r"\caption{50\% of it}", r"\begin{tabular}{lr}", r"\toprule", r"loss name & AP (\%) \\",
        r"\midrule", r"a \& b\_1 & 0.5 \\",
    ]  # fmt: skip
    assert lines[8:] == [r"-- & -- \\", r"\bottomrule", r"\end{tabular}", r"\end{table}"]
