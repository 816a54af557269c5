"""The page in a real browser, with the network off."""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vidbench.results import FindingRow, Run
from vidbench_reports.html import HtmlReport

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install 'vidbench[test]'")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

PICTURED = "cogvideo"


class Browser:
    """Chromium, with the few verbs that the tests need."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, *, width: int = 1280, dark: bool = False) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.command("Emulation.setEmulatedMedia", media="", features=features)
        self.driver.get(path.as_uri())
        self.js("try { localStorage.clear() } catch {}")

    def command(self, name: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, arguments)

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def one(self, css: str) -> WebElement:
        element: WebElement = self.driver.find_element(By.CSS_SELECTOR, css)
        return element

    def all(self, css: str) -> list[WebElement]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, css))

    def texts(self, css: str) -> list[str]:
        return [
            str(t) for t in self.js("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", css)
        ]

    def wait(self, script: str, *arguments: Any) -> Any:
        return WebDriverWait(self.driver, 10).until(lambda d: d.execute_script(f"return {script}", *arguments))

    def choose(self, css: str, value: str) -> None:
        self.js(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change'))",
            css,
            value,
        )

    def expand(self, css: str) -> None:
        button = self.one(f"{css} button.expand")
        self.js("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()


@pytest.fixture(scope="module")
def browser(new_driver: Callable[[], Any]) -> Iterator[Browser]:
    driver = new_driver()
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope="module")
def page(
    make_run: Callable[..., Run], real_frames: Callable[[str, int], Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A report whose first model has pictures, from real generated clips where there are any."""
    run = make_run(tmp_path_factory.mktemp("runs") / "fetv", media=12, frames=real_frames)
    path = run.path / "report.html"
    HtmlReport().write(run, path)
    return path


def _requests(browser: Browser) -> list[str]:
    entries = [json.loads(entry["message"])["message"] for entry in browser.driver.get_log("performance")]
    return [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]


def _with_findings(browser: Browser) -> str:
    """Shows only clips with pictures and findings; returns a selector of the first."""
    browser.choose("#clip-model", str(browser.texts("#clip-model option").index(PICTURED) - 1))
    browser.js("document.querySelector('#clip-found').click()")
    index = browser.js("return document.querySelector('tr.clip').dataset.index")
    return f'tr.clip[data-index="{index}"]'


def test_it_opens_without_errors_and_fetches_nothing(browser: Browser, page: Path) -> None:
    browser.driver.get_log("performance")
    browser.driver.get_log("browser")
    browser.open(page)
    clip = _with_findings(browser)
    browser.expand(clip)
    browser.wait("document.querySelector('.strip img').naturalWidth > 0")
    browser.wait("document.querySelector('video').readyState >= 2")
    assert [entry for entry in browser.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    asked = _requests(browser)
    assert asked, "the log holds at least the page itself"
    assert {url.split(":", 1)[0] for url in asked} <= {"file", "data", "blob"}
    assert [url for url in asked if url.startswith("file:")] == [page.as_uri()]
    entries = browser.js("return performance.getEntriesByType('resource').map(e => e.name.split(':')[0])")
    assert set(entries) <= {"data", "blob"}


def test_names_from_outside_stay_text(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.choose("#clip-search", "script alert(1)")
    assert browser.texts("tr.clip .prompt") == ["<script>alert(1)</script><img src=x onerror=alert(2)>"] * 5
    browser.expand("tr.clip")
    assert browser.texts(".panel blockquote") == ["<script>alert(1)</script><img src=x onerror=alert(2)>"]
    assert browser.js("return document.querySelectorAll('img[onerror], #clip-list script, .message b').length") == 0
    browser.choose("#clip-search", "alert(3)")
    assert browser.texts("tr.clip .file") == ["cogvideo/<script>alert(3)</script>.mp4"]
    assert browser.texts("tr.clip td.why") == ["moov atom not found: the file is cut off"]


def test_the_ranked_table_sorts(browser: Browser, page: Path) -> None:
    browser.open(page)

    def column(i: int) -> list[Any]:
        cells = browser.js(
            "return [...document.querySelectorAll('#ranked tbody tr')].map(r => r.cells[arguments[0]].dataset.value)",
            i,
        )
        return [float(c) if c and i else c for c in cells]

    def pressed() -> list[str]:
        return [h.get_attribute("aria-sort") or "" for h in browser.all("#ranked thead tr:last-child th")]

    assert pressed() == ["none", "ascending", *["none"] * 9]
    assert column(1) == sorted(column(1))
    headers = browser.all("#ranked thead button.sort")
    for i, first in ((2, "descending"), (3, "ascending"), (0, "ascending")):
        browser.js("arguments[0].click()", headers[i])
        assert pressed()[i] == first
        assert column(i) == sorted(column(i), reverse=first == "descending")
        browser.js("arguments[0].click()", headers[i])
        assert pressed()[i] == ("ascending" if first == "descending" else "descending")
        assert column(i) == sorted(column(i), reverse=first == "ascending")
        assert pressed().count("none") == 10


def test_the_clips_sort_with_missing_values_last(browser: Browser, page: Path) -> None:
    browser.open(page)
    header = browser.all("#clip-table thead th")
    assert [h.get_attribute("aria-sort") for h in header[:3]] == ["none", "none", "descending"]
    motion = len(header) - 1
    for direction in ("descending", "ascending"):
        browser.js("arguments[0].click()", header[motion].find_element(By.TAG_NAME, "button"))
        assert header[motion].get_attribute("aria-sort") == direction
        shown = browser.js(
            "return [...document.querySelectorAll('tr.clip')].map(r => r.lastElementChild.firstChild.textContent)"
        )
        values = [float(text) for text in shown if text.replace(".", "").isdigit()]
        assert len(values) == 55, "60 scored clips, of which 5 have no frame rate"
        assert values == sorted(values, reverse=direction == "descending")
        assert all(not text.replace(".", "").isdigit() for text in shown[55:])


def test_the_clips_can_be_filtered(browser: Browser, page: Path) -> None:
    browser.open(page)
    total = len(browser.all("tr.clip"))
    assert total == 64
    browser.choose("#clip-search", "RABBITS")
    assert browser.texts("tr.clip .prompt") == ["rabbits are running around"] * 5
    assert browser.texts(".told") == ["5 of 64 files"]
    browser.choose("#clip-model", "4")
    assert browser.texts("tr.clip .of bdi") == ["zeroscope"]
    browser.choose("#clip-search", "")
    assert len(browser.all("tr.clip")) == 13
    browser.choose("#clip-status", "failed")
    assert browser.texts("tr.clip .file") == ["zeroscope/empty 'file'.mp4"]
    browser.choose("#clip-search", "no such thing")
    assert browser.all("tr.clip") == []
    browser.one("tr.nothing button").click()
    assert len(browser.all("tr.clip")) == total
    browser.js("document.querySelector('#clip-found').click()")
    found = browser.texts("tr.clip .found-count")
    assert 0 < len(found) < total
    assert all(int(n) > 0 for n in found)


def test_a_clip_opens_from_the_keyboard_and_shows_everything(browser: Browser, page: Path) -> None:
    browser.open(page)
    clip = _with_findings(browser)
    button = browser.one(f"{clip} button.expand")
    assert button.get_attribute("aria-expanded") == "false"
    assert browser.all("video") == [], "no player is made before it is asked for"
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-expanded") == "true"
    detail = f"#{button.get_attribute('aria-controls')}"
    browser.wait("document.querySelector(arguments[0]).naturalWidth > 0", f"{detail} .strip img")
    assert browser.texts(f"{detail} .strip figcaption button")[0] == "frame 0"
    assert len(browser.all(f"{detail} .scores tbody tr")) == 8
    assert "unscored: has no reference clip" in "".join(browser.texts(f"{detail} .scores"))
    findings = int(browser.one(f"{clip} .badge").text)
    assert len(browser.all(f"{detail} .findings li")) == findings == len(browser.all(f"{detail} .timeline .found"))
    assert len(browser.all(f"{detail} .siblings li")) == 4
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-expanded") == "false"
    assert browser.all("video") == []


def test_the_preview_plays_and_findings_lead_to_their_frames(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.expand(_with_findings(browser))
    browser.wait("document.querySelector('video').readyState >= 2")
    assert browser.js("const v = document.querySelector('video'); return [v.muted, v.loop, v.controls, v.paused]") == [
        True,
        True,
        True,
        True,
    ], "who wants less motion starts it by hand"
    browser.js("document.querySelector('video').play()")
    browser.wait("document.querySelector('video').currentTime > 0.2")
    first = browser.js(
        "const run = JSON.parse(document.getElementById('run-data').textContent);"
        "return run.clips[document.querySelector('tr.clip').dataset.index].findings.map(f => [f.start, f.kind])"
    )
    duration = browser.js("return document.querySelector('video').duration")
    for i, (start, _) in enumerate(first):
        browser.js("document.querySelectorAll('.findings button.jump')[arguments[0]].click()", i)
        browser.wait("!document.querySelector('video').seeking && document.querySelector('video').paused")
        frame = browser.js("return document.querySelector('video').currentTime") / duration * 16
        assert start < frame < start + 1, "in the middle of the frame that the finding begins with"
        browser.wait("document.querySelector('.frame-number').textContent === arguments[0]", f"frame {start} of 16")
    start = first[-1][0]
    browser.js("document.querySelector('video').currentTime = 0")
    spans = browser.all(".timeline .found")
    browser.js("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", spans[-1])
    browser.wait("document.querySelector('.frame-number').textContent === arguments[0]", f"frame {start} of 16")
    head = float(browser.one(".playhead").get_attribute("x1").rstrip("%"))
    assert head == pytest.approx(100 * (start + 0.5) / 16)


def test_boxes_are_drawn_on_the_frames_they_are_of(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.choose("#clip-model", str(browser.texts("#clip-model option").index(PICTURED) - 1))
    browser.choose("#clip-search", "flicker")
    browser.expand("tr.clip")
    browser.wait("document.querySelector('video').readyState >= 2")
    flicker = browser.js(
        "const run = JSON.parse(document.getElementById('run-data').textContent);"
        "return run.clips[document.querySelector('tr.clip').dataset.index].findings.find(f => f.kind === 'flicker')"
    )
    for frame in range(flicker["start"] - 1, flicker["end"] + 2):
        browser.js("document.querySelector('video').currentTime = (arguments[0] + 0.5) / 8", frame)
        browser.wait("document.querySelector('.frame-number').textContent === arguments[0]", f"frame {frame} of 16")
        drawn = browser.js("return document.querySelectorAll('.boxes rect').length")
        assert drawn == (flicker["start"] <= frame <= flicker["end"])
        if drawn:
            stage, box = browser.js(
                "return ['.stage', '.boxes rect'].map(c => document.querySelector(c).getBoundingClientRect().toJSON())"
            )
            assert (box["x"] - stage["x"]) / stage["width"] == pytest.approx(40 / 256, abs=0.01)
            assert box["width"] / stage["width"] == pytest.approx(130 / 256, abs=0.01)


def test_frames_of_a_long_clip_are_found_in_its_shorter_preview(
    browser: Browser, make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", clips=1, media=1)
    row = next(row for row in run.clips if row.media)
    twice = dataclasses.replace(row, frames=32, duration=4.0, media_frames=16)
    finding = FindingRow("cogvideo", row.clip, "m", "freeze", 10, 12, None, None, "x")
    changed = dataclasses.replace(run, clips=tuple(twice if r is row else r for r in run.clips), findings=(finding,))
    HtmlReport().write(changed, run.path / "report.html")
    browser.open(run.path / "report.html")
    browser.expand("tr.clip")
    browser.wait("document.querySelector('video').readyState >= 2")
    browser.js("document.querySelector('.findings button.jump').click()")
    browser.wait("document.querySelector('.frame-number').textContent === 'frame 10 of 32'")
    assert browser.js("return document.querySelector('video').currentTime") == pytest.approx(10.5 / 8)


def test_a_clip_of_the_same_prompt_can_be_opened(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.choose("#clip-search", "rabbits cogvideo")
    browser.expand("tr.clip")
    browser.js("document.querySelector('.siblings button').click()")
    assert browser.js("return document.activeElement.querySelector('.file').textContent") == "ground-truth/07.mp4"
    assert browser.js("return document.activeElement.getAttribute('aria-expanded')") == "true"
    assert browser.texts(".told") == ["64 files"], "the filter that hid it is gone"


def test_pictures_beside_the_page_are_shown_or_missed_aloud(
    browser: Browser, make_run: Callable[..., Run], tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", clips=1, media=1)
    path = run.path / "report.html"
    HtmlReport(media_budget=0).write(run, path)
    browser.open(path)
    browser.choose("#clip-model", "0")
    browser.choose("#clip-status", "scored")
    browser.expand("tr.clip")
    browser.wait("document.querySelector('.strip img').naturalWidth > 0")
    browser.wait("document.querySelector('video').readyState >= 2")
    shutil.rmtree(run.path / "media")
    browser.open(path)
    browser.choose("#clip-model", "0")
    browser.choose("#clip-status", "scored")
    browser.expand("tr.clip")
    browser.wait("document.querySelectorAll('.panel .absent').length === 2")
    assert "is not beside this page" in browser.texts(".panel .absent")[0]


def test_two_thousand_clips_come_in_pages(browser: Browser, make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run(tmp_path / "big", clips=400)
    path = run.path / "report.html"
    HtmlReport().write(run, path)
    browser.open(path)
    assert len(browser.all("tr.clip")) == 100
    assert browser.texts(".pager span") == ["1–100 of 2,004"]
    spent = browser.js(
        "const t = performance.now(); const s = document.querySelector('#clip-search');"
        "s.value = 'rabbits'; s.dispatchEvent(new Event('input')); return performance.now() - t"
    )
    assert spent < 1000, "milliseconds"
    browser.choose("#clip-search", "")
    browser.js("document.querySelector('.pager button:last-child').click()")
    assert browser.texts(".pager span") == ["101–200 of 2,004"]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_is_never_wider_than_the_screen(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width=width)
    browser.expand(_with_findings(browser))
    assert browser.js("return [innerWidth, document.documentElement.scrollWidth <= innerWidth]") == [width, True]
    if width == 390:
        wide = browser.js(
            "return [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroller .versions') &&"
            " e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
        )
        assert wide == []


def test_on_a_phone_a_list_replaces_the_headers(browser: Browser, page: Path) -> None:
    browser.open(page, width=390)
    assert browser.one("#sort-ranked").is_displayed()
    browser.choose("#sort-ranked", "2 descending")
    values = browser.js(
        "return [...document.querySelector('#ranked').tBodies[0].rows].map(r => +r.cells[2].dataset.value)"
    )
    assert values == sorted(values, reverse=True)
    browser.choose("#sort-clips", "3 descending")
    assert browser.one("tr.clip td.sorted").is_displayed(), "the score by which they are sorted stands on every card"


def _lightness(browser: Browser, what: str = "backgroundColor") -> int:
    """Of a colour of the page, 0 to 255."""
    colour: list[int] = browser.js(
        "const c = document.createElement('canvas').getContext('2d');"
        "c.fillStyle = getComputedStyle(document.body)[arguments[0]];"
        "c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]",
        what,
    )
    return sum(colour[:3]) // 3


def test_light_and_dark_follow_the_system_and_the_button(browser: Browser, page: Path) -> None:
    browser.open(page, dark=True)
    assert _lightness(browser) < 60
    browser.open(page)
    assert _lightness(browser) > 200
    button = browser.one("#theme")
    seen = []
    for _ in range(3):
        button.click()
        seen.append((button.text, _lightness(browser) > 128))
    assert seen == [("Theme: light", True), ("Theme: dark", False), ("Theme: system", True)]


def test_in_print_all_is_open_and_controls_are_gone(browser: Browser, page: Path) -> None:
    browser.open(page)
    for _ in ("light", "dark"):
        browser.one("#theme").click()
    browser.command("Emulation.setEmulatedMedia", media="print", features=[])
    browser.js("dispatchEvent(new Event('beforeprint'))")
    assert _lightness(browser) > 200
    assert _lightness(browser, "color") < 60
    hidden = browser.js(
        "return ['.bar', '.tools', '#theme'].map(c => document.querySelector(c).getBoundingClientRect().height)"
    )
    assert hidden == [0, 0, 0]
    assert len(browser.all("#clip-list .strip img")) == 12
    assert browser.js("return [...document.querySelectorAll('details')].every(d => d.open)")
    browser.js("dispatchEvent(new Event('afterprint'))")
    pdf = base64.b64decode(browser.command("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Subtype /Image") + pdf.count(b"/Subtype/Image") >= 12, "the filmstrips are on paper"


def test_without_script_the_tables_are_there(browser: Browser, page: Path) -> None:
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.driver.get(page.as_uri())
        assert len(browser.all("#ranked tbody tr")) == 5
        assert "needs JavaScript" in browser.one("#clips").text
        assert "the file is empty (0 bytes)" in browser.one("#left-out").text
        assert not browser.one("#theme").is_displayed()
    finally:
        browser.command("Emulation.setScriptExecutionDisabled", value=False)


@pytest.fixture(scope="module")
def evident(
    make_run: Callable[..., Run], with_evidence: Callable[[Run], Run], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Run]:
    """A report whose findings have pictures; few fit into the page."""
    run = with_evidence(make_run(tmp_path_factory.mktemp("runs") / "evident", media=12))
    path = run.path / "report.html"
    HtmlReport(evidence_budget=30_000).write(run, path)
    return path, run


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_pictures_of_findings_are_shown_when_their_clip_is_opened(
    browser: Browser, evident: tuple[Path, Run], width: int, dark: bool
) -> None:
    browser.driver.get_log("browser")
    browser.open(evident[0], width=width, dark=dark)
    assert browser.all(".evidence") == [], "nothing is drawn before a clip is opened"
    clip = _with_findings(browser)
    browser.expand(clip)
    images = browser.all(".findings.pictured .evidence img")
    assert images
    browser.js("arguments[0].scrollIntoView()", images[0])
    browser.wait("[...document.querySelectorAll('.evidence img')].slice(0, 1).every(i => i.naturalWidth === 300)")
    finding = browser.one(".findings.pictured li")
    assert finding.find_element(By.CSS_SELECTOR, ".message bdi").text == "the picture jumps here <b>at once</b>"
    alt = images[0].get_attribute("alt") or ""
    assert alt.startswith(finding.find_element(By.CSS_SELECTOR, "b").text + ": 2 frames side by side, ")
    assert browser.js("return document.documentElement.scrollWidth") <= width
    inside = browser.js(
        "const p = document.querySelector('.panel').getBoundingClientRect(); const e = "
        "document.querySelector('.evidence').getBoundingClientRect(); return e.left >= p.left && e.right <= p.right"
    )
    assert inside
    assert [e for e in browser.driver.get_log("browser") if e["level"] in ("SEVERE", "WARNING")] == []


def test_a_finding_leads_to_its_frame_in_the_player_above(browser: Browser, evident: tuple[Path, Run]) -> None:
    browser.open(evident[0])
    browser.expand(_with_findings(browser))
    browser.wait("document.querySelector('video').readyState >= 2")
    jump = browser.all(".findings.pictured button.jump")[-1]
    start = int((jump.text.split("frames ")[-1].split("frame ")[-1]).split("–")[0])
    browser.js("arguments[0].scrollIntoView({block: 'start'}); arguments[0].click()", jump)
    browser.wait(f"document.querySelector('.frame-number').textContent === 'frame {start} of 16'")
    top = browser.js("return document.querySelector('.player').getBoundingClientRect().bottom")
    assert 0 < top <= 900, "the player is in view"


def test_a_linked_picture_that_is_gone_is_named(browser: Browser, evident: tuple[Path, Run]) -> None:
    path, _ = evident
    alone = path.parent.parent / "alone.html"
    alone.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    browser.open(alone)
    data = json.loads(browser.js("return document.getElementById('run-data').textContent"))
    linked = next(c["id"] for c in data["clips"] if any(f["picture"] and not f["picture"][1] for f in c["findings"]))
    browser.choose("#clip-search", linked)
    browser.expand("tr.clip")
    browser.js("document.querySelectorAll('.evidence img').forEach(i => { i.loading = 'eager' })")
    browser.wait("document.querySelectorAll('.findings .absent').length > 0")
    assert "evidence/" in browser.texts(".findings .absent")[0]
    assert "keep the page in its run folder" in browser.texts(".findings .absent")[0]
    browser.driver.get_log("browser")
