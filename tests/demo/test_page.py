"""The page as visitors meet it: in a browser."""

import json
import re
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from helpers.clips import read

gradio = pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")

from faceanon_hub.demo import launch  # noqa: E402
from faceanon_hub.demo.words import LABELS, MESSAGES  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SENT, RESULT = "#photo input[type=file]", "#result .after:visible"


@pytest.fixture(scope="module")
def server(lenient):
    page, address = launch(lenient, prevent_thread_lock=True, quiet=True)
    yield address
    page.close()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser, server):
    """Opens the page with a context's options; errors of its scripts fail the test."""
    contexts, errors = [], []

    def opened(**options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options}))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(server)
        page.wait_for_selector(SENT, state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not errors


def send(page, file: Path) -> None:
    page.set_input_files(SENT, file)
    page.wait_for_selector(RESULT)


def line(page, text: str, where: str = "#status") -> str:
    """The lasting line, once it holds a text."""
    page.wait_for_selector(f"{where} >> text={text}")
    return page.locator(where).inner_text()


def act(page, element: str) -> None:
    """Clicks, and waits for another picture."""
    before = page.locator(RESULT).get_attribute("src")
    page.locator(element).click()
    page.wait_for_function("b => document.querySelector('#result .after').getAttribute('src') !== b", arg=before)


def drag(page, where: str, button: str, *box: float) -> None:
    """Draws a rectangle, in shares of the picture's sides."""
    page.locator(f"{where} {button}").click()
    frame = page.locator(f"{where} .frame")
    frame.scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # it may be scrolling already
    area = frame.bounding_box()
    left, right = (area["x"] + x * area["width"] for x in box[::2])
    top, bottom = (area["y"] + y * area["height"] for y in box[1::2])
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(right, bottom, steps=4)
    page.mouse.up()


def downloaded(page, element: str, target: Path) -> Path:
    page.wait_for_selector(f"{element}:not([disabled])")
    with page.expect_download() as download:
        page.locator(element).click()
    download.value.save_as(target)
    return target


def pixels(file: Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(file).convert("RGB")).astype(int)


def top(page, element: str) -> float:
    return page.locator(element).first.bounding_box()["y"]


def test_drop_look_draw_one_anew_keep_one_download(open_page, two, tmp_path):
    page = open_page()
    for nothing in ("#result .frame", "#download", "#face", "#several", "#kept", "#status .status"):
        assert not page.locator(nothing).is_visible()
    send(page, two)
    assert "2 faces: 2 replaced." in line(page, "2 faces")
    assert not page.locator("#photo").is_visible()
    assert page.locator("#result .slider").input_value() == "0"  # the result, whole
    box = page.locator("#result .frame").bounding_box()
    assert box["y"] + box["height"] < 900 and page.locator("#download").bounding_box()["y"] < 900
    page.locator("#result .slider").fill("60")
    assert not page.locator("#result .face").first.is_visible()  # no frames on the original
    page.locator("#result .slider").fill("0")
    page.wait_for_selector("#download:not([disabled])")
    first = pixels(downloaded(page, "#download", tmp_path / "first.jpg"))
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"])
    page.wait_for_selector("#chosen >> text=Face 2 of 2")
    act(page, "#renew")
    second = pixels(downloaded(page, "#download", tmp_path / "second.jpg"))
    assert np.array_equal(second[:, :304], first[:, :304]) and np.abs(second - first)[:, 320:].max() > 30
    act(page, "#keep input")
    assert "1 replaced, 1 left as it was (no. 2)" in line(page, "left as it was")
    third = pixels(downloaded(page, "#download", tmp_path / "third.jpg"))
    assert np.abs(third - pixels(two))[:, 336:].max() < 60  # JPEG
    assert np.abs(third - pixels(two))[:, :304].max() > 60


def test_a_place_is_hidden_by_hand_and_shown_again(open_page, nobody, two, tmp_path):
    page = open_page()
    send(page, nobody)
    assert "hide its place by hand" in line(page, "No face was found") and not page.locator("#download").is_visible()
    page.locator("#another").click()
    page.wait_for_selector(SENT, state="attached")
    send(page, two)
    line(page, "2 faces: 2 replaced.")
    drag(page, "#result", ".draw", 0.05, 0.05, 0.45, 0.9)
    assert "1 face: 1 replaced. Places hidden by hand: 1." in line(page, "hidden by hand")
    hidden = pixels(downloaded(page, "#download", tmp_path / "hidden.jpg")) - pixels(two)
    assert np.abs(hidden)[64:240, 64:240].mean() > 5 and np.abs(hidden)[:, 300:310].max() < 60
    act(page, "#result .zone .remove")
    assert "2 faces: 2 replaced." in line(page, "2 faces")


def test_suggestions_are_taken_and_go_with_the_photo(open_page, head, two):
    page = open_page()
    send(page, head)
    page.wait_for_selector("#chosen >> text=Face 1 of 1")  # the only one is chosen
    page.locator("#variants").click()
    page.wait_for_selector("#several button img")
    act(page, "#several button >> nth=2")
    page.locator("#another").click()
    page.wait_for_selector(SENT, state="attached")
    for nothing in ("#result .frame", "#download", "#face", "#several", "#status .status"):
        assert not page.locator(nothing).is_visible()
    send(page, two)
    line(page, "2 faces")
    assert not page.locator("#several").is_visible() and not page.locator("#face").is_visible()
    assert page.locator("[data-face][aria-pressed=true]").count() == 0
    page.locator("#faces .thumbnail").nth(1).click()
    page.wait_for_selector("#chosen >> text=Face 2 of 2")
    page.locator("#kept button").first.click()
    page.wait_for_selector("#kept >> text=Face 2")
    assert "no guarantee" in page.locator("#kept").inner_text()


def test_an_error_stays_until_the_next_photo(open_page, broken, nobody, head):
    page = open_page()
    page.set_input_files(SENT, broken)
    assert "damaged, or no photo" in line(page, "cannot be used")
    page.wait_for_selector(SENT, state="attached")
    send(page, nobody)
    told = line(page, "unchanged")
    assert "No face was found" in told and "cannot be used" not in told
    page.locator("#another").click()
    page.wait_for_selector(SENT, state="attached")
    send(page, head)
    line(page, "1 face: 1 replaced.")


def test_a_photo_that_is_left_does_not_come_back(open_page, head):
    page = open_page()
    send(page, head)
    page.wait_for_selector("#chosen >> text=Face 1 of 1")
    page.locator("#variants").click()
    page.locator("#another").click()  # while suggestions are drawn
    page.wait_for_selector(SENT, state="attached")
    page.wait_for_timeout(4000)
    assert page.locator("#photo").is_visible() and not page.locator("#result .frame").is_visible()
    send(page, head)
    line(page, "1 face")


def test_an_example_is_one_click_away(open_page):
    page = open_page()
    page.locator("#examples button").nth(1).click()
    page.wait_for_selector(RESULT)
    assert "3 faces" in line(page, "3 faces")


def test_several_photos_are_named_shown_and_told_apart(open_page, head, nobody, broken, tmp_path):
    page = open_page()
    page.get_by_role("tab", name="Several photos").click()
    page.set_input_files("#files input[type=file]", [head, nobody, broken])
    page.wait_for_selector("#files >> text=broken")
    page.locator("#start").click()
    told = line(page, "1 of 3 photos anonymized", "#batch-status")
    assert re.search(r"head\.png: 1 face: 1 replaced", told) and re.search(r"nobody\.png: no face found", told)
    assert re.search(r"broken\.jpg: This file cannot be used", told)
    page.wait_for_selector("#results img >> nth=1")
    assert "see it large" in told
    archive = zipfile.ZipFile(downloaded(page, "#archive", tmp_path / "a.zip"))
    assert archive.namelist() == ["001-head.jpg", "report.json"]
    assert len(json.loads(archive.read("report.json"))) == 3
    page.locator("#results button").nth(1).click()
    page.wait_for_selector("#look .after:visible")
    assert "nobody.png" in page.locator("#look .hint").inner_text()
    drag(page, "#look", ".draw", 0.2, 0.2, 0.6, 0.6)
    line(page, "2 of 3 photos anonymized", "#batch-status")
    archive = zipfile.ZipFile(downloaded(page, "#archive", tmp_path / "b.zip"))
    assert archive.namelist() == ["001-head.jpg", "002-nobody.jpg", "report.json"]
    assert json.loads(archive.read("report.json"))[1]["hide"] == [[60, 40, 180, 120]]
    page.locator("#look .remove").click()
    line(page, "1 of 3 photos anonymized", "#batch-status")


@pytest.mark.slow
def test_a_video_tells_the_time_left_and_can_be_cancelled(open_page, clip, tmp_path):
    page = open_page()
    page.get_by_role("tab", name="Video").click()
    page.locator("#clips button").first.click()
    page.wait_for_selector("#clip video")
    page.locator("#film").click()
    line(page, "left - ", "#clip")  # "about 3 s left - 40.0%"
    page.locator("#stop-film").click()
    assert line(page, "Cancelled", "#film-status").strip() == "Cancelled. Nothing was kept."
    assert not page.locator("#movie").is_visible()
    page.locator("#clip :is([aria-label='Clear'], [aria-label='Remove']):visible").first.click()
    page.set_input_files("#clip input[type=file]", clip)
    page.wait_for_selector("#clip video")
    page.locator("#peek").click()
    page.wait_for_selector("#still .after:visible")
    drag(page, "#still", ".draw", 0, 0.75, 0.25, 1)
    line(page, "Places hidden by hand: 1", "#film-status")
    page.locator("#film").click()
    told = line(page, "Done", "#film-status")
    assert "People: 1. Faces replaced: 10, hidden: 0, in 10 frames. Places hidden by hand: 1." in told
    made = read(downloaded(page, "#movie-file", tmp_path / "a.mp4"))
    for before, after in zip(read(clip), made, strict=True):
        changed = np.abs(before.pixels.astype(int) - after.pixels)
        assert changed[242:318, 2:78].mean() > 4 * changed[2:78, 2:78].mean()


def test_a_batch_that_is_cancelled_keeps_what_was_done(open_page, head, tmp_path):
    page = open_page()
    page.get_by_role("tab", name="Several photos").click()
    page.set_input_files("#files input[type=file]", [head] * 12)
    page.wait_for_selector("#files >> text=head >> nth=11")
    page.locator("#start").click()
    line(page, "2 of 12, about", "#files")
    page.locator("#stop").click()
    told = line(page, "Cancelled", "#batch-status")
    done = int(re.search(r"Cancelled: (\d+) of 12 photos are anonymized", told)[1])
    assert 2 <= done < 12 and page.locator("#start").is_visible()
    archive = zipfile.ZipFile(downloaded(page, "#archive", tmp_path / "a.zip"))
    assert len(archive.namelist()) == done + 1 and len(json.loads(archive.read("report.json"))) == done
    page.wait_for_selector(f"#results img >> nth={done - 1}")
    start = time.monotonic()
    page.get_by_role("tab", name="Photo", exact=True).click()
    send(page, head)
    assert time.monotonic() - start < 20


def test_a_missed_face_is_pointed_at(open_page, two):
    page = open_page(**PHONE)
    send(page, two)
    line(page, "2 faces: 2 replaced.")
    assert page.locator("#result .hint").inner_text() == MESSAGES["en"]["hint_touch"]
    drag(page, "#result", ".draw", 0.05, 0.05, 0.45, 0.9)  # as if one had been missed
    line(page, "1 face: 1 replaced. Places hidden by hand: 1.")
    act(page, "#result .zone .remove")
    line(page, "2 faces: 2 replaced.")
    drag(page, "#result", ".look", 0.15, 0.2, 0.35, 0.75)
    assert "2 faces: 2 replaced." in line(page, "The face was found, and replaced like the others: no. 2.")
    page.wait_for_selector("#chosen >> text=Face 2 of 2")
    drag(page, "#result", ".look", 0.01, 0.85, 0.1, 0.99)
    assert "Places hidden by hand: 1." in line(page, "No face can be made out there, so the place is hidden.")


def test_german_visitors_wait_in_german(open_page, held, head, nobody):
    first, second = open_page(locale="de-DE"), open_page(locale="de-DE")
    first.set_input_files(SENT, head)
    first.wait_for_selector("#photo [data-testid=status-tracker] >> text=/[0-9]s/")
    second.set_input_files(SENT, nobody)
    second.wait_for_selector("#photo >> text=In der Schlange: Nr. 1 von 1")
    seen = first.locator("body").inner_text() + second.locator("body").inner_text()
    assert "queue" not in seen and "processing" not in seen
    held.set()
    line(second, "Kein Gesicht gefunden")


def test_on_a_phone_the_result_is_under_the_photo_and_settings_are_below(open_page, two):
    page = open_page(**PHONE)
    send(page, two)
    line(page, "2 faces")
    order = [top(page, name) for name in ("#result .frame", "#status", "#download", "#faces .thumbnail", "#settings")]
    assert order == sorted(order)
    box = page.locator("#result .frame").bounding_box()
    assert box["y"] + box["height"] < 844  # seen whole
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    for face in page.locator("#faces .thumbnail").all():
        seen = face.bounding_box()
        assert seen["x"] >= 0 and seen["x"] + seen["width"] <= 390
    page.locator("#result .face").first.tap()
    page.wait_for_selector("#chosen >> text=Face 1 of 2")


def test_by_keyboard(open_page, two):
    page = open_page()
    send(page, two)
    line(page, "2 faces")
    page.locator("#result .slider").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#result .slider").input_value() == "1"
    page.keyboard.press("Home")
    for _ in range(8):  # to the second face
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.face") == "1":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#chosen >> text=Face 2 of 2")
    before = page.locator(RESULT).get_attribute("src")
    page.locator("#result .draw").focus()
    page.keyboard.press("Enter")
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.wait_for_function("b => document.querySelector('#result .after').getAttribute('src') !== b", arg=before)
    line(page, "Places hidden by hand: 1")
    page.locator("#more button").first.click()
    before = page.locator(RESULT).get_attribute("src")
    page.locator("#seed input").fill("5")
    page.keyboard.press("Tab")
    page.wait_for_function("b => document.querySelector('#result .after').getAttribute('src') !== b", arg=before)


def test_a_page_with_work_on_it_asks_before_it_is_left(open_page, head):
    page = open_page()
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.close(run_before_unload=True)
    page = open_page()
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    send(page, head)
    page.locator("#result .face").click()  # browsers ask those alone who did something
    page.close(run_before_unload=True)
    page.wait_for_timeout(500)
    assert asked == ["beforeunload"]


def test_german_visitors_read_no_english(open_page, two, nobody):
    page = open_page(locale="de-DE")
    page.wait_for_selector("text=Gesichter von niemandem")
    page.locator("#more button").first.click()
    page.set_input_files(SENT, nobody)
    line(page, "Kein Gesicht gefunden")
    page.locator("#another").click()
    page.wait_for_selector(SENT, state="attached")
    send(page, two)
    line(page, "2 Gesichter: 2 ersetzt.")
    page.locator("#faces .thumbnail").nth(1).click()
    page.wait_for_selector("#chosen >> text=Gesicht 2 von 2")
    seen = page.locator("body").inner_text()
    english = [
        text
        for texts in (LABELS, MESSAGES)
        for key, text in texts["en"].items()
        if len(text) > 7 and text != texts["de"][key] and "{}" not in text and text in seen
    ]
    assert not english
    assert "translation" not in seen and "__i18n__" not in seen


def test_a_dark_page_is_dark(open_page, head):
    page = open_page(color_scheme="dark")
    send(page, head)
    line(page, "1 face")
    dark = "e => getComputedStyle(e).backgroundColor.match(/\\d+/g).slice(0, 3).every(value => value < 90)"
    assert page.locator("#status .status").evaluate(dark)
