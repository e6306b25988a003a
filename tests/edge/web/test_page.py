"""The live page in a real browser, from the first picture to a connection that is lost and found."""

import json
import os
import shutil
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.journal import Journal
from edge.records import Incident
from edge.web.side import WebSide
from tests.edge.web import fake_line
from tests.edge.web.conftest import painted
from tests.edge.web.test_side import children, wait_for

webdriver = pytest.importorskip("selenium.webdriver")

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")

# The lowest contrast between any text on the page and what is behind it, after WCAG 2.2; large text counts 4.5/3.
LOWEST_CONTRAST = """
  const light = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] > 0.8) return colour;
    }
    return [255, 255, 255];
  };
  let worst = ["", 99];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    if (element.closest(".skip, .stage, :disabled")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [luminance(parse(style.color)), luminance(behind(element))].sort((x, y) => y - x);
    const big = parseFloat(style.fontSize) >= 24;
    const ratio = ((a + 0.05) / (b + 0.05)) * (big ? 1.5 : 1);
    if (ratio < worst[1]) worst = [element.textContent, ratio];
  }
  return worst;
"""
UNNAMED = """
  return [...document.querySelectorAll("button, a, input, [role=img]")]
    .filter((e) => !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map((e) => e.outerHTML);
"""


class Belt:
    """A fake line that runs in a thread and obeys the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.incidents: list[Incident] = []
        self.as_new()
        config = fake_line.config(folder, shadow=True)
        book = Journal(folder / "line.db", None, ("colours 1", "0" * 64), lambda *said: None)
        for item in range(30):
            decision, _ = fake_line.decision_at(4, 60.0)
            book.decided(replace(decision, item_id=item, lane="left", decided_at=time.monotonic() - 60 * item))
        book.stop(5.0)
        config = config.model_copy(update={"journal": config.journal.model_copy(update={"path": folder / "line.db"})})
        self.newest: dict[str, Any] = {}
        self.side = WebSide(config, fake_line.facts(config), self._obey, self._report)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def as_new(self) -> None:
        """Nothing was told it yet, and nothing is the matter."""
        self.commands: list[dict[str, Any]] = []
        self.paused = False
        self.armed = True
        self.broken = False
        self.besides: dict[str, Any] = {}

    def start(self) -> None:
        self.side.start()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self.side.stop()

    def _obey(self, command: dict[str, Any]) -> None:
        self.commands.append(command)
        if command["command"] == "pause":
            self.paused = command["paused"]
        if command["command"] == "arm":
            self.armed = command["armed"]

    def _report(self, incident: Incident) -> None:
        self.incidents.append(incident)
        self.side.incident(incident)

    def _run(self) -> None:
        start, decided = time.monotonic() - 60, 100
        while not self._stopping.wait(0.1):
            t = time.monotonic() - start
            items = fake_line.items_at(t)
            for item in items:
                if item["lane"] and item["id"] > decided:
                    decided = item["id"]
                    self.side.decided(*fake_line.decision_at(decided - 1, t), fake_line.SPENT_S)
                    self.side.ended(decided, "fired", fake_line.SPENT_S | {"output": 0.0011})
            if self.side.wants_picture:
                self.side.picture(fake_line.frame_at(t), items)
            state = fake_line.state_at(t, decided, self.paused, self.armed) | self.besides
            if self.broken:
                state["health"]["camera"] = {"ok": False, "text": "no picture for 3 s"}
            self.side.state(state)
            self.newest = state


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-sync"
    for flag in (*flags.split(), "disable-component-update", f"user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    yield driver
    driver.quit()


@contextmanager
def running(folder: Path) -> Iterator[Belt]:
    belt = Belt(folder)
    belt.start()
    try:
        # By now all its threads run: those of the lasting belt are none that a test has left behind.
        with urllib.request.urlopen(belt.side.url + "healthz", timeout=60):
            yield belt
    finally:
        belt.stop()


@contextmanager
def shown(browser: Any, belt: Belt) -> Iterator[Any]:
    browser.get_log("browser")
    browser.get(belt.side.url)
    until(lambda: text(browser, "status-text") == "Sorting")
    try:
        yield browser
    finally:
        browser.get("about:blank")  # leave the page, so that the web side can be stopped without an error on it


@pytest.fixture(scope="module")
def lasting_belt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Belt]:
    with running(tmp_path_factory.mktemp("belt")) as belt:
        yield belt


@pytest.fixture
def belt(lasting_belt: Belt) -> Belt:
    """The belt that all tests share but those that tell of incidents, which stay, or end its web side."""
    lasting_belt.as_new()
    return lasting_belt


@pytest.fixture
def page(browser: Any, belt: Belt) -> Iterator[Any]:
    with shown(browser, belt) as page:
        yield page


@pytest.fixture
def own_belt(tmp_path: Path) -> Iterator[Belt]:
    with running(tmp_path) as belt:
        yield belt


@pytest.fixture
def own_page(browser: Any, own_belt: Belt) -> Iterator[Any]:
    with shown(browser, own_belt) as page:
        yield page


def until(what: Callable[[], Any]) -> Any:
    return wait_for(what, 30, every_s=0.05)  # each look costs three processes some work


def text(browser: Any, element: str) -> str:
    return str(browser.execute_script(f"return document.getElementById('{element}').textContent"))


def number(browser: Any, element: str) -> float:
    return float(text(browser, element).replace(",", "").replace("–", "-1"))


def press(browser: Any, selector: str) -> None:
    browser.find_element("css selector", selector).click()


def complaints(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in {"SEVERE", "WARNING"}]


def counts(page: Any) -> dict[str, int]:
    """The items of each lane, as the page shows them."""
    return {
        row.get_attribute("data-lane"): int(row.find_element("class name", "lane-items").text.replace(",", ""))
        for row in page.find_elements("css selector", ".lane")
    }


def test_the_page_lives_and_complains_of_nothing(page: Any, belt: Belt) -> None:
    items = number(page, "items")
    until(lambda: number(page, "items") > items)
    until(lambda: page.execute_script("return document.querySelectorAll('.decision img').length") >= 3)
    until(lambda: page.execute_script("return document.querySelectorAll('.box').length") >= 3)
    until(lambda: page.execute_script("return document.querySelector('.decision img').naturalWidth") > 50)
    drawn = page.execute_script(
        "const c = document.getElementById('picture');"
        "return [c.width, c.height, [...c.getContext('2d').getImageData(480, 270, 1, 1).data]]"
    )
    assert drawn[:2] == [960, 540]
    assert drawn[2][3] == 255
    assert max(drawn[2][:3]) > 40
    assert page.execute_script("return document.querySelectorAll('.gate').length") == 1
    assert page.execute_script("return document.querySelectorAll('.lane').length") == 3
    assert number(page, "speed") == 300
    assert number(page, "p99") == 26.4
    red = (  # while there is one: each goes its way
        "const box = [...document.querySelectorAll('.box')].find((box) => box.innerText.includes('red'));"
        "return box && [box.dataset.item, box.innerText.split(/\\s+/)];"
    )
    box, tag = until(lambda: page.execute_script(red))
    assert tag == [box, "red"]
    assert text(page, "model-name") == "colours 1, on cpu"
    file_and_why = page.execute_script("return document.getElementById('model-file').textContent")
    assert file_and_why == f"SHA-256 {'0' * 64}\nit was asked for"
    until(lambda: counts(page) == {lane: found["items"] for lane, found in belt.newest["lanes"].items()})
    bars = page.execute_script("return document.querySelectorAll('#histogram .bar-of').length")
    assert bars >= 6
    told = page.find_element("id", "histogram").get_attribute("aria-label")
    assert "votes took, in milliseconds" in told
    assert [row.text.split()[0] for row in page.find_elements("css selector", "#legend li")] == [
        "waiting", "finding", "queueing", "classifying", "voting", "output", "to",
    ]  # fmt: skip
    until(lambda: text(page, "shadow-name") == "colours 1")
    until(lambda: "in the same lane" in text(page, "shadow-of"))
    assert complaints(page) == []


def test_of_a_lane_that_nothing_came_to_the_page_says_so_and_no_purity(page: Any, belt: Belt) -> None:
    def said(lane: str) -> list[str]:
        row = page.find_element("css selector", f".lane[data-lane='{lane}']")
        return [row.find_element("class name", name).text for name in ("lane-classes", "lane-quality")]

    until(lambda: said("left")[1] == "purity 99.8 %   yield 99.1 %")
    nothing: dict[str, Any] = {"items": 0, "classes": {}}
    truth = {"purity": None, "yield": None}
    belt.besides = {
        "lanes": {"left": nothing, "right": nothing, "rest": {"items": 5, "classes": {"green": 5}}},
        "simulated": {
            "sort_accuracy": 0.0,
            "lanes": {"left": truth, "right": truth | {"yield": 0.0}, "rest": truth | {"purity": 0.0}},
        },
    }
    until(lambda: said("left") == ["nothing has come yet", ""])
    assert said("right") == ["nothing has come yet", "yield 0.0 %"]
    assert said("rest") == ["green 5", "purity 0.0 %"]
    belt.besides = belt.besides | {"simulated": None}
    until(lambda: said("rest") == ["green 5", "purity not known"])
    assert said("left") == ["nothing has come yet", ""]


def test_the_shift_so_far_is_drawn_from_the_journal(page: Any) -> None:
    until(lambda: page.find_element("id", "shift").is_displayed())
    told = page.find_element("id", "shift-plot").get_attribute("aria-label")
    assert told.startswith("30 items in the last 8 hours")
    assert "in 10 min" in text(page, "shift-axis")
    heights = page.execute_script("return [...document.querySelectorAll('#shift-plot i')].map((i) => i.offsetHeight)")
    assert sum(height > 0 for height in heights) in {3, 4}


def test_boxes_belong_to_the_picture_they_lie_on(page: Any) -> None:
    """The middle of every box is the hole of its part, which is dark and grey."""
    script = """
      const canvas = document.getElementById("picture"), pen = canvas.getContext("2d");
      return [...document.querySelectorAll(".box")].map((box) => {
        const [x, y] = [parseFloat(box.style.left) + parseFloat(box.style.width) / 2,
                        parseFloat(box.style.top) + parseFloat(box.style.height) / 2];
        return [...pen.getImageData(canvas.width * x / 100, canvas.height * y / 100, 1, 1).data].slice(0, 3);
      });
    """
    for _ in range(10):
        for colour in until(lambda: page.execute_script(script)):
            assert max(colour) - min(colour) < 60  # the parts' own colours: 120 and more
        time.sleep(0.1)


def test_pausing_takes_one_press_and_resuming_asks_first(page: Any, belt: Belt) -> None:
    press(page, "#pause")
    until(lambda: text(page, "status-text").startswith("Paused"))
    assert "rest" in text(page, "status-text")
    assert text(page, "pause") == "Resume"
    press(page, "#pause")
    press(page, "#resume button[value='']")
    assert belt.paused
    press(page, "#pause")
    press(page, "#resume button[value='resume']")
    until(lambda: text(page, "status-text") == "Sorting")
    assert belt.commands == [{"command": "pause", "paused": True}, {"command": "pause", "paused": False}]


def test_the_keyboard_alone_is_enough(page: Any, belt: Belt) -> None:
    from selenium.webdriver.common.keys import Keys

    order = []
    for _ in range(4):
        page.switch_to.active_element.send_keys(Keys.TAB)
        active = page.switch_to.active_element
        order.append(active.get_attribute("id") or active.get_attribute("class"))
    assert order == ["skip", "arm", "pause", "theme"]
    page.find_element("id", "pause").send_keys(Keys.ENTER)
    until(lambda: belt.paused)
    page.find_element("id", "pause").send_keys(Keys.ENTER)
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert belt.paused


def test_disarming_takes_one_press_and_arming_asks_first(page: Any, belt: Belt) -> None:
    press(page, "#arm")
    until(lambda: text(page, "status-text").startswith("Disarmed: everything goes to rest"))
    assert text(page, "arm") == "Arm outputs"
    press(page, "#arm")
    press(page, "#arming button[value='']")
    assert not belt.armed
    press(page, "#arm")
    press(page, "#arming button[value='arm']")
    until(lambda: text(page, "status-text") == "Sorting")
    assert belt.commands == [{"command": "arm", "armed": False}, {"command": "arm", "armed": True}]


def test_an_item_shows_its_deadline_ledger_and_is_told_what_it_really_is(page: Any, belt: Belt) -> None:
    card = until(lambda: page.find_elements("css selector", ".decision .card"))[0]
    page.execute_script("arguments[0].focus()", card)  # a hand near the cards makes them stand still
    card = page.switch_to.active_element
    item = int(card.find_element("xpath", "..").get_attribute("data-item"))
    card.send_keys("\n")
    until(lambda: text(page, "item-title").startswith(f"Item {item}: "))
    until(lambda: "1.1 ms" in text(page, "item-ledger"))
    ledger = text(page, "item-ledger")
    for said in (
        "Waiting2.1 ms",
        "Finding3.4 ms",
        "Queueing0.8 ms",
        "Classifying6.2 ms",
        "Voting0.1 ms",
        "Output1.1 ms",
    ):
        assert said in ledger
    assert "Left at its last moment410.0 ms" in ledger
    assert "pushed" in text(page, "item-lane")
    for choice in page.find_elements("css selector", "#item-choices button"):
        if choice.text == "green":
            choice.click()
    until(lambda: "the picture is kept" in text(page, "item-said"))
    (command,) = belt.commands
    assert (command["item_id"], command["label"]) == (item, "green")
    assert (belt.folder / "pictures" / command["picture"]).read_bytes()[:3] == b"\xff\xd8\xff"
    assert command["picture"].startswith("labelled/green/")
    until(lambda: page.find_elements("css selector", "#item-choices button[aria-pressed='true']"))
    press(page, "#item form button")
    assert complaints(page) == []


def test_what_has_drifted_since_the_start_is_named(page: Any) -> None:
    until(lambda: "Brightness" in text(page, "drift"))
    rows = {
        row.get_attribute("data-thing"): row.get_attribute("data-drifted")
        for row in page.find_elements("css selector", "#drift li")
    }
    assert rows == {"confidence": "false", "brightness": "true", "unknown": "false", "classes": "false"}


def test_an_incident_appears_says_what_to_do_and_is_cleared(own_page: Any, own_belt: Belt) -> None:
    for item, over in ((6, False), (6, True), (7, False)):  # that it was over for a while is no happening
        own_belt.side.incident(
            Incident("output_failed", "output", 1.0, 2.0, "gate did not answer", "the item passed", item, over)
        )
    until(lambda: "2 times" in text(own_page, "incidents"))
    until(lambda: "Output failed" in text(own_page, "incidents"))
    assert "Gate did not answer; the item passed." in text(own_page, "incidents")
    assert "Check the diverter" in text(own_page, "incidents")
    press(own_page, ".incident button")
    until(lambda: text(own_page, "incidents") == "")
    (command,) = own_belt.commands
    assert (command["command"], command["name"]) == ("clear_incident", "output_failed")


def test_a_part_that_fails_is_the_first_thing_one_sees(page: Any, belt: Belt) -> None:
    belt.broken = True
    until(lambda: text(page, "status-text") == "Camera: no picture for 3 s")
    assert page.find_element("id", "status").get_attribute("data-tone") == "bad"
    belt.broken = False
    until(lambda: text(page, "status-text") == "Sorting")


def test_a_connection_that_is_lost_is_said_and_heals(browser: Any, tmp_path: Path) -> None:
    others = children()
    with running(tmp_path) as belt, shown(browser, belt) as page:
        (web,) = children() - others
        os.kill(web, signal.SIGKILL)
        until(lambda: text(page, "status-text") == "Connection lost")
        until(lambda: text(page, "status-text") == "Sorting")
        items = number(page, "items")
        until(lambda: number(page, "items") > items)
        until(lambda: "Web died" in text(page, "incidents"))
        until(lambda: page.execute_script("return document.querySelectorAll('.decision').length") >= 3)


def test_ten_viewers_starve_nobody(page: Any, belt: Belt) -> None:
    port = belt.side.port
    stop = threading.Event()
    seen = [0] * 10

    def watch(n: int) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/events", timeout=30) as events:
            for line in events:
                if line.startswith(b"event: picture"):
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/picture.jpg", timeout=30) as picture:
                        seen[n] += len(picture.read()) > 1000
                if stop.is_set():
                    return

    viewers = [threading.Thread(target=watch, args=(n,)) for n in range(10)]
    for viewer in viewers:
        viewer.start()
    try:
        until(lambda: min(seen) >= 5)
        request = urllib.request.Request(belt.side.url + "predict", painted("red"), {"Content-Type": "image/jpeg"})
        for _ in range(20):
            with urllib.request.urlopen(request, timeout=20) as answer:
                assert json.load(answer)["class"] == "red"
        items = number(page, "items")
        until(lambda: number(page, "items") > items)
    finally:
        stop.set()
        for viewer in viewers:
            viewer.join()
    assert complaints(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_can_be_read_and_every_control_has_a_name(own_page: Any, own_belt: Belt, theme: str) -> None:
    own_belt.side.incident(fake_line.INCIDENT)
    own_page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    )
    until(lambda: own_page.execute_script("return document.documentElement.dataset.theme") == theme)
    until(lambda: text(own_page, "incidents"))
    time.sleep(0.5)  # until the colours have faded in
    words, contrast = own_page.execute_script(LOWEST_CONTRAST)
    assert contrast >= 4.5, f"{words!r} has a contrast of {contrast:.2f}"
    assert own_page.execute_script(UNNAMED) == []


def test_what_matters_is_large_enough_for_two_metres_and_for_a_finger(own_page: Any, own_belt: Belt) -> None:
    """On a tablet of 150 pixels an inch 20 pixels are 3.4 mm, and 44 (WCAG 2.2, 2.5.5) as wide as a fingertip."""
    own_belt.side.incident(fake_line.INCIDENT)
    until(lambda: own_page.find_elements("css selector", ".incident button"))
    until(lambda: own_page.find_elements("css selector", ".decision .card"))
    sizes = own_page.execute_script(
        "return arguments[0].map((one) => [one, parseFloat(getComputedStyle(document.querySelector(one)).fontSize)])",
        ["#status", ".lane-name", ".lane-items", "#items", "#p99", "#speed"],
    )
    assert {name: size for name, size in sizes if size < 20} == {}
    assert all(size >= 32 for name, size in sizes if name in {".lane-items", "#items", "#p99"})
    small = own_page.execute_script(
        "return [...document.querySelectorAll('button')].filter((one) => one.checkVisibility() && one.offsetHeight)"
        ".map((one) => [one.textContent.trim(), one.offsetWidth, one.offsetHeight])"
        ".filter(([, width, height]) => Math.min(width, height) < 44)"
    )
    assert small == []


def test_the_theme_is_the_devices_until_the_reader_chooses(page: Any) -> None:
    def theme() -> Any:
        return page.execute_script("return document.documentElement.dataset.theme")

    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    until(lambda: theme() == "dark")
    press(page, "#theme")
    assert theme() == "light"
    page.refresh()
    until(lambda: text(page, "status-text") == "Sorting")
    assert theme() == "light"
    press(page, "#theme")
    assert theme() == "dark"
    assert page.execute_script("return localStorage.length") == 0


@pytest.mark.parametrize("width", [1400, 1024, 800, 390])
def test_nothing_is_wider_than_the_screen(page: Any, width: int) -> None:
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 768, "deviceScaleFactor": 1, "mobile": False}
    )
    until(lambda: page.execute_script("return innerWidth") == width)
    until(lambda: page.execute_script("return document.documentElement.scrollWidth <= innerWidth"))
    # Names are the owner's, and may be one long word.
    assert page.execute_script(
        "const names = '.lane-name, .lane-classes, .decision-label, .decision-lane, .drift li, .model-name, .foot';"
        "const shown = [...document.querySelectorAll(names)];"
        "for (const one of shown) one.textContent = 'LaneWithALongName'.repeat(6);"
        "return [shown.some((one) => one.matches('.lane-name')), document.documentElement.scrollWidth <= innerWidth]"
    ) == [True, True]
