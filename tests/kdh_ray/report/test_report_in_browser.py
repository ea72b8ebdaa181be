"""Report in a real Chromium: an empty console and visible figures, in both themes, on a desktop and a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdh_ray.report import make_report, to_html

pytestmark = [pytest.mark.slow, pytest.mark.browser]
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
BOXES = """return [...document.querySelectorAll('figure svg')].map(svg => {
  const box = svg.getBoundingClientRect(), page = document.documentElement.clientWidth;
  return {name: svg.parentElement.id, width: box.width, height: box.height, inside: box.left >= 0 && box.right <= page};
})"""
SMALLEST = """return Math.min(...[...document.querySelectorAll('figure svg text')].map(text => {
  const on_screen = text.getScreenCTM();
  return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(on_screen.a, on_screen.b);
}))"""
COLOURS = """const figure = document.querySelector('figure svg');
return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
  getComputedStyle(figure.querySelector('text')).fill]"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


def test_report_is_readable_in_a_browser(
    browser: Any, study: pd.DataFrame, search: pd.DataFrame, tmp_path: Path
) -> None:
    report = make_report(pd.concat([study, search]))
    page = tmp_path / "report.html"
    page.write_text(to_html(report), encoding="utf-8")
    backgrounds = []
    for width, theme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
        features = [{"name": "prefers-color-scheme", "value": theme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        browser.get(page.as_uri())
        boxes = browser.execute_script(BOXES)
        assert [box["name"] for box in boxes] == [figure.name for figure in report.figures]
        assert all(box["width"] > 300 and box["height"] > 60 and box["inside"] for box in boxes)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        background, ink, drawn = browser.execute_script(COLOURS)
        assert drawn == ink  # figures follow the theme
        backgrounds.append(background)
        small = browser.execute_script(SMALLEST)
        assert small >= 11, f"text of {small} pixels at {width}"
        winner = browser.execute_script("return document.querySelector('.winner').getBoundingClientRect().bottom")
        assert winner < 844  # who won is on the first screen
    assert backgrounds[0] == backgrounds[2] == "rgb(255, 255, 255)"
    assert backgrounds[1] == backgrounds[3] != backgrounds[0]
    assert browser.get_log("browser") == []
