"""The rendered pages in a real browser: wide and narrow, light and dark, used as a reader would."""

import pytest

from .conftest import PAGES, serious_findings

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser"), pytest.mark.timeout(900)]
FOLDERS = {
    name: name.replace("focal_eiou_", "focal_eiou/").replace("thesis_", "thesis/") for name in PAGES
}
FILES = {
    "scoreboard": "index.html",
    "cards": "index.html?view=pages",
    "claims": "index.html?work=focal_eiou&q=balanced+over",
    **{name: f"{folder}/notebook.html" for name, folder in FOLDERS.items()},
    "compare": "compare.html",
    "evaluation": "report.html",
}
TABLE = FILES["focal_eiou_table_1"]


def unfold(page):
    """Open what is folded, so that it is looked at, too."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, False), (390, True)])
def test_no_sideways_scroll_and_no_serious_finding_of_axe(look, name, width, dark):
    page = look(FILES[name], width, dark)
    if name != "scoreboard":  # its 3,000 claims are those of "claims", in the same markup
        unfold(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert serious_findings(page) == []


@pytest.mark.parametrize("name", FILES)
def test_links_lead_to_files(look, site, name):
    page = look(FILES[name])
    links = page.evaluate("[...document.querySelectorAll('a[href]')].map((a) => a.href)")
    local = [link for link in links if link.startswith("file:")]
    for link in local:
        target = link.removeprefix("file://").partition("#")[0].partition("?")[0]
        assert site.joinpath(target).exists(), link
    assert all(link.startswith(("file:", "data:text/x-bibtex")) for link in links)


def test_filters_search_and_view_change_what_is_shown_and_the_address(look):
    page = look(FILES["scoreboard"])
    shown = "document.querySelectorAll('.score:not([hidden])').length"
    everything = page.evaluate(shown)
    page.select_option("select[name=work]", "focal_eiou")
    of_work = page.evaluate(shown)
    assert 0 < of_work < everything
    assert page.url.endswith("?work=focal_eiou")
    page.select_option("select[name=verdict]", "claim-not_compared")
    assert page.evaluate(shown) < of_work
    verdicts = (
        "[...document.querySelectorAll('.score:not([hidden]) tr[data-claim]:not([hidden])')]"
        ".map((row) => row.dataset.claim)"
    )
    assert set(page.evaluate(verdicts)) == {"not_compared"}
    page.fill("input[type=search]", "no such words")
    assert page.evaluate(shown) == 0
    assert page.is_visible(".nothing")
    page.click(".clear")
    assert page.evaluate(shown) == everything
    page.select_option("select[name=detector]", "RetinaNet")
    address = page.url
    page.click("[data-view=pages]")
    assert page.is_visible("#focal_eiou_table_1")
    assert not page.is_visible("#thesis_table_5_4")
    page.goto(address)
    assert page.input_value("select[name=detector]") == "RetinaNet"
    assert page.is_visible("#scoreboard")


def test_a_search_finds_claims_and_authors(look):
    page = look(FILES["claims"])
    rows = page.locator(".score:not([hidden]) tr[data-claim]:not([hidden])")
    assert rows.count() > 0
    assert all(" over " in text for text in rows.locator("th").all_text_contents())
    page.fill("input[type=search]", "oksuz")
    assert page.locator(".score:not([hidden])").count() == 0  # of another work
    page.select_option("select[name=work]", "")
    assert page.locator(".score:not([hidden])").count() > 10


def test_the_scoreboard_is_short_on_a_phone(look):
    page = look(FILES["scoreboard"], 390)
    assert page.evaluate("document.documentElement.scrollHeight") < 3 * 900


def test_a_jump_leads_to_the_work(look):
    page = look(FILES["scoreboard"], 390)
    page.select_option(".jump", "thesis")
    page.wait_for_function("document.getElementById('score-thesis').open")
    assert (
        page.evaluate("document.getElementById('score-thesis').getBoundingClientRect().top") < 900
    )


def test_neighbours_are_those_that_are_there_and_claims_open_their_page(look):
    page = look(TABLE)
    links = page.locator("header .neighbours a").all_text_contents()
    assert links == ["Table 1, training curves", "Figure 2 →"]
    page.click("text=Figure 2 →")
    assert page.title().startswith("Figure 2")
    page.click("header.place a >> text=Index")
    page.locator("summary", has_text="Figure 2").click()
    page.click("text=Open its page >> visible=true")
    assert page.title().startswith("Figure 2")


def test_a_tap_enlarges_a_figure_which_then_scrolls_alone(look):
    page = look(FILES["focal_eiou_figure_2"], 390)
    width = "document.querySelector('figure img').getBoundingClientRect().width"
    before = page.evaluate(width)
    page.click("figure .enlarge")
    assert page.evaluate(width) > 2 * before
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert "(a) FocalL1" in page.get_attribute("figure img", "alt")


def test_code_unfolds_and_the_command_can_be_copied(look):
    page = look(TABLE)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.check("#show-code")
    assert page.is_visible("details.code pre >> nth=0")
    page.click(".copy")
    page.wait_for_selector("text=Copied")
    command = "snakemake --config scale=shapes -- focal_eiou_table_1"
    assert page.evaluate("navigator.clipboard.readText()") == command


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", ["focal_eiou_figure_2", "thesis_table_b_3"])
def test_claims_are_read_without_scrolling_sideways(look, name, width):
    page = look(FILES[name], width)
    hidden = (
        "[...document.querySelectorAll('.claims :is(th, td)')]"
        ".filter((cell) => cell.scrollWidth > cell.clientWidth + 1"
        " || cell.getBoundingClientRect().right"
        " > cell.closest('.table-scroll').getBoundingClientRect().right + 1)"
        ".map((cell) => cell.textContent)"
    )
    assert page.evaluate(hidden) == []


def test_a_page_has_the_look_that_lies_beside_the_index(look):
    page = look(TABLE)
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(246, 247, 249)"
    assert page.evaluate("document.head.querySelectorAll('style').length") == 0


def test_claims_are_stacked_on_a_phone_the_verdict_first(look):
    page = look(FILES["thesis_table_b_3"], 390)
    row = page.locator(".claims tbody tr >> nth=0")
    verdict = row.locator(".verdict").bounding_box()
    assert verdict["y"] < row.locator("th").bounding_box()["y"]
