"""The leaderboard's page in a real browser, with the network off."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vidbench.leaderboard import find_runs, load_sources, make_board
from vidbench_reports.leaderboard.page import HtmlLeaderboard

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install 'vidbench[test]'")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.wait import WebDriverWait  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=http://127.0.0.1:9",
    "--autoplay-policy=no-user-gesture-required",
)
AXE_PACKAGES = ("axe_playwright_python", "axe_core_python")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if BROWSER is None or DRIVER is None:
        pytest.skip("the page is not tried in a browser: chromium and chromedriver are not both on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield made
    made.quit()


@pytest.fixture(scope="module")
def page(write_board_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four models, a yardstick and a baseline from two runs; three have previews."""
    folder = tmp_path_factory.mktemp("runs")
    prompts = ("a dog runs", "<img src=x onerror=alert(1)>", "كلب يجري", "the sea")
    models = {"alpha": 0.8, "beta": 0.5, "truth": 0.9}
    write_board_run(
        folder / "one",
        models,
        prompts=prompts,
        yardsticks=("truth",),
        media=("alpha", "beta"),
        unscored=("beta/2.mp4",),
    )
    write_board_run(
        folder / "two",
        {"gamma": 0.2, "baseline:frozen": 0.6, "truth": 0.9},
        prompts=prompts,
        yardsticks=("truth",),
        media=("gamma",),
        seed=1,
    )
    sources, notes = load_sources(find_runs([folder]))
    path = folder / "leaderboard.html"
    HtmlLeaderboard().write(make_board(sources, notes=notes), path)
    return path


def show(driver: Any, page: Path, width: int = 1280, *, dark: bool = False) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    features = [
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
    driver.get(page.as_uri())


def texts(driver: Any, css: str) -> list[str]:
    return list(driver.execute_script("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", css))


def choose(driver: Any, css: str, value: str) -> None:
    driver.execute_script(
        "const e = document.querySelector(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('change'))",
        css,
        value,
    )


def rows(driver: Any) -> list[str]:
    return texts(driver, ".ranked tbody th bdi")


def wait(driver: Any, script: str) -> Any:
    return WebDriverWait(driver, 10).until(lambda d: d.execute_script(f"return {script}"))


def test_it_opens_without_errors_and_fetches_nothing_but_its_previews(driver: Any, page: Path) -> None:
    driver.get("about:blank")  # the page before may still be asking for something
    driver.get_log("performance")
    driver.get_log("browser")
    show(driver, page)
    wait(driver, "document.querySelectorAll('.screen video').length > 0")
    assert [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    asked = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file:", "data:"))] == []
    assert driver.execute_script("return document.querySelectorAll('img[src=x]').length") == 0


def test_any_metric_sorts_with_missing_values_last(driver: Any, page: Path) -> None:
    show(driver, page)
    assert rows(driver) == ["alpha", "beta", "gamma", "truth", "baseline:frozen"]
    headers = driver.find_elements(By.CSS_SELECTOR, ".ranked thead button.sort")
    headers[2].send_keys(Keys.ENTER)  # quality_score, best first
    assert rows(driver) == ["truth", "alpha", "baseline:frozen", "beta", "gamma"]
    assert headers[2].find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    headers[2].send_keys(Keys.ENTER)
    assert rows(driver) == ["gamma", "beta", "baseline:frozen", "alpha", "truth"]
    headers[1].send_keys(Keys.ENTER)  # mean rank: what is not ranked comes last
    assert rows(driver)[:3] == ["alpha", "beta", "gamma"]


def test_the_player_keeps_videos_together_and_obeys_the_keyboard(driver: Any, page: Path) -> None:
    show(driver, page)
    wait(driver, "[...document.querySelectorAll('.screen video')].filter(v => v.readyState > 1).length === 3")
    deck = driver.find_element(By.CSS_SELECTOR, ".deck")
    driver.execute_script("arguments[0].focus()", deck)
    times = "[...document.querySelectorAll('.screen video')].map(v => v.currentTime)"
    deck.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert driver.execute_script(f"return {times}") == pytest.approx([0.25] * 3, abs=0.002)
    deck.send_keys(Keys.SPACE)
    wait(driver, f"{times}.every(t => t > 0.5)")
    running = driver.execute_script(f"return {times}")
    assert max(running) - min(running) < 0.25
    deck.send_keys(Keys.SPACE)
    wait(driver, "[...document.querySelectorAll('.screen video')].every(v => v.paused)")
    halted = driver.execute_script(f"return {times}")
    assert max(halted) - min(halted) < 0.002
    deck.send_keys(Keys.HOME)
    assert driver.execute_script(f"return {times}") == [0, 0, 0]
    assert texts(driver, ".deck-prompt") == ["a dog runs"]
    deck.send_keys(Keys.ARROW_DOWN)
    assert texts(driver, ".deck-prompt") == ["<img src=x onerror=alert(1)>"]
    deck.send_keys("1")
    assert texts(driver, ".screen .who bdi") == ["beta", "gamma"]


def test_models_without_a_preview_say_so_and_the_worst_is_marked(driver: Any, page: Path) -> None:
    show(driver, page)
    truth = driver.find_element(By.XPATH, "//div[contains(@class, 'deck')]//button[contains(., 'truth')]")
    truth.send_keys(Keys.ENTER)
    assert texts(driver, ".screen .absent") == ["no preview in the run folder"]
    assert texts(driver, ".screen.worst .who bdi") == ["gamma"]


def test_worst_clips_come_first_and_open_side_by_side(driver: Any, page: Path) -> None:
    show(driver, page)
    values = [float(v) for v in texts(driver, ".worst td.number")]
    assert values == sorted(values)
    assert len(values) == 11  # three models and four prompts; one clip has no score
    assert texts(driver, ".worst th bdi")[:4] == ["gamma"] * 4
    prompt = texts(driver, ".worst .prompt")[0]
    driver.find_element(By.CSS_SELECTOR, ".worst button.jump").send_keys(Keys.ENTER)
    assert texts(driver, ".deck-prompt") == [prompt]
    choose(driver, "#order-1", "worst some_error")
    assert texts(driver, "#value-1") != []
    assert driver.execute_script("return document.querySelector('#value-1').value") == "some_error"


def test_pairs_show_every_metric_from_both_sides(driver: Any, page: Path) -> None:
    show(driver, page)
    assert texts(driver, ".pairs tbody tr:first-child td")[1:] == ["3 : 0", "3 : 0"]
    choose(driver, ".pair-metric", "quality_score")
    table = driver.execute_script(
        "return [...document.querySelectorAll('.pairs tbody tr')]"
        ".map(r => [...r.cells].slice(1).map(c => [c.className, c.firstChild.textContent]))"
    )
    assert table[0][1][0] == "ahead"
    assert table[1][0][0] == "behind"
    assert table[0][1][1] == "+" + table[1][0][1].removeprefix("-")
    choose(driver, ".pair-metric", "")
    assert texts(driver, ".pairs tbody tr:first-child td")[1:] == ["3 : 0", "3 : 0"]


def test_a_line_of_the_figure_can_be_followed(driver: Any, page: Path) -> None:
    show(driver, page)
    key = driver.find_element(By.CSS_SELECTOR, ".key[data-line='1']")
    key.send_keys(Keys.ENTER)
    assert key.get_attribute("aria-pressed") == "true"
    picked = driver.execute_script(
        "return [...document.querySelectorAll('.line.picked title')].map(t => t.textContent)"
    )
    assert picked == ["beta"]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_never_wider_than_the_screen(driver: Any, page: Path, width: int) -> None:
    show(driver, page, width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


def test_on_a_phone_a_card_holds_what_is_sorted_by_and_the_rest_on_demand(driver: Any, page: Path) -> None:
    show(driver, page, 390)
    visible = (
        "return [...document.querySelectorAll('.ranked tbody tr:first-child td')].filter(c => c.offsetParent).length"
    )
    assert driver.execute_script(visible) == 1
    choose(driver, "#sort-1", "2 descending")
    assert driver.execute_script(visible) == 2
    driver.find_element(By.CSS_SELECTOR, ".choose input").click()
    assert driver.execute_script(visible) == 4


def test_printing_leaves_out_what_only_moves(driver: Any, page: Path) -> None:
    show(driver, page)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    shown = "return [...document.querySelectorAll(arguments[0])].some(e => e.offsetParent !== null)"
    assert not driver.execute_script(shown, ".deck, .bar, .tools")
    assert driver.execute_script(shown, ".ranked")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def _axe() -> str:
    """axe-core's script: from VIDBENCH_AXE (a path), or from an installed wheel that carries it."""
    given = os.environ.get("VIDBENCH_AXE")
    if given:
        return Path(given).read_text(encoding="utf-8")
    for package in AXE_PACKAGES:
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            script = Path(found.origin).parent / "axe.min.js"
            if script.is_file():
                return script.read_text(encoding="utf-8")
    pytest.skip("axe-core is not here: pip install axe-core-python, or point VIDBENCH_AXE at axe.min.js")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(driver: Any, page: Path, width: int, dark: bool) -> None:
    script = _axe()
    show(driver, page, width, dark=dark)
    driver.execute_script(script)
    found = driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "const told = v => [v.impact, v.id, v.nodes.map(n => n.html.slice(0, 200))];"
        "axe.run(document).then(r => done(r.violations.map(told)))"
    )
    assert [violation for violation in found if violation[0] in ("serious", "critical")] == []
