"""The page in a real Chromium: a note typed, labels read, a table dropped, by mouse, keyboard and on a phone."""

from __future__ import annotations

import csv
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from kdh_runtime.serving.address import Address, open_socket
from kdh_runtime.serving.app import make_app
from serving_stub import ABOUT, LIMITS, predict

pytestmark = [pytest.mark.slow, pytest.mark.browser]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
NOTE = "Seen in clinic 😷 today. Complains of chest pain since Monday. No chills. Fever of 39 °C."
SCREENS = [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light"), (390, 844, "dark")]
TOKEN = "correct-horse-battery-staple"


def serve(token: str | None = None) -> Iterator[str]:
    address = Address(port=0, tokens={} if token is None else {token: ""})
    app = make_app(predict, ABOUT, LIMITS, tokens=address.tokens, hosts=address.host_names)
    with open_socket(address) as listener:
        config = uvicorn.Config(app, access_log=False, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield address.url(listener.getsockname()[1])
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    yield from serve()


@pytest.fixture
def guarded_url() -> Iterator[str]:
    yield from serve(TOKEN)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    folder = tmp_path_factory.mktemp("browser")
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    started.downloads = folder / "downloads"
    started.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(started.downloads)}
    )
    yield started
    started.quit()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """A desktop's screen; no error is left in the console."""
    screen(chromium, *SCREENS[0])
    chromium.get_log("browser")
    yield chromium
    assert [line for line in chromium.get_log("browser") if "401" not in line["message"]] == []


def screen(browser: Any, width: int, height: int, theme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def text(browser: Any, selector: str) -> str:
    return str(find(browser, selector).text)


def wait(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "the page did not get there"
        time.sleep(0.05)
    return value


def label_note(browser: Any, url: str, note: str = NOTE) -> None:
    browser.get(url)
    wait(lambda: text(browser, "#service") == ABOUT.name)
    browser.execute_cdp_cmd("DOM.enable", {})
    find(browser, "#text").click()
    browser.execute_cdp_cmd("Input.insertText", {"text": note})
    find(browser, "#go").click()
    wait(lambda: "found" in text(browser, "#status"))


def photograph(browser: Any, name: str) -> None:
    """Save the whole page in the folder of KDH_RAY_SCREENSHOTS, to be looked at."""
    folder = os.environ.get("KDH_RAY_SCREENSHOTS")
    if folder:
        import base64

        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (Path(folder) / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))


def test_a_label_shows_the_sentence_that_spoke_for_it(browser: Any, url: str) -> None:
    label_note(browser, url)
    assert text(browser, "#status").startswith("2 of 3 labels found")
    pain, fever = browser.find_elements("css selector", "#present button")
    assert pain.text.split("\n") == ["pain", "90.0 %", "threshold 50.0 %"]
    assert text(browser, "#rest-title") == "1 label below the threshold"
    pain.click()
    assert pain.get_attribute("aria-pressed") == "true"
    assert text(browser, "#present blockquote").strip() == "Complains of chest pain since Monday."
    assert highlighted(browser) == "Complains of chest pain since Monday."
    fever.click()
    assert highlighted(browser) == "Fever of 39 °C."
    assert pain.get_attribute("aria-pressed") == "false"
    fever.click()
    find(browser, "#text").click()
    assert highlighted(browser) is None


def highlighted(browser: Any) -> str | None:
    found = browser.execute_script("return document.querySelector('#marks mark')?.textContent")
    return None if found is None else found.strip()


def test_marks_lie_under_their_text(browser: Any, url: str) -> None:
    for width, height, theme in SCREENS:
        screen(browser, width, height, theme)
        label_note(browser, url, " ".join([NOTE] * 10))
        same = browser.execute_script(
            "const [a, b] = ['text', 'marks'].map(id => document.getElementById(id).getBoundingClientRect());"
            "const text = document.getElementById('text');"
            "return [a.width - b.width, a.top - b.top, text.scrollHeight - text.clientHeight]"
        )
        assert same == [0, 0, 0]


def test_keyboard_reaches_everything(browser: Any, url: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> None:
        ActionChains(browser).send_keys(*keys).perform()

    def focused() -> str:
        return str(browser.execute_script("return document.activeElement.id || document.activeElement.textContent"))

    browser.get(url)
    wait(lambda: text(browser, "#service") == ABOUT.name)
    press(Keys.TAB)
    assert focused() == "text"
    press("Dry cough and fever.")
    ActionChains(browser).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    wait(lambda: "2 of 3" in text(browser, "#status"))
    order = []
    for _ in range(6):
        press(Keys.TAB)
        order.append(focused())
    assert order[:2] == ["go", "clear"]
    assert order[2].startswith("fever") or order[2].startswith("cough")
    assert order[4:] == ["rest-title", "file"]
    for _ in range(3):
        ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    press(Keys.SPACE)
    assert highlighted(browser) == "Dry cough and fever."
    press(Keys.ESCAPE)
    assert not browser.find_elements("css selector", "[aria-pressed=true]")


def test_a_screen_reader_gets_names_and_news(browser: Any, url: str) -> None:
    label_note(browser, url)
    browser.execute_cdp_cmd("Accessibility.enable", {})
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    names = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]}
    assert ("textbox", "Note") in names
    assert ("button", "Label the note") in names
    assert ("button", "pain 90.0 % threshold 50.0 %") in names
    assert ("heading", "Labels") in names
    assert any(role == "button" and "Choose a CSV file" in name for role, name in names)
    assert find(browser, "#status").get_attribute("role") == "status"
    assert not browser.execute_script(  # every control has a name
        "return [...document.querySelectorAll('input, select, textarea')].filter(e => !e.labels.length).map(e => e.id)"
    )


def test_an_empty_note_is_refused_in_words(browser: Any, url: str) -> None:
    browser.get(url)
    wait(lambda: text(browser, "#service") == ABOUT.name)
    find(browser, "#go").click()
    assert text(browser, "#error") == "The note is empty."


def test_a_changed_note_loses_its_labels(browser: Any, url: str) -> None:
    label_note(browser, url)
    find(browser, "#text").send_keys("!")
    assert text(browser, "#status") == "The note has changed. Label it again."
    assert not browser.find_elements("css selector", "#present li")


def test_a_table_comes_back_with_labels(browser: Any, url: str, tmp_path: Path) -> None:
    source = tmp_path / "notes.csv"
    notes = ["Fever; pain.", 'She said "no cough" today', "two\nlines of pain", "", "x" * 2_000, *["nothing"] * 20]
    with source.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=";").writerows([["id", "note"], *enumerate(notes)])
    browser.get(url)
    wait(lambda: text(browser, "#service") == ABOUT.name)
    find(browser, "#file").send_keys(str(source))
    wait(lambda: text(browser, "#label-table") == "Label 25 rows")
    assert find(browser, "#column").get_attribute("value") == "1"
    find(browser, "#label-table").click()
    wait(lambda: "labelled" in text(browser, "#table-status"))
    assert text(browser, "#table-status") == "24 of 25 rows labelled. 1 note too long for this service."
    find(browser, "#download").click()
    result = wait(lambda: next(browser.downloads.glob("notes-labelled.csv"), None))
    with result.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert [row["note"] for row in rows] == notes
    assert [row["labels"] for row in rows[:5]] == ["pain; fever", "cough", "pain", "", ""]
    assert rows[0]["probability.pain"] == "0.9"
    assert rows[4]["probability.pain"] == ""


def test_a_file_that_is_no_table_is_refused_in_words(browser: Any, url: str, tmp_path: Path) -> None:
    browser.get(url)
    wait(lambda: text(browser, "#service") == ABOUT.name)
    for content, expected in ((b"\xff\xfe\x00", "UTF-8"), (b'a\n"b', "ends inside quotes"), (b"", "is empty")):
        file = tmp_path / "bad.csv"
        file.write_bytes(content)
        find(browser, "#file").send_keys(str(file))
        wait(lambda expected=expected: expected in text(browser, "#table-error"))


def test_a_token_is_asked_for(browser: Any, guarded_url: str) -> None:
    browser.get(guarded_url)
    wait(lambda: find(browser, "#entry").is_displayed())
    assert not find(browser, "#form").is_displayed()
    find(browser, "#token").send_keys("wrong\n")
    wait(lambda: "This token is wrong." in text(browser, "#token-error"))
    find(browser, "#token").send_keys(f"{TOKEN}\n")
    wait(lambda: find(browser, "#form").is_displayed())
    find(browser, "#text").send_keys("cough")
    find(browser, "#go").click()
    wait(lambda: "1 of 3" in text(browser, "#status"))


@pytest.mark.parametrize(("width", "height", "theme"), SCREENS)
def test_the_page_fits_every_screen(browser: Any, url: str, width: int, height: int, theme: str) -> None:
    screen(browser, width, height, theme)
    browser.get(url)
    wait(lambda: text(browser, "#service") == ABOUT.name)
    photograph(browser, f"empty-{width}-{theme}")
    label_note(browser, url, "\n\n".join([NOTE, NOTE.replace("Fever", "A dry cough")]))
    browser.find_elements("css selector", "#present button")[0].click()
    photograph(browser, f"labelled-{width}-{theme}")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    heights = (
        "return [...document.querySelectorAll('button, select')].filter(e => e.offsetParent).map(e => e.offsetHeight)"
    )
    assert min(browser.execute_script(heights)) >= 44  # large enough for a finger
    contrast = browser.execute_script(CONTRAST)
    assert min(contrast) >= 4.5  # WCAG AA


CONTRAST = """
const parse = colour => colour.match(/[\\d.]+/g).slice(0, 4).map(Number);
const linear = value => value <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => .2126 * linear(r / 255) + .7152 * linear(g / 255) + .0722 * linear(b / 255);
const background = element => {
  for (let e = element; e; e = e.parentElement) {
    const colour = parse(getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
return [...document.querySelectorAll('h1, h2, p, label, button, span.quiet, .name, .value, blockquote, summary')]
  .filter(e => e.offsetParent && e.textContent.trim() && !e.disabled).map(e => {
    const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(background(e))].sort((x, y) => y - x);
    return (a + .05) / (b + .05);
  });
"""
