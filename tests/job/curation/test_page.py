"""The report's page in a browser: what is drawn, by mouse and by keyboard, on wide and narrow windows, and for whom."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from job.curation.page import page_file
from job.curation.rendering import render
from tests.conftest import watch
from tests.job.curation.page_data import HOSTILE, page_data

ROOT = Path(__file__).resolve().parents[3]

Show = Callable[..., Page]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Show]:
    """Return a function that opens a page with its map drawn; errors, dialogs and requests fail the test at its end."""
    troubles: list[str] = []
    pages = []

    def open_page(data: dict[str, Any], width: int = 1400, *, drawn: bool = True, **options: Any) -> Page:
        file = tmp_path / "report.html"
        file.write_text(render(data))
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        pages.append(page)
        watch(page, troubles, expected=lambda message: message.type == "log")
        page.on("request", lambda request: troubles.append(request.url) if foreign(request.url, file) else None)
        page.goto(file.as_uri())
        if drawn:
            page.wait_for_function("document.documentElement.dataset.drawn")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not troubles


def foreign(url: str, file: Path) -> bool:
    return not url.startswith(("data:image/jpeg;", file.as_uri()))


def dots(page: Page) -> Locator:
    """Return the map's points, in the order of the data."""
    return page.locator("#plot .scatterlayer .point")


def positions(page: Page) -> np.ndarray:
    """Return where the points are on the screen, a row of x and y each."""
    script = "all => all.map(e => e.getBoundingClientRect()).map(r => [r.x + r.width / 2, r.y + r.height / 2])"
    return np.array(dots(page).evaluate_all(script))


def lonely(page: Page) -> list[int]:
    """Return two points that no other one is close to, which a mouse with whole pixels cannot take for it."""
    at = positions(page)
    apart = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1)) + np.where(np.eye(len(at)), np.inf, 0)
    return [int(point) for point in np.argsort(-apart.min(axis=0))[:2]]


def center(page: Page) -> None:
    """Scroll to the map, so that its points are where the mouse can reach."""
    page.locator("#plot").evaluate("element => element.scrollIntoView({block: 'center'})")


def gap(positions_in_order: np.ndarray) -> float:
    """Return the middle of the largest gap."""
    widest = int(np.diff(positions_in_order).argmax())
    return float(positions_in_order[widest : widest + 2].mean())


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def paths(data: dict[str, Any]) -> list[str]:
    return list(data["points"]["path"])


NOTHING: dict[str, Any] = {
    "component_ends": [],
    "confusions": [],
    "label_issues": [],
    "near_duplicates": [],
    "outliers": [],
}

long_names = ["Strawberry" * 12, "a long name of many words " * 8, *HOSTILE]


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(page_data(), id="ordinary"),
        pytest.param(page_data(60, 12, names=long_names), id="long-names"),
        pytest.param(page_data(900, 300, sample_of=200_000), id="many-labels"),
        pytest.param(page_data(3, 2), id="three-points"),
        pytest.param(page_data(50, 1), id="one-label"),
        pytest.param(page_data(50, 0), id="no-label"),
        pytest.param(page_data(50, 3, components=1), id="one-component"),
        pytest.param(page_data(50, 3, components=2), id="two-components"),
    ],
)
def test_every_page_is_drawn_and_fits(show: Show, data: dict[str, Any], width: int) -> None:
    page = show(data, width)
    assert dots(page).count() == len(paths(data))
    expect(page.locator("#scree .main-svg").first).to_be_visible()
    assert overflow(page) <= 0
    for fold in page.locator("details").all():
        fold.evaluate("element => { element.open = true; }")
    assert overflow(page) <= 0
    for svg in page.locator(".plot > div > div > .main-svg:first-child").all():
        box = svg.bounding_box()
        assert box
        assert 350 < box["width"] <= width


def test_no_usable_image(show: Show) -> None:
    data = page_data(3, 1) | {"labels": [], "sizes": [], "highlights": NOTHING, "separation": None}
    data["pca"] |= {"ratio": [], "k": 0}
    data["sample"] = {"usable": 0, "compared": 0, "shown": 0, "missing": 0}
    data["points"] |= {"path": [], "label": [], "names": [], "components": 0, "coordinates": "", "scale": []}
    data["tiles"]["sheets"] = []
    page = show(data, drawn=False)
    expect(page.locator("#map")).to_contain_text("no usable images")
    expect(page.locator("#run")).to_contain_text("Where the time went")


def test_empty_sections_say_so(show: Show) -> None:
    page = show(page_data(20, 3) | {"highlights": NOTHING, "rejections": []})
    for section, words in {
        "label-errors": "No label looks wrong.",
        "near-duplicates": "No two images are near-duplicates.",
        "outliers": "No image stands out.",
        "separation": "No labels are confused.",
        "overview": "Every image could be read",
    }.items():
        expect(page.locator(f"#{section}")).to_contain_text(words)
    assert page.locator("#label-errors a, #near-duplicates a, #outliers a, #overview a").count() == 0


@pytest.mark.parametrize("width", [1400, 800, 400])
def test_the_mouse_shows_the_image_below_it(show: Show, width: int) -> None:
    data = page_data()
    page = show(data, width)
    center(page)
    card = page.locator("#card")
    expect(card).to_be_empty()
    at = positions(page)
    for point in (*lonely(page), *at.argmin(axis=0).tolist(), *at.argmax(axis=0).tolist()):
        page.mouse.move(*positions(page)[point])
        expect(card.locator("bdi").first).to_have_text(paths(data)[point])
        expect(card.locator("strong")).to_have_text(data["points"]["names"][data["points"]["label"][point]])
        ring = page.locator("#ring").bounding_box()
        assert ring
        middle = np.array([ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2])
        assert np.abs(middle - positions(page)[point]).max() < 2
        box, plot = card.locator("> div").bounding_box(), page.locator("#stage").bounding_box()
        assert box
        assert plot
        assert plot["x"] <= box["x"]
        over = (box["x"] < middle[0] < box["x"] + box["width"]) and (box["y"] < middle[1] < box["y"] + box["height"])
        assert not over
        assert box["x"] + box["width"] <= plot["x"] + plot["width"] + 1
        assert box["y"] + box["height"] <= plot["y"] + plot["height"] + 1
    page.mouse.move(2, 2)
    expect(card).to_be_empty()


def test_a_finger_shows_the_image_below_it_and_scrolls(show: Show) -> None:
    data = page_data(40)
    page = show(data, 400, has_touch=True, is_mobile=True)
    center(page)
    point = lonely(page)[0]
    page.touchscreen.tap(*positions(page)[point])
    page.wait_for_timeout(600)  # a second click would come by now
    expect(page.locator("#card bdi").first).to_have_text(paths(data)[point])
    page.locator(".modebar-btn[data-title='Zoom in']").tap()
    zoomed = positions(page)
    page.touchscreen.tap(200, 450)
    page.wait_for_timeout(600)
    assert np.abs(positions(page) - zoomed).max() < 1  # a tap is no double-click, which would leave the zoom
    before = page.evaluate("scrollY")
    finger = page.context.new_cdp_session(page)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": 200, "y": 450}]})
    for y in range(440, 290, -10):
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": 200, "y": y}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function("before => scrollY > before + 100", arg=before)


def test_no_button_sends_the_data_away(show: Show) -> None:
    page = show(page_data(40))
    titles = [button.get_attribute("data-title") for button in page.locator(".modebar-btn").all()]
    assert titles == ["Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"]
    for plot in page.locator(".js-plotly-plot").all():
        assert plot.evaluate("element => element._context.plotlyServerURL") == ""


def test_a_tile_is_cut_from_its_sheet(show: Show) -> None:
    data = page_data(1100, 5)
    data["highlights"]["outliers"] = [{"image": 1083, "score": 1}]
    tile = show(data).locator("#outliers .tile")
    style = tile.evaluate("e => ['Position', 'Size', 'Image'].map(name => getComputedStyle(e)[`background${name}`])")
    assert style[0] == "-192px -128px"
    assert style[1] == "2560px auto"
    assert data["tiles"]["sheets"][1] in style[2]
    assert paths(data)[1083] in str(tile.get_attribute("aria-label"))
    assert tile.get_attribute("role") == "img"


def test_labels_are_switched_off_and_on(show: Show) -> None:
    data = page_data()
    page = show(data)
    center(page)
    before = positions(page)
    leftmost = data["points"]["label"][int(before[:, 0].argmin())]
    others = np.array(data["points"]["label"]) != leftmost
    button = page.locator("#toggles button").nth(leftmost)
    expect(button).to_contain_text(f"Fruit {leftmost}")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(dots(page)).to_have_count(int(others.sum()))
    assert np.abs(positions(page) - before[others]).max() < 1  # the map stays where it is
    point = lonely(page)[0]
    page.mouse.move(*positions(page)[point])
    expect(page.locator("#card bdi").first).to_have_text(paths(data)[np.flatnonzero(others)[point]])
    page.locator("#none").click()
    expect(dots(page)).to_have_count(0)
    button.click()
    expect(dots(page)).to_have_count(int((~others).sum()))
    page.locator("#all").click()
    expect(dots(page)).to_have_count(len(others))
    assert page.locator("#toggles button[aria-pressed=false]").count() == 0


def test_many_labels_are_found_by_name(show: Show) -> None:
    data = page_data(900, 30, names=["Banana", "Red banana"])
    page = show(data)
    page.locator("#filter").fill("BANANA")
    expect(page.locator("#toggles button:visible")).to_have_count(2)
    page.locator("#none").click()
    expect(dots(page)).to_have_count(int((np.array(data["points"]["label"]) > 1).sum()))
    assert not show(page_data(50, 20)).locator("#filter").is_visible()


def test_another_component_is_drawn(show: Show) -> None:
    data = page_data()
    page = show(data)
    before = positions(page)
    page.locator("#across").select_option("3")
    expect(page.locator("#plot .xtitle")).to_contain_text("Component 4")
    after = positions(page)
    assert np.abs(before[:, 1] - after[:, 1]).max() < 1
    fourth = data["highlights"]["component_ends"][3]
    assert np.argsort(after[:, 0])[:6].tolist() == fourth["low"]
    assert np.argsort(-after[:, 0])[:6].tolist() == fourth["high"]


def test_one_component_has_a_row_for_each_label(show: Show) -> None:
    data = page_data(50, 3, components=1)
    page = show(data)
    expect(page.locator("#up")).to_be_hidden()
    heights = [positions(page)[np.array(data["points"]["label"]) == label, 1] for label in range(3)]
    assert heights[0].min() > heights[1].max() > heights[1].min() > heights[2].max()


def test_arrow_keys_walk_from_left_to_right(show: Show) -> None:
    data = page_data(200, 3)
    page = show(data)
    order = np.argsort(positions(page)[:, 0], kind="stable")
    page.locator("#up").focus()
    page.keyboard.press("Tab")
    expect(page.locator("#stage")).to_be_focused()
    shown = page.locator("#card[aria-live=polite] bdi").first
    expect(shown).to_have_text(paths(data)[order[0]])
    for key, row in {"ArrowRight": 1, "ArrowDown": 2, "ArrowLeft": 1, "PageDown": 11, "End": 199, "Home": 0}.items():
        page.keyboard.press(key)
        expect(shown).to_have_text(paths(data)[order[row]])
    page.keyboard.press("Escape")
    expect(page.locator("#card")).to_be_empty()


def test_arrow_keys_stay_within_what_is_zoomed_and_switched_on(show: Show) -> None:
    data = page_data(200, 3)
    page = show(data)
    center(page)

    def first_of(mask: np.ndarray) -> int:
        page.locator("#stage").focus()
        page.keyboard.press("Home")
        first = min(np.flatnonzero(mask), key=lambda point: at[point, 0])
        expect(page.locator("#card bdi").first).to_have_text(paths(data)[first])
        return int(data["points"]["label"][first])

    area = page.locator("#plot .nsewdrag").bounding_box()
    assert area
    at = positions(page)
    left, right = (gap(np.sort(at[:, 0])[start : start + 20]) for start in (30, 120))
    page.mouse.move(left, area["y"] + 2)
    page.mouse.down()
    page.mouse.move(right, area["y"] + area["height"] - 2, steps=5)
    page.mouse.up()
    inside = (at[:, 0] > left) & (at[:, 0] < right)
    label = first_of(inside)
    page.locator("#toggles button").nth(label).click()
    first_of(inside & (np.array(data["points"]["label"]) != label))


def test_hostile_names_are_words(show: Show) -> None:
    data = page_data(60, len(HOSTILE), names=HOSTILE)
    page = show(data)
    for name in HOSTILE:
        expect(page.locator("#overview th bdi").get_by_text(name, exact=True)).to_be_visible()
        expect(page.locator("#toggles bdi").get_by_text(name, exact=True)).to_be_visible()
    center(page)
    for point in (data["points"]["label"].index(label) for label in range(len(HOSTILE))):
        page.mouse.move(*positions(page)[point])
        expect(page.locator("#card bdi").first).to_have_text(paths(data)[point])
    assert page.locator("main :is(b, img, script, iframe), main a[href^=javascript]").count() == 0
    assert page.locator("body > script").count() == 3


def test_colors_follow_the_system(show: Show) -> None:
    page = show(page_data(), color_scheme="light")
    script = "e => getComputedStyle(e).fill"
    ticks = [page.locator(f"#{plot} .xtick text").first for plot in ("scree", "plot")]
    ends = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ends == "rgb(255, 255, 255)"
    assert {tick.evaluate(script) for tick in ticks} == {"rgb(29, 33, 37)"}
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 27)"
    # The plots are drawn anew: an element of the first drawing would keep its color.
    drawn = (
        "s => { const e = document.querySelector(s); return e && getComputedStyle(e).fill === 'rgb(231, 234, 236)' }"
    )
    for plot in ("scree", "plot"):
        page.wait_for_function(drawn, arg=f"#{plot} .xtick text")


def test_paper_is_white_and_shows_what_is_folded(show: Show) -> None:
    page = show(page_data(900, 60), color_scheme="dark")
    page.locator("#stage").focus()
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.wait_for_function("document.querySelector('#plot .main-svg').getBoundingClientRect().width <= 680")
    assert page.locator("#plot .xtick text").first.evaluate("e => getComputedStyle(e).fill") == "rgb(29, 33, 37)"
    expect(page.get_by_text("cut 1.jpg")).to_be_visible()
    expect(page.locator("#card")).to_be_hidden()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(page.get_by_text("cut 1.jpg")).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 27)"


def test_a_sample_says_of_how_many(show: Show) -> None:
    page = show(page_data(300, 3, sample_of=200_000))
    expect(page.locator("#map-note")).to_contain_text("The map shows 300 of 200,000 images.")
    expect(page.locator("#separation")).to_contain_text("1,200 of 200,000 usable images were compared")


def test_folders_that_may_not_be_listed_are_named(show: Show) -> None:
    run = show(page_data(6)).locator("#run")
    expect(run).to_contain_text(
        "21 folders could not be listed for lack of permission, and their images are left out: "
    )
    expect(run).to_contain_text("/data/fruit/lost+found-19 and 1 more.")


def test_the_page_is_read_out(show: Show) -> None:
    page = show(page_data())
    headings = page.locator("h1, h2").all_text_contents()
    assert len(headings) == 9
    assert page.locator("section:not([aria-labelledby])").count() == 0
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator(".tile:not([role=img][aria-label])").count() == 0
    assert re.search(r"Bars: .*falling from \d+\.\d%", str(page.locator("#scree").get_attribute("aria-label")))
    for anchor in page.locator("nav a").all():
        expect(page.locator(f"section{anchor.get_attribute('href')}")).to_be_visible()


def test_five_thousand_points_with_five_hundred_labels_open_soon(show: Show) -> None:
    data = page_data(5000, 500)
    page = show(data)
    milliseconds = int(page.evaluate("Number(document.documentElement.dataset.drawn)"))
    size = len(render(data))
    print(f"opened in {milliseconds} ms, {size / 1e6:.1f} MB")
    assert dots(page).count() == 5000
    assert milliseconds < 10_000


def test_the_bundle_is_the_one_that_npm_knows() -> None:
    wanted = json.loads((ROOT / "package.json").read_text())["devDependencies"]["plotly.js-basic-dist-min"]
    banner = page_file("plotly-basic.min.js")[:200]
    assert f"plotly.js (basic - minified) v{wanted}\n" in banner
    assert "MIT License" in page_file("plotly-LICENSE.txt")
