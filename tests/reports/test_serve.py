"""The server: what it answers, what it refuses, and the page in a real browser over ten thousand clips."""

from __future__ import annotations

import dataclasses
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pytest

from vidbench.files import folder_id
from vidbench.results import ClipRow, FindingRow, Run, ScoreRow
from vidbench_reports.clip_index import ClipIndex, Query
from vidbench_reports.server import HOST, Server

NASTY = "<img src=x onerror=alert(1)>\"'&"


def served(*runs: Run) -> tuple[Server, threading.Thread]:
    server = Server(runs)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    return server, thread


@pytest.fixture(scope="module")
def run(make_run: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with pictures of twelve clips; the original of one more lies in the clip folder."""
    root = tmp_path_factory.mktemp("served")
    made = make_run(root / "run", media=12)
    clips = root / "clips"
    (clips / "zeroscope").mkdir(parents=True)
    (clips / "zeroscope" / "00.mp4").write_bytes(bytes(range(256)))
    (root / "secret.mp4").write_bytes(b"secret")
    (clips / "zeroscope" / "01.mp4").symlink_to(root / "secret.mp4")
    (made.path / "evidence").mkdir()
    (made.path / "evidence" / "x-0.jpg").write_bytes(b"picture")
    (made.path / "run.json").write_text("{}", encoding="utf-8")
    info = dataclasses.replace(made.info, folder=str(clips), settings={"folder_id": folder_id(clips)})
    findings = (dataclasses.replace(made.findings[0], evidence="evidence/x-0.jpg"), *made.findings[1:])
    odd = dataclasses.replace(next(r for r in made.clips if r.clip == "zeroscope/03.mp4"), clip="../secret.mp4")
    rows = tuple(odd if r.clip == "zeroscope/03.mp4" else r for r in made.clips)
    return dataclasses.replace(made, info=info, findings=findings, clips=rows)


@pytest.fixture(scope="module")
def server(run: Run) -> Iterator[Server]:
    made, thread = served(run)
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body; the path goes out as it is written."""
    connection = http.client.HTTPConnection(HOST, server.server_address[1], timeout=30)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, body


def clips(server: Server, **query: Any) -> dict[str, Any]:
    status, _, body = ask(server, f"/run/0/clips?{urlencode(query)}")
    assert status == 200, body
    answer: dict[str, Any] = json.loads(body)
    return answer


def test_pages_are_the_whole_in_order(server: Server, run: Run) -> None:
    size = 7
    pages = [
        clips(server, page=n, size=size, column=0, direction="ascending") for n in range(-(-len(run.clips) // size))
    ]
    assert all(page["total"] == len(run.clips) for page in pages)
    found = [clip["index"] for page in pages for clip in page["clips"]]
    assert sorted(found) == list(range(len(run.clips)))
    beyond = clips(server, page=999, size=size)
    assert beyond["page"] == len(pages) - 1


@pytest.mark.parametrize("direction", ["ascending", "descending"])
def test_sorting_by_a_score_is_the_order_of_the_scores_with_the_unscored_last(
    server: Server, run: Run, direction: str
) -> None:
    names = [facts.name for facts in server.indices[0].data.metrics]
    column = 3 + names.index("motion_magnitude")
    answer = clips(server, column=column, direction=direction, size=500)
    values = [clip["scores"][column - 3][0] for clip in answer["clips"]]
    known = [v for v in values if v is not None]
    assert len(known) < len(values)
    assert values[: len(known)] == sorted(known, reverse=direction == "descending")
    of_run = {s.clip: s.value for s in run.scores if s.metric == "motion_magnitude"}
    assert sorted(known) == sorted(v for row in run.clips if (v := of_run.get(row.clip)) is not None)


def test_filters_keep_what_matches(server: Server, run: Run) -> None:
    index = server.indices[0]
    number = index.data.models.index("cogvideo")
    of_model = clips(server, model=number, status="scored", size=500)
    assert {clip["id"] for clip in of_model["clips"]} == {
        index.short(i)["id"] for i, row in enumerate(run.clips) if row.model == "cogvideo" and row.status == "scored"
    }
    listed = {row.clip for row in run.clips}
    kinds = {f.clip for f in run.findings if f.kind == "jump_cut"} & listed
    assert clips(server, kind="jump_cut")["total"] == len(kinds)
    assert clips(server, found=1)["total"] == len({f.clip for f in run.findings} & listed)
    assert clips(server, text="DANCING cogvideo")["total"] == 1
    assert clips(server, text="no such thing")["clips"] == []


def test_a_clip_tells_all_that_its_panel_shows(server: Server, run: Run) -> None:
    number = next(i for i, row in enumerate(run.clips) if row.clip == run.findings[0].clip)
    status, _, body = ask(server, f"/run/0/detail/{number}")
    assert status == 200
    whole = json.loads(body)
    assert whole["prompt"] == run.clips[number].prompt
    assert whole["findings"][0]["picture"] == ["evidence/x-0.jpg", False]
    assert whole["siblings"]
    assert {clip["prompt"] for clip in whole["siblings"]} == {whole["prompt"]}
    place = json.loads(ask(server, f"/run/0/place?clip={number}&column=0&direction=ascending")[2])
    assert clips(server, page=place, size=1, column=0, direction="ascending")["clips"][0]["index"] == number
    assert json.loads(ask(server, f"/run/0/place?clip={number}&text=no-such-thing")[2]) == -1


def test_pictures_previews_and_clips_are_served_whole_and_in_parts(server: Server, run: Run) -> None:
    pictured = next(row for row in run.clips if row.media is not None)
    status, headers, body = ask(server, f"/run/0/media/{pictured.media}.mp4")
    assert (status, headers["content-type"]) == (200, "video/mp4")
    assert body == (run.path / "media" / f"{pictured.media}.mp4").read_bytes()
    assert ask(server, "/run/0/evidence/x-0.jpg")[2] == b"picture"
    number = next(i for i, row in enumerate(run.clips) if row.clip == "zeroscope/00.mp4")
    path = f"/run/0/clip/{number}"
    assert ask(server, path)[2] == bytes(range(256))
    for asked, expected, told in (
        ("bytes=10-19", bytes(range(10, 20)), "bytes 10-19/256"),
        ("bytes=250-", bytes(range(250, 256)), "bytes 250-255/256"),
        ("bytes=-6", bytes(range(250, 256)), "bytes 250-255/256"),
        ("bytes=250-999", bytes(range(250, 256)), "bytes 250-255/256"),
    ):
        status, headers, body = ask(server, path, Range=asked)
        assert (status, body, headers["content-range"]) == (206, expected, told)
    assert ask(server, path, Range="bytes=256-")[0] == 416
    status, headers, body = ask(server, path, "HEAD")
    assert (status, headers["content-length"], body) == (200, "256", b"")


def test_nothing_else_is_served(server: Server, run: Run) -> None:
    link, odd = (
        next(i for i, row in enumerate(run.clips) if row.clip == name) for name in ("zeroscope/01.mp4", "../secret.mp4")
    )
    for path in (
        "/run/0/run.json",
        "/run/0/media/../run.json",
        "/run/0/media/%2e%2e%2frun.json",
        "/run/0/media/..%2f..%2fsecret.mp4",
        "/run/0/evidence/../run.json",
        "/run/0/evidence/..%2fx-0.jpg",
        "/run/0/clips/../run.json",
        "/../../etc/passwd",
        "//etc/passwd",
        "/run/1/",
        "/run/-1/",
        "/run/0/media/x.jpg%00.mp4",
        f"/run/0/clip/{len(run.clips)}",
        "/run/0/clip/-1",
        "/run/0/clip/¹",
        f"/run/0/clip/{link}",  # a link out of the clip folder
        f"/run/0/clip/{odd}",  # a clip whose name leads out of it
    ):
        status, _, body = ask(server, quote(path, safe="/%.?=&"))
        assert status == 404, path
        assert b"secret" not in body
    for method in ("POST", "PUT", "DELETE"):
        assert ask(server, "/run/0/clips", method)[0] == 501


def test_a_clip_folder_that_is_another_one_now_is_not_served(run: Run) -> None:
    index = ClipIndex(dataclasses.replace(run, info=dataclasses.replace(run.info, settings={"folder_id": "another"})))
    assert all(index.clip_path(i) is None for i in range(len(run.clips)))


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "", "127.0.0.1.evil.example:{port}"]
)
@pytest.mark.parametrize("path", ["/", "/run/0/clips", "/run/0/evidence/x-0.jpg"])
def test_another_host_is_refused(server: Server, host: str, path: str) -> None:
    status, _, body = ask(server, path, Host=host.format(port=server.server_address[1]))
    assert status == 403
    assert body == b"this server answers only to its own address"


def test_its_own_names_are_answered_and_only_this_machine_can_ask(server: Server) -> None:
    port = server.server_address[1]
    assert ask(server, "/", Host=f"localhost:{port}")[0] == 200
    assert server.server_address[0] == "127.0.0.1"
    status, headers, _ = ask(server, "/")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("page=x", "page is a whole number"),
        ("page=-1", "page is a whole number"),
        ("size=501", "size is a whole number from 1 to 500"),
        ("column=99", "column is a whole number"),
        ("model=99", "model is a whole number"),
        ("status=lost", "status is scored, failed or skipped"),
        ("direction=up", "direction is ascending or descending"),
        ("&".join(f"a{i}=1" for i in range(30)), "fields"),
    ],
)
def test_a_wrong_question_gets_a_sentence(server: Server, query: str, told: str) -> None:
    status, headers, body = ask(server, f"/run/0/clips?{query}")
    assert status == 400
    assert told in body.decode()
    assert headers["content-type"].startswith("text/plain")


def large_run(made: Run, clips: int = 10_000) -> Run:
    """Many clips of four models, with prompts, scores and some findings, hostile words among them."""
    rng = np.random.default_rng(0)
    metrics = tuple(f for f in made.info.metrics if f.granularity == "clip")
    rows, scores, findings = [], [], []
    for i in range(clips):
        model = f"model-{i % 4}"
        name = f"{model}/{i // 4}.mp4"
        prompt = f"{NASTY} {i // 4}" if i // 4 == 17 else f"prompt {i // 4}"
        rows.append(ClipRow(name, model, "scored", frames=16, fps=8.0, width=64, height=48, prompt=prompt))
        for facts, value in zip(metrics, rng.random(len(metrics)), strict=True):
            lost = i % 97 == 0
            scores.append(ScoreRow(model, name, facts.name, None if lost else float(value), "lost" if lost else None))
        if i % 50 == 0:
            findings.append(FindingRow(model, name, metrics[0].name, "teleport", 3, 5, 0.4, 0.6, NASTY, 0.9, NASTY))
    return dataclasses.replace(
        made,
        info=dataclasses.replace(made.info, metrics=metrics),
        clips=tuple(rows),
        scores=tuple(scores),
        findings=tuple(findings),
    )


def test_the_server_sorts_ten_thousand_as_python_does(run: Run) -> None:
    large = large_run(run)
    index = ClipIndex(large)
    name = index.data.metrics[2].name
    values = {s.clip: s.value for s in large.scores if s.metric == name}
    expected = sorted(
        (i for i, row in enumerate(large.clips) if row.model == "model-3"),
        key=lambda i: (values[large.clips[i].clip] is None, values[large.clips[i].clip], i),
    )
    found = index.matching(Query(model=3, column=5, direction="ascending"))
    assert found.tolist() == expected
    by_prompt = index.matching(Query(column=0, direction="ascending"))
    prompts = [large.clips[i].prompt for i in by_prompt if "img" not in str(large.clips[i].prompt)]
    assert prompts == sorted(prompts, key=lambda p: int(p.split()[1]))  # 2 comes before 10


@pytest.fixture(scope="module")
def driver(new_driver: Callable[[], Any]) -> Iterator[Any]:
    made = new_driver()
    yield made
    made.quit()


def js(driver: Any, script: str, *arguments: Any) -> Any:
    return driver.execute_script(f"return {script}", *arguments)


def until(driver: Any, script: str, *arguments: Any) -> Any:
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(driver, 30).until(lambda d: js(d, script, *arguments))


def test_ten_thousand_clips_in_a_browser(driver: Any, run: Run) -> None:
    large = large_run(run)
    made, thread = served(large, run)
    try:
        driver.get(made.address)
        links = js(driver, "[...document.querySelectorAll('a[href^=\"/run/\"]')].map(a => a.getAttribute('href'))")
        assert links == ["/run/0/", "/run/1/"]
        driver.get(f"{made.address}run/0/")
        until(driver, "document.querySelectorAll('tr.clip').length === 100")
        assert js(driver, "document.querySelector('.told').textContent") == "10,000 files"
        size = js(driver, "document.documentElement.outerHTML.length")
        assert size < 2_000_000, "the page grows with the run"

        # the next page, sorted by a metric: the server's order
        header = "document.querySelectorAll('#clip-table thead th')[3].querySelector('button')"
        js(driver, f"{header}.click()")
        until(driver, "document.querySelectorAll('#clip-table thead th')[3].getAttribute('aria-sort') !== 'none'")
        js(driver, "[...document.querySelectorAll('.pager button')].at(-1).click()")
        until(driver, "document.querySelector('.pager span')?.textContent.startsWith('101–200')")
        shown = js(driver, "[...document.querySelectorAll('tr.clip')].map(r => Number(r.dataset.index))")
        first = js(driver, "document.querySelectorAll('#clip-table thead th')[3].getAttribute('aria-sort')")
        expected = made.indices[0].matching(Query(column=3, direction=first))
        assert shown == expected[100:200].tolist()

        # a filter, then a clip opened: hostile words are text
        js(
            driver,
            "(() => { const e = document.querySelector('#clip-search'); e.value = arguments[0]; "
            "e.dispatchEvent(new Event('input')); })()",
            "onerror=alert(1)",
        )
        until(driver, "document.querySelector('.told').textContent === '4 of 10,000 files'")
        js(driver, "document.querySelector('tr.clip button.expand').click()")
        until(driver, "document.querySelector('.panel blockquote') !== null")
        assert js(driver, "document.querySelector('.panel blockquote').textContent") == f"{NASTY} 17"
        assert js(driver, "document.querySelectorAll('img[onerror]').length") == 0
        others = js(driver, "document.querySelectorAll('.panel .siblings li').length")
        assert others == 3

        # only with findings, and of one kind
        js(
            driver,
            "(() => { const e = document.querySelector('#clip-search'); e.value = ''; "
            "e.dispatchEvent(new Event('input')); document.querySelector('#clip-found').click(); })()",
        )
        until(driver, "document.querySelector('.told').textContent === '200 of 10,000 files'")
        js(driver, "document.querySelector('tr.clip button.expand').click()")
        until(driver, "document.querySelector('.findings .message bdi')?.textContent === arguments[0]", NASTY)
    finally:
        made.shutdown()
        made.server_close()
        thread.join()
    errors = [e for e in driver.get_log("browser") if e["level"] == "SEVERE"]
    assert errors == []


def test_a_clip_plays_and_its_evidence_is_seen(driver: Any, server: Server, run: Run) -> None:
    driver.get(server.address)
    until(driver, "document.querySelectorAll('tr.clip').length > 20")
    with_picture = next(i for i, row in enumerate(run.clips) if row.clip == run.findings[0].clip)
    js(driver, f"document.querySelector('tr.clip[data-index=\"{with_picture}\"] button.expand').click()")
    until(driver, "document.querySelector('.panel video')?.readyState >= 2")
    assert js(driver, "document.querySelector('.panel video').duration") > 1
    until(driver, "document.querySelector('.panel .strip img')?.naturalWidth > 0")
    # the picture in the test's run is no JPEG: the panel says that it can't be shown instead of showing nothing
    until(driver, "[...document.querySelectorAll('.panel .absent')].some(p => p.textContent.includes('x-0.jpg'))")
    seen = "document.querySelector('.frame-number').textContent"
    js(driver, "document.querySelector('.panel button.jump').click()")
    until(driver, f"{seen} === arguments[0]", f"frame {run.findings[0].start} of 16")


def test_a_server_that_is_gone_is_told(driver: Any, server: Server) -> None:
    driver.get(server.address)
    until(driver, "document.querySelectorAll('tr.clip').length > 20")
    driver.execute_cdp_cmd("Network.enable", {})
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **network})
    try:
        js(driver, "document.querySelector('#clip-found').click()")
        until(driver, "document.querySelector('.told').textContent.includes('is vidbench serve still running?')")
    finally:
        driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **network})


HEED = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


def test_the_command_serves_until_it_is_interrupted(vidbench: Callable[..., Any], tmp_path: Path) -> None:
    from vidbench.video import encode_h264

    (tmp_path / "clips").mkdir()
    rng = np.random.default_rng(0)
    encode_h264(tmp_path / "clips" / "0.mp4", rng.integers(0, 255, (4, 32, 32, 3), dtype=np.uint8), 8.0)
    done = vidbench("run", tmp_path / "clips", "--out", tmp_path / "run", "--metrics", "black_frames", "-q", "-j", 1)
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(
        # A shell that starts tests in the background lets them ignore what Ctrl-C sends.
        [sys.executable, "-c", f"{HEED}; from vidbench.cli import main; main()", "serve", str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"1 run, 1 file: (http://127\.0\.0\.1:\d+/)", line)
        assert address is not None, line
        with urllib.request.urlopen(f"{address[1]}run/0/clip/0") as answer:
            assert answer.read() == (tmp_path / "clips" / "0.mp4").read_bytes()
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{address[1]}run.json")
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_folder_that_is_no_run(vidbench: Callable[..., Any], tmp_path: Path) -> None:
    done = vidbench("serve", tmp_path)
    assert done.returncode == 2
    assert "is not a run folder" in done.stderr


def test_a_port_that_is_taken(run: Run) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        with pytest.raises(OSError):
            Server([run], other.getsockname()[1])
