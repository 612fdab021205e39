"""The service's page in a browser: a photo is dropped or chosen, its name appears; wide, narrow, by keyboard."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.conftest import watch
from tests.lookup.test_service import Service, start

Show = Callable[..., Page]

# The events of a browser when a file is dropped: the page gets the file, not its path.
DROP = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  const drop = document.getElementById("drop");
  for (const kind of ["dragenter", "dragover", "drop"])
    drop.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: transfer }));
}"""


@pytest.fixture(scope="module")
def service(output: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = start(output, tmp_path_factory.mktemp("service") / "log")
    yield running
    running.process.terminate()
    running.process.wait(30)


@pytest.fixture
def show(browser: Browser, service: Service) -> Iterator[Show]:
    """Return a function that opens the page; a console message, an error or a dialog fails the test at its end."""
    troubles: list[str] = []
    pages = []

    def open_page(width: int = 1400, expected: str = "no word", **options: object) -> Page:
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)  # type: ignore[arg-type]
        pages.append(page)
        watch(page, troubles, expected=lambda message: expected in message.text)
        page.goto(f"http://127.0.0.1:{service.port}/")
        expect(page.locator("#about")).to_contain_text("300 images with 12 labels")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert troubles == []


def drop(page: Page, photo: Path, name: str | None = None) -> None:
    page.evaluate(DROP, [name or photo.name, base64.b64encode(photo.read_bytes()).decode()])


def nothing_is_cut(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_photo_is_dropped_and_its_name_appears(
    show: Show, fruit: tuple[Path, Path], width: int, scheme: str, tmp_path: Path
) -> None:
    page = show(width, color_scheme=scheme)
    assert nothing_is_cut(page)
    drop(page, fruit[1] / "Lemon" / "25.jpg")
    expect(page.locator("#name")).to_have_text("Lemon")
    expect(page.locator("#confidence")).to_contain_text("% confident")
    expect(page.locator("#neighbors li")).to_have_count(5)
    expect(page.locator("#neighbors li strong").first).to_have_text("Lemon")
    page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")  # fails if one is broken
    assert nothing_is_cut(page)
    page.screenshot(path=tmp_path / "page.png", full_page=True)


def test_a_photo_is_chosen_with_the_keyboard(show: Show, fruit: tuple[Path, Path]) -> None:
    page = show()
    page.on("filechooser", lambda _: None)  # Playwright takes over the dialog now, not while the key is pressed
    page.keyboard.press("Tab")
    expect(page.locator("#image")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(fruit[1] / "Kiwi" / "26.jpg")
    expect(page.locator("#name")).to_have_text("Kiwi")
    expect(page.locator("#answer")).to_have_attribute("aria-live", "polite")


def test_a_name_with_markup_is_harmless(show: Show, fruit: tuple[Path, Path]) -> None:
    page = show()
    name = '<img src=x onerror="alert(1)">"\'.jpg'
    drop(page, fruit[1] / "Lemon" / "25.jpg", name)
    expect(page.locator("#name")).to_have_text("Lemon")
    expect(page.locator("#file")).to_have_text(name)
    assert page.locator("img[src=x]").count() == 0


def test_an_unusable_file_gets_an_error(show: Show, fruit: tuple[Path, Path], tmp_path: Path) -> None:
    page = show(expected="422")  # Chromium itself logs such an answer
    drop(page, fruit[1] / "Lemon" / "25.jpg")
    expect(page.locator("#name")).to_have_text("Lemon")
    bad = tmp_path / "notes.jpg"
    bad.write_text("no image")
    drop(page, bad)
    expect(page.get_by_role("alert")).to_have_text("the photo cannot be used: not an image: no known image format")
    expect(page.locator("#answer")).to_be_hidden()
    drop(page, fruit[1] / "Kiwi" / "26.jpg")
    expect(page.locator("#name")).to_have_text("Kiwi")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_photo_like_nothing_is_unknown(show: Show, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    page = show()
    drop(page, tmp_path / "noise.png")
    expect(page.locator("#name")).to_have_text("Unknown")
    expect(page.locator("#meter")).to_be_hidden()
    expect(page.locator("#confidence")).to_contain_text("Nothing like it")
