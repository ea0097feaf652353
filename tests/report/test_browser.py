"""The page as a browser shows it. Collected only where there is a browser: see conftest.py."""

import struct

from layup_jax.report import write_report
from tests.report.browser import find_browser, opened
from tests.report.made_runs import made_run

ROWS = "[...document.querySelectorAll('tbody tr')].map(row => row.cells[0].textContent)"
PLOTS = "drawn.then(() => places.map(place => place.data.length))"
SORTED = "[...document.querySelectorAll('th')].map(each => each.getAttribute('aria-sort'))"


def test_the_page_in_a_browser(tmp_path):
    rates = {"ten": 10.0, "nine": 9.0, "hundred": 100.0}
    paths = [
        made_run(tmp_path, name, config={"partition": 1 + i}, samples_per_second=rate)
        for i, (name, rate) in enumerate(rates.items())
    ]
    paths.append(made_run(tmp_path, "<i>killed<i>", ended=False))
    page = tmp_path / "report.html"
    write_report(paths, [page])
    with opened(find_browser(), page) as browser:
        # A line and its band for each run; bars for each with a histogram; one bar for each cause.
        assert browser.evaluate(PLOTS) == [8, 8, 8, 8, 3, 8]
        check_sorting(browser)
        check_colours(browser)
        check_phone(browser)
        assert browser.requests == [page.as_uri()]
        assert browser.complaints == []


def check_sorting(browser):
    killed = "<i>killed<i>"
    assert browser.evaluate(ROWS) == ["ten", "nine", "hundred", killed]
    header = "document.querySelectorAll('th')[8].querySelector('button')"
    assert browser.evaluate(f"{header}.textContent") == "samples/s"
    browser.click(header)
    assert browser.evaluate(ROWS) == ["nine", "ten", "hundred", killed]
    assert browser.evaluate(SORTED)[8] == "ascending"
    browser.evaluate(f"{header}.focus()")
    browser.press("Enter", 13)
    assert browser.evaluate(ROWS) == ["hundred", "ten", "nine", killed]
    assert browser.evaluate(SORTED)[8] == "descending"
    browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.textContent") == "training time (s)"
    browser.click("document.querySelector('th button')")
    assert browser.evaluate(ROWS) == [killed, "hundred", "nine", "ten"]
    assert browser.evaluate(SORTED).count(None) == len(browser.evaluate(SORTED)) - 1


def check_colours(browser):
    ink = "getComputedStyle(document.querySelector('.figure .xtitle')).fill"
    inks = []
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.call("Emulation.setEmulatedMedia", features=features)
        inks.append(browser.evaluate(f"restyle().then(() => {ink})"))
    assert inks == ["rgb(26, 26, 26)", "rgb(232, 232, 232)"]


def check_phone(browser):
    """Nothing but the table is broader than the window."""
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    assert browser.evaluate("restyle().then(() => document.documentElement.scrollWidth)") == 390
    assert browser.evaluate("Math.max(...places.map(place => place._fullLayout.width))") <= 390
    picture = browser.picture()
    width, height = struct.unpack(">II", picture[16:24])
    assert (picture[1:4], width) == (b"PNG", 390)
    assert height > 6 * 300
