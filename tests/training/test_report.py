"""The report: one page that carries everything, its figures beside it, and both true."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.progress import Progress

from edge.errors import PictureError
from edge.model import Classifier, ClassPurity, ModelCard, Purity
from edge.picture import read_picture
from tests.edge.tiny_model import write_model
from training.cli import main
from training.errors import InputError
from training.evaluation.card import promise_lines
from training.evaluation.disturb import DISTURBANCES
from training.evaluation.drift import measure_drifts
from training.evaluation.evaluate import evaluate
from training.evaluation.examine import examine
from training.evaluation.page import picture as thumbnail
from training.quantize import Candidate

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
AWKWARD = "a <b> & 'c'"


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of near-colours, 12 a class, one label of them wrong, and models/int8.onnx and fp32.onnx for them."""
    root = tmp_path_factory.mktemp("colours")
    names = {"red": (220, 40, 40), "green": (40, 190, 60), AWKWARD: (40, 70, 220)}
    rng = np.random.default_rng(3)
    for name, colour in names.items():
        (root / "pictures" / name).mkdir(parents=True)
        for number in range(12):
            picture = np.full((40, 40, 3), 128, np.float64)
            picture[8:32, 8:32] = colour
            picture += rng.normal(0, 5, picture.shape) + rng.normal(0, 12, 3)
            file = root / "pictures" / name / f"{number:02d}.png"
            cv2.imwrite(str(file), np.clip(picture[..., ::-1], 0, 255).astype(np.uint8))
    (root / "pictures" / "green" / "00.png").rename(root / "pictures" / "red" / "a-green-one.png")
    (root / "models").mkdir()
    thresholds = dict.fromkeys(names, 0.6)
    fp32 = Candidate("fp32", 0.97, 1.0, 0.0, "red", 0.0, 0.11, 2.5, 4_000_000, 0, True)
    clipped = Candidate("entropy", 0.95, 0.98, 0.021, "green", 0.083, 0.4, 1.25, 1_000_000, 0, False)
    tried = {"candidates": [asdict(fp32), asdict(clipped)], "ships": "fp32"}
    of_class = {
        "red": ClassPurity(promised=True, threshold=0.6, pictures=400, wrong=0),
        "green": ClassPurity(promised=False, threshold=0.6, pictures=40, wrong=0),
    }
    purity = Purity(purity=0.99, confidence=0.95, pictures=440, fewest=299, unknown=0.125, classes=of_class)
    write_model(
        root / "models" / "int8.onnx",
        names,
        thresholds=thresholds,
        quantization={"recipe": "static QDQ", **tried},
        purity=purity.model_dump(),
    )
    write_model(root / "models" / "fp32.onnx", names, sharpness=20, quantization={"recipe": "none: fp32"})
    return root


@pytest.fixture(scope="module")
def report(colours: Path) -> Path:
    """The report of those pictures, by the command."""
    out = colours / "out" / "report.html"
    words = ["evaluate", str(colours / "models" / "int8.onnx"), str(colours / "pictures"), "--report", str(out)]
    assert main([*words, "--quick"]) == 0
    return out


class Assets(HTMLParser):
    """Collects what a page fetches and what it runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data", "poster"}]


def test_the_page_needs_nothing_from_outside_and_runs_nothing(report: Path) -> None:
    text = report.read_text()
    page = Assets(text)
    assert page.fetched
    assert all(asset.startswith("data:image/jpeg;base64,") for asset in page.fetched)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "@import" not in text
    assert not re.search(r"url\(", text)


def test_the_page_shows_a_class_s_name_as_it_is_written(report: Path) -> None:
    text = report.read_text()
    assert "a &lt;b&gt; &amp; &#39;c&#39;" in text
    assert AWKWARD not in text


def test_the_page_says_what_the_file_promises_and_lists_every_way_to_quantize_that_was_tried(report: Path) -> None:
    text = report.read_text()
    promises = section(text, "What the file promises")
    assert "of what is called red at least 99.00% is right, each with 95% confidence" in promises
    assert "on 440 held-out pictures 12.50% become unknown" in promises
    assert "green: too few pictures to promise 99.00%" in promises
    cells = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", section(text, "How it was quantized"))
    assert cells[9:] == [
        *("fp32 (chosen)", "97.00%", "100.00%", "+0.00", "none", "0.110", "2.50 ms", "4.00 MB", "yes"),
        *("entropy", "95.00%", "98.00%", "+2.10", "+8.30 green", "0.400", "1.25 ms", "1.00 MB", "no"),
    ]


def test_the_page_says_how_often_the_file_looks_at_a_picture_where_that_is_more_than_once(
    report: Path, colours: Path, tmp_path: Path
) -> None:
    names = Classifier(colours / "models" / "int8.onnx", provider="cpu").card.classes
    often = write_model(tmp_path / "often.onnx", names, calibration={"looks": 4})
    assert (
        main(["evaluate", str(often), str(colours / "pictures"), "--report", str(tmp_path / "r.html"), "--quick"]) == 0
    )
    assert "median, 4 looks, one thread" in (tmp_path / "r.html").read_text()
    assert "median, one thread" in report.read_text()


def test_the_json_beside_it_holds_what_the_answers_say(report: Path, colours: Path) -> None:
    figures = json.loads(report.with_suffix(".json").read_text())
    classifier = Classifier(colours / "models" / "int8.onnx", provider="cpu")
    files = sorted((colours / "pictures").rglob("*.png"))
    called = [one.label for one in classifier.classify([read_picture(file) for file in files])]
    right = [label == file.parent.name for label, file in zip(called, files, strict=True)]
    assert figures["count"] == len(files) == 36
    assert figures["accuracy"] == sum(right) / 36
    assert figures["accuracy_95"][0] < figures["accuracy"] < figures["accuracy_95"][1]
    assert sum(map(sum, figures["confusion"])) == 36
    mistake = {"picture": "red/a-green-one.png", "truth": "red", "called": "green"}
    assert mistake.items() <= figures["mistakes"][0].items()
    assert {c["name"]: c["pictures"] for c in figures["classes"]} == {"red": 13, "green": 11, AWKWARD: 12}
    assert len(figures["least_certain"]) == sum(right)
    assert figures["least_certain"][0]["confidence"] == min(one["confidence"] for one in figures["least_certain"])


def test_its_summaries_are_those_of_the_answers_counted_by_hand(report: Path, colours: Path) -> None:
    figures = json.loads(report.with_suffix(".json").read_text())
    classifier = Classifier(colours / "models" / "int8.onnx", provider="cpu")
    files = sorted((colours / "pictures").rglob("*.png"))
    answers = list(zip(classifier.classify([read_picture(file) for file in files]), files, strict=True))
    right = np.array([one.label == file.parent.name for one, file in answers])
    sure = np.array([one.confidence for one, _ in answers])
    bins = np.minimum((sure * 15).astype(int), 14)
    gaps = [abs(right[bins == k].sum() - sure[bins == k].sum()) for k in range(15)]
    assert figures["calibration_error"] == pytest.approx(sum(gaps) / 36, abs=1e-5)
    assert sum(one["count"] for one in figures["reliability"]) == 36
    assert figures["unknown"] == pytest.approx(sum(not one.known for one, _ in answers) / 36)
    known = np.array([one.known for one, _ in answers])
    assert figures["kept_accuracy"] == pytest.approx(right[known].mean())
    recalls = []
    for row in figures["classes"]:
        called = [(one, file.parent.name) for one, file in answers if one.label == row["name"]]
        hits = [one for one, truth in called if truth == row["name"]]
        certain = [(one, truth) for one, truth in called if one.confidence >= 0.6]
        good = sum(truth == row["name"] for _, truth in certain)
        recalls.append(len(hits) / row["pictures"])
        assert row["recall"]["value"] == recalls[-1]
        assert row["precision"]["value"] == len(hits) / len(called)
        assert row["f1"] == pytest.approx(2 * len(hits) / (len(called) + row["pictures"]))
        assert row["coverage"]["value"] == good / row["pictures"]
        assert row["purity"]["value"] == (good / len(certain) if certain else None)
    assert figures["balanced_accuracy"] == pytest.approx(sum(recalls) / 3)
    assert [curve["name"] for curve in figures["curves"]] == [row["name"] for row in figures["classes"]]
    assert all(curve["coverage"] for curve in figures["curves"])
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]


def section(text: str, head: str) -> str:
    """What the page has under a heading."""
    return text.split(f"<h2>{head}</h2>")[1].partition("<h2>")[0]


def test_the_page_draws_every_figure(report: Path) -> None:
    text = report.read_text()
    assert 'aria-label="Reliability diagram' in section(text, "Does its confidence mean what it says?")
    assert section(text, "Coverage against purity").count("<svg") == 3  # one a class
    drifts = section(text, "How far can the camera drift before it matters?")
    assert drifts.count("<svg") == len(DISTURBANCES) == 7
    assert section(text, "What is taken for what").count("<tr") >= 3


def test_mistakes_and_least_certain_hits_are_shown_with_what_spoke_for_the_answer(report: Path) -> None:
    """The model adds up colour, so that the coloured square of a picture is warmer than its grey border."""
    text = report.read_text()
    figures = json.loads(report.with_suffix(".json").read_text())
    for head, kind in (("The worst mistakes", "mistakes"), ("The least certain hits", "least_certain")):
        pictures = [
            cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR).astype(int)
            for data in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', section(text, head))
        ]
        assert len(pictures) == 2 * min(len(figures[kind]), 12) > 0
        for plain, overlay in zip(pictures[::2], pictures[1::2], strict=True):
            assert plain.shape == overlay.shape
            middle = (slice(plain.shape[0] // 3, plain.shape[0] * 2 // 3),) * 2
            assert np.abs(plain - overlay)[middle].mean() > 20
            assert overlay[middle].mean() > overlay[:4].mean() + 5  # the warmer, the brighter


@pytest.mark.parametrize(("kind", "place"), [(1, 4), (3, 3), (5, 2)])
def test_a_drift_s_figures_are_those_of_the_file_on_the_pictures_so_disturbed(
    kind: int, place: int, report: Path, colours: Path
) -> None:
    drifts = json.loads(report.with_suffix(".json").read_text())["drifts"]
    classifier = Classifier(colours / "models" / "int8.onnx", provider="cpu")
    files = sorted((colours / "pictures").rglob("*.png"))
    disturbance, strength = DISTURBANCES[kind], DISTURBANCES[kind].strengths[place]
    spoiled = [disturbance.apply(read_picture(file), strength, number) for number, file in enumerate(files)]
    answers = classifier.classify(spoiled)
    right = [one.label == file.parent.name for one, file in zip(answers, files, strict=True)]
    step = drifts["kinds"][kind]["steps"][place]
    assert drifts["pictures"] == 36
    assert step["strength"] == strength
    assert step["accuracy"]["value"] == sum(right) / 36
    assert step["unknown"] == pytest.approx(sum(not one.known for one in answers) / 36)
    wrong = sum(one.known and not hit for one, hit in zip(answers, right, strict=True))
    assert step["wrong"] == pytest.approx(wrong / 36)
    assert step["sorted_right"] + step["unknown"] + step["wrong"] == pytest.approx(1)


def test_the_light_matters_to_a_model_that_knows_colours_only_and_turning_does_not(report: Path) -> None:
    drifts = json.loads(report.with_suffix(".json").read_text())["drifts"]
    matters = {kind["name"]: kind["matters_from"] for kind in drifts["kinds"]}
    assert len(matters) == 7
    assert all(len(kind["steps"]) == 5 for kind in drifts["kinds"])
    assert matters["rotation"] is None
    assert matters["less light"] is not None


def test_the_other_form_in_the_run_folder_is_held_against_it(report: Path, colours: Path, progress: Progress) -> None:
    comparison = json.loads(report.with_suffix(".json").read_text())["comparison"]
    assert (comparison["first"]["name"], comparison["second"]["name"]) == ("int8", "fp32")
    assert comparison["second"]["file"] == "fp32.onnx"
    assert comparison["agreement"] == 1.0
    assert comparison["lost"] == comparison["won"] == 0
    # The same colours, told apart less sharply: the same answers, less sure.
    assert 0.01 < comparison["largest_difference"] < 0.5
    assert comparison["first"]["calibration_error"] < comparison["second"]["calibration_error"]
    alone = evaluate(colours / "models" / "int8.onnx", colours / "pictures", progress)
    assert alone.comparison is None


def test_a_file_for_other_classes_or_sizes_cannot_be_held_against_it(
    colours: Path, tmp_path: Path, progress: Progress
) -> None:
    model = colours / "models" / "int8.onnx"
    with pytest.raises(InputError, match=r"other\.onnx: tells other classes apart than"):
        evaluate(model, colours / "pictures", progress, against=write_model(tmp_path / "other.onnx"))
    names = Classifier(model, provider="cpu").card.classes
    with pytest.raises(InputError, match=r"small\.onnx: takes other pictures than .* \(size or resize\)"):
        evaluate(model, colours / "pictures", progress, against=write_model(tmp_path / "small.onnx", names, 16))


def test_a_picture_that_goes_away_meanwhile_is_named(colours: Path, tmp_path: Path, progress: Progress) -> None:
    root = Path(shutil.copytree(colours / "pictures", tmp_path / "pictures"))
    examination = examine(colours / "models" / "int8.onnx", root, progress)
    (root / "green" / "05.png").unlink()
    with pytest.raises(PictureError, match=r"green/05\.png: no such file"):
        measure_drifts(examination, progress)


def test_large_pictures_are_reduced_before_they_are_disturbed_and_counted(
    colours: Path, tmp_path: Path, progress: Progress
) -> None:
    for name in ("red", "green"):
        (tmp_path / name).mkdir()
        small = read_picture(colours / "pictures" / name / "01.png")
        cv2.imwrite(str(tmp_path / name / "large.png"), cv2.resize(small, (1500, 900)))
        cv2.imwrite(str(tmp_path / name / "small.png"), small)
    drifts = measure_drifts(examine(colours / "models" / "int8.onnx", tmp_path, progress), progress)
    assert (drifts.pictures, drifts.reduced) == (4, 2)
    assert drifts.as_is.accuracy.value == 1.0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--report {tmp}/report.txt", "report.txt: the file to write must end in .html"),
        ("--report {tmp}/file/report.html", "report.html: cannot be written"),
        ("--json {tmp}", "is a folder; name a file to write"),
        ("--against {tmp}/none.onnx", "none.onnx: no such model file"),
    ],
)
def test_what_cannot_be_written_or_read_is_said_before_the_work(
    words: str, says: str, colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("a file")
    model, pictures = colours / "models" / "int8.onnx", colours / "pictures"
    assert main(["evaluate", str(model), str(pictures), *words.format(tmp=tmp_path).split()]) == 2
    assert says in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium of the test's own."""
    webdriver = pytest.importorskip("selenium.webdriver")
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs chromium and chromedriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    flags = "headless=new no-sandbox disable-gpu disable-dev-shm-usage disable-component-update"
    for flag in (*flags.split(), f"user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_a_browser_shows_it_whole_in_either_theme_and_on_paper(
    theme: str, width: int, report: Path, browser: Any
) -> None:
    from tests.edge.web.test_page import LOWEST_CONTRAST

    feature = {"name": "prefers-color-scheme", "value": "light" if theme == "light" else "dark"}
    media = {"media": "print" if theme == "print" else "screen", "features": [feature]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(report.as_uri())
    assert not browser.get_log("browser")
    assert browser.execute_script("const d = document.documentElement; return d.scrollWidth - d.clientWidth") == 0
    assert browser.execute_script("return [...document.images].every((i) => i.complete && i.naturalWidth)")
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(243, 244, 241)", "dark": "rgb(13, 16, 17)", "print": "rgb(255, 255, 255)"}[theme]
    # A mixed colour is given in shares of one.
    script = LOWEST_CONTRAST.replace(".map(Number)", ".map((t) => t * (text.startsWith('color(') ? 255 : 1))")
    words, contrast = browser.execute_script(script)
    assert contrast >= 4.5, words
    heads = browser.execute_script("return [...document.querySelectorAll('h2')].map((h) => h.textContent)")
    assert len(heads) == 12
    assert "int8 against fp32" in heads


@pytest.mark.parametrize("shape", [(1, 5000, 3), (5000, 1, 3)])
def test_a_strip_of_one_pixel_still_has_a_thumbnail(shape: tuple[int, int, int]) -> None:
    assert thumbnail(np.zeros(shape, np.uint8), 224).startswith("data:image/jpeg;base64,")


def test_a_class_whose_answers_stay_below_every_threshold_is_not_told_to_take_more_pictures() -> None:
    unsure = ClassPurity(promised=False, threshold=0.7, pictures=0, wrong=0)
    few = ClassPurity(promised=False, threshold=0.7, pictures=1, wrong=0)
    contract = Purity(
        purity=0.9, confidence=0.9, pictures=40, fewest=22, unknown=1.0, classes={"bolt": unsure, "nut": few}
    )
    expected, bolt, nut = promise_lines(ModelCard.model_construct(purity=contract))
    assert expected == "on 40 held-out pictures 100.00% become unknown"
    assert "on none of the 40 held-out pictures does its answer reach 0.5" in bolt
    assert "too few" not in bolt
    assert "on 1 held-out picture, and 22 without a mistake are needed" in nut
