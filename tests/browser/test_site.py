"""The documentation site, built in strict mode and opened from files as a visitor would."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from rebalance.config.part import PARTS

from .conftest import serious_findings

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(900)]
LOOKED_AT = (
    ("playground", 390, False),
    ("playground", 1440, True),
    ("index", 390, False),
    ("concepts", 390, True),
    ("start", 1440, False),
    ("results", 390, False),
    ("losses", 390, False),
    ("reference/box_losses", 390, False),
    ("reference/ranking_losses", 390, True),
    ("reference/metrics", 390, False),
    ("reference/detectors", 390, False),
    ("api/generators", 390, True),
    ("faq", 390, False),
    ("own_paper", 1440, True),
)


@pytest.fixture(scope="module")
def site(repository, tmp_path_factory):
    """The folder of the site: a broken link, anchor or reference ends the build."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=repository,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(repository / "lib")},
        check=True,
    )
    return folder


class Links(HTMLParser):
    """Addresses that a page links to and loads, and the ids that it has."""

    def __init__(self, page):
        super().__init__()
        self.linked, self.loaded, self.ids = [], [], set()
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.linked.append(found["href"])
        if tag in ("script", "img", "iframe", "source") and found.get("src"):
            self.loaded.append(found["src"])
        if tag == "link" and "stylesheet" in (found.get("rel") or ""):
            self.loaded.append(found["href"])


def test_links_lead_to_files_and_anchors_and_nothing_is_fetched(site):
    pages = {path: Links(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 20
    for path, page in pages.items():
        assert not [one for one in page.loaded if "//" in one], path
        for address in (*page.linked, *page.loaded):
            if re.match(r"https?:|mailto:|data:|javascript:", address):
                continue
            file, _, anchor = address.partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            assert target.is_file(), f"{path.name}: {address}"
            if anchor and target in pages:
                assert anchor in pages[target].ids or anchor == "__skip", f"{path.name}: {address}"


def test_every_part_has_its_section_and_its_picture(site):
    """What is in the sections of the source: tests/docs/test_parts.py."""
    text = "".join(path.read_text() for path in (site / "reference").glob("*.html"))
    kinds = ("assigners", "samplers", "losses")
    for part in (part for part in PARTS if part.__module__.split(".")[-1] in kinds):
        assert f"<code>{part.called}</code>" in text, part.called
    pictures = {path.name for path in (site / "pictures").glob("*.svg")}
    shown = re.findall(r"pictures/(\w+\.svg)", text)
    assert sorted(pictures) == sorted(shown)  # each once


@pytest.mark.parametrize(("name", "width", "dark"), LOOKED_AT)
def test_no_sideways_scroll_and_no_serious_finding_of_axe(look, name, width, dark):
    page = look(f"{name}.html", width, dark)
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_findings(page) == []


def test_the_search_works_from_files(look):
    page = look("reference/metrics.html")
    page.click(".md-search__input")
    page.keyboard.type("focal_eiou")
    page.wait_for_selector(".md-search-result__item >> text=focal_eiou")


def number(text):
    return float(text.replace("−", "-").split()[-1])


def values(page, selector, column=1):
    """Name of each row -> the number in one of its columns."""
    rows = page.locator(f"{selector} tbody tr")
    return {
        row.locator("th").text_content(): number(row.locator("td").nth(column - 1).text_content())
        for row in rows.all()
    }


def test_boxes_move_by_keyboard_and_by_dragging(look):
    page = look("playground.html", 390)
    pred = page.locator("#boxes .pred")
    target = [84, 72, 214, 168]
    pred.focus()
    assert values(page, "#boxes")["eiou"] > 0.1
    # From (92, 66, 206, 160) onto the target: the centre by arrows, then the size.
    keys = {
        "Control+ArrowLeft": 8,
        "Control+ArrowDown": 6,
        "Shift+ArrowRight": 3,
        "Control+Shift+ArrowRight": 1,
        "Control+Shift+ArrowDown": 2,
    }
    for key, times in keys.items():
        for _ in range(times):
            page.keyboard.press(key)
    label = pred.get_attribute("aria-label")
    assert f"x {target[0]} to {target[2]}, y {target[1]} to {target[3]} px" in label
    found = values(page, "#boxes")
    assert found.pop("IoU ↑") == found.pop("GGIoU ↑") == 1
    assert set(found.values()) == {0}
    box = pred.locator("rect").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert values(page, "#boxes")["iou"] > 0.2


def test_boxes_that_do_not_touch_have_a_gradient_of_giou_and_none_of_iou(look):
    page = look("playground.html")
    page.click("text=Apart")
    slopes = values(page, "#boxes", column=4)
    assert slopes["iou"] == slopes["focal_eiou"] == 0
    assert slopes["giou"] < 0
    page.select_option("#pulling", "iou")
    assert page.locator("#boxes .arrows path").count() == 0
    page.select_option("#pulling", "giou")
    assert page.locator("#boxes .arrows path").count() > 0


def test_scores_move_the_ranking_losses(look):
    page = look("playground.html", 390)
    page.click("text=Positives on top")
    ranked = values(page, "#measures")
    assert ranked["AP (higher is better)"] == 1
    assert ranked["AP loss (lower is better)"] == 0
    assert ranked["Rank & Sort loss (lower is better)"] > 0  # not in the order of their IoUs
    page.click("text=... and sorted by IoU")
    assert values(page, "#measures")["Rank & Sort loss (lower is better)"] == 0
    page.click("text=Negatives on top")
    before = values(page, "#measures")
    assert before["AP (higher is better)"] < 0.5
    slider = page.locator("#ranking input").first
    slider.focus()
    page.keyboard.press("End")
    after = values(page, "#measures")
    assert after["AP (higher is better)"] > before["AP (higher is better)"]
    for loss in ("AP loss", "aLRP loss", "Rank & Sort loss"):
        assert after[f"{loss} (lower is better)"] < before[f"{loss} (lower is better)"]
    # What pushes one candidate up pushes others down by as much.
    for column in (3, 4, 5):
        texts = page.locator(f"#ranking .scrolls td:nth-child({column})").all_text_contents()
        assert abs(sum(map(number, texts))) < 5e-3
