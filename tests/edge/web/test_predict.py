"""POST /predict: every way of sending a picture, every answer, every refusal."""

import base64
import gzip
import io
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flask.testing import FlaskClient

from edge.config import LineConfig
from edge.model import Classifier, Novelty
from edge.picture import decode_picture
from edge.web import pictures, predict, workers
from edge.web.app import MAX_BODY, create_app
from edge.web.bodies import MAX_PICTURES, Asked, Upload
from edge.web.hub import Hub
from edge.web.predict import Predictor
from edge.web.workers import Overloaded, Workers
from tests.edge.tiny_model import write_model
from tests.edge.web import fake_line
from tests.edge.web.conftest import painted

PICTURE = painted("red")


def form(*files: tuple[bytes, str], field: str = "file") -> dict[str, Any]:
    return {"data": {field: [(io.BytesIO(data), name) for data, name in files]}}


def test_a_form_with_a_file_is_answered_as_the_tutorials_clients_expect(
    client: FlaskClient, classifier: Classifier
) -> None:
    response = client.post("/predict", **form((PICTURE, "red.jpg")))
    assert response.status_code == 200
    found = response.get_json()
    assert found["class"] == "red"
    assert 0.9 < found["confidence"] <= 1
    assert list(found["probabilities"]) == ["red", "green", "blue"]
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert found["lane"] == "left"
    assert found["model"] == {"name": "colours", "version": "1", "sha256": classifier.sha256}
    assert found["latency_ms"] > 0


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("kind", ["image/*", "application/octet-stream"])
def test_the_bytes_themselves_may_be_the_body(client: FlaskClient, suffix: str, kind: str) -> None:
    kind = kind.replace("*", suffix[1:])
    response = client.post("/predict", data=painted("green", suffix=suffix), content_type=kind)
    assert (response.status_code, response.get_json()["class"]) == (200, "green")


def test_a_tiff_in_cie_lab_is_refused_for_its_colours_would_be_others(client: FlaskClient) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow writes the picture")
    file = io.BytesIO()
    pil.new("LAB", (8, 8), (90, 200, 40)).save(file, "TIFF")
    response = client.post("/predict", data=file.getvalue(), content_type="image/tiff")
    assert response.status_code == 422
    assert "is a TIFF in CIE Lab colours; save it in RGB" in response.get_json()["error"]


@pytest.mark.parametrize("before", ["", "data:image/jpeg;base64,"])
def test_base64_in_json_is_taken_with_or_without_a_data_address(client: FlaskClient, before: str) -> None:
    response = client.post("/predict", json={"image": before + base64.b64encode(PICTURE).decode()})
    assert response.get_json()["class"] == "red"


def test_several_pictures_are_answered_in_order(client: FlaskClient) -> None:
    colours = ["blue", "red", "green", "blue"]
    files = form(*((painted(colour), f"{colour}.jpg") for colour in colours))
    by_form = client.post("/predict", **files).get_json()["predictions"]
    assert [one["class"] for one in by_form] == colours
    images = [base64.b64encode(painted(colour)).decode() for colour in colours]
    by_json = client.post("/predict", json={"images": images}).get_json()["predictions"]
    assert [one["class"] for one in by_json] == colours


def test_several_pictures_in_one_call_are_one_inference(
    client: FlaskClient, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    run = classifier.run
    monkeypatch.setattr(classifier, "run", lambda pixels: batches.append(len(pixels)) or run(pixels))
    monkeypatch.setattr(predict, "cores", lambda: 1)
    client.post("/predict", **form(*((painted(colour), f"{colour}.jpg") for colour in ("blue", "red", "green"))))
    client.post("/predict?crop=0,0,9,9", json={"images": [base64.b64encode(PICTURE).decode()] * 2})
    assert batches == [3, 2]


def test_an_answer_is_what_the_line_would_say_of_the_same_picture(client: FlaskClient, classifier: Classifier) -> None:
    (expected,) = classifier.classify([decode_picture(PICTURE)])
    found = client.post("/predict", data=PICTURE, content_type="image/jpeg").get_json()
    assert found["class"] == expected.label
    assert found["probabilities"]["red"] == pytest.approx(expected.probabilities[0], abs=1e-6)


def test_top_gives_the_most_probable_classes_best_first(client: FlaskClient) -> None:
    found = client.post("/predict?top=2", data=painted("blue"), content_type="image/jpeg").get_json()
    values = list(found["probabilities"].values())
    assert len(values) == 2
    assert values == sorted(values, reverse=True)
    assert next(iter(found["probabilities"])) == "blue"


def test_crop_looks_at_a_part_of_the_picture_only(client: FlaskClient) -> None:
    left = decode_picture(painted("red", suffix=".png"))
    both = np.hstack([left, decode_picture(painted("blue", suffix=".png"))])
    data = bytes(cv2.imencode(".png", both)[1])
    for crop, expected in (("0,0,64,48", "red"), ("64,0,64,48", "blue")):
        found = client.post(f"/predict?crop={crop}", data=data, content_type="image/png").get_json()
        assert found["class"] == expected


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("crop=0,0,65,48", 422),
        ("crop=-1,0,5,5", 400),
        ("crop=1,2,3", 400),
        ("crop=a,b,c,d", 400),
        ("crop=0,0,0,5", 400),
        ("crop=" + "9" * 5000 + ",0,1,1", 400),
        ("crop=1_0,0,5,5", 400),
        ("crop=%2B1,0,5,5", 400),
        ("crop=0, 0,5,5", 400),
        ("crop=0,0,5,5%0A", 400),
        ("crop=0,0,5,٣", 400),
        ("crop=0,0,5,5,", 400),
        ("crop=", 400),
        ("top=0", 400),
        ("top=x", 400),
        ("top=²", 400),
        ("top=1_0", 400),
        ("top=%2B5", 400),
        ("top=+5", 400),
        ("top=٣", 400),
        ("top=1000000", 400),
        ("top=", 400),
        ("top=3&top=4", 400),
        ("top=3&top=3", 400),
        ("crop=0,0,5,5&top=1&crop=0,0,5,5", 400),
    ],
)
def test_a_parameter_that_cannot_be_is_refused_with_a_sentence(client: FlaskClient, query: str, status: int) -> None:
    response = client.post(f"/predict?{query}", data=PICTURE, content_type="image/jpeg")
    assert response.status_code == status
    assert ("crop" if "crop" in query else "top") in response.get_json()["error"]


def test_a_body_that_was_compressed_on_its_way_is_refused_and_not_taken_for_a_picture(client: FlaskClient) -> None:
    for path in ("/predict", "/v2/models/colours/infer", "/commands", "/labels"):
        for coding, kind in (
            ("gzip", "image/jpeg"),
            ("br, gzip", "application/json"),
            ("deflate", "multipart/form-data"),
        ):
            headers = {"Content-Encoding": coding, "Content-Type": kind}
            response = client.post(path, data=gzip.compress(PICTURE), headers=headers)
            assert response.status_code == 415
            assert response.get_json()["error"] == (
                f"The body is compressed ({coding}); send it without Content-Encoding"
            )
    plain = {"Content-Encoding": "identity", "Content-Type": "image/jpeg"}
    assert client.post("/predict", data=PICTURE, headers=plain).status_code == 200


def test_a_call_without_a_file_says_no_file_part(client: FlaskClient) -> None:
    for call in ({}, form((PICTURE, "a.jpg"), field="picture"), {"data": b"", "content_type": "image/jpeg"}):
        response = client.post("/predict", **call)
        assert (response.status_code, response.get_json()) == (400, {"error": "No file part"})


def test_a_form_that_cannot_be_read_says_so_and_one_with_too_many_parts_is_not_called_too_large(
    client: FlaskClient,
) -> None:
    whole = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n' + PICTURE + b"\r\n--x--\r\n"
    for body in (whole[: len(whole) // 2], whole.replace(b"a.jpg", b"\xff\xfe.jpg")):
        response = client.post("/predict", data=body, content_type="multipart/form-data; boundary=x")
        assert response.status_code == 400
        assert response.get_json()["error"].startswith("The form cannot be read: it is cut short, or a name in it")
    parts = b"".join(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' for _ in range(2000))
    response = client.post("/predict", data=parts + b"--x--\r\n", content_type="multipart/form-data; boundary=x")
    assert response.status_code == 413
    assert response.get_json()["error"].startswith("The form has more than 100 parts")


def test_an_empty_file_name_says_no_selected_file(client: FlaskClient) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n\r\n--x--\r\n"
    )
    response = client.post("/predict", data=body, content_type="multipart/form-data; boundary=x")
    assert (response.status_code, response.get_json()) == (400, {"error": "No selected file"})


@pytest.mark.parametrize("body", [b"no picture", b"", PICTURE[:200], b"\xff\xd8\xff", b"GIF89a" + bytes(50)])
def test_what_is_not_a_picture_is_named_and_refused(client: FlaskClient, body: bytes) -> None:
    response = client.post("/predict", **form((PICTURE, "good.jpg"), (body, "bad.jpg")))
    assert response.status_code == 422
    assert response.get_json()["error"].startswith("bad.jpg: ")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"[]", '"image"'),
        (b'{"picture": ""}', '"image"'),
        (b'{"image": 5}', "base64"),
        (b'{"image": "%%%"}', "base64"),
        (b'{"image": "aGVsbG8"}', "base64"),
        (b'{"images": "x"}', "list"),
        (b'{"images": [1]}', "images[0]"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_json_that_holds_no_picture_is_refused_with_a_sentence(client: FlaskClient, body: bytes, said: str) -> None:
    response = client.post("/predict", data=body, content_type="application/json")
    assert response.status_code == 400
    assert said in response.get_json()["error"]


def test_more_pictures_than_one_call_may_hold_are_refused(client: FlaskClient) -> None:
    files = [(PICTURE, f"{n}.jpg") for n in range(MAX_PICTURES + 1)]
    response = client.post("/predict", **form(*files))
    assert response.status_code == 400
    assert str(MAX_PICTURES) in response.get_json()["error"]


def test_a_body_that_is_too_large_is_refused(client: FlaskClient) -> None:
    response = client.post("/predict", data=bytes(MAX_BODY + 1), content_type="image/jpeg")
    assert response.status_code == 413
    assert "16 MB" in response.get_json()["error"]


def test_a_name_in_an_error_is_short_and_printable(client: FlaskClient) -> None:
    response = client.post("/predict", **form((b"x", "\u202e" + "n" * 500)))
    error = response.get_json()["error"]
    assert len(error) < 200
    assert error.isprintable()


def flat(blue: int, green: int, red: int) -> bytes:
    """A PNG of one colour."""
    return bytes(cv2.imencode(".png", np.full((40, 40, 3), (blue, green, red), np.uint8))[1])


def asked_of(model: Path, config: LineConfig, picture: bytes) -> dict[str, Any]:
    """What /predict of a line with this model says of a PNG."""
    hub = Hub()
    hub.set_facts(fake_line.facts(config))
    with Predictor(Classifier(model, "cpu"), config) as predictor:
        client = create_app(hub, predictor, config).test_client()
        found = client.post("/predict", data=picture, content_type="image/png").get_json()
    assert isinstance(found, dict)
    return found


def test_an_unsure_picture_goes_to_the_default_lane_and_the_answer_says_below_which_threshold(
    line_config: LineConfig, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "m.onnx", thresholds={"red": 1.0, "green": 1.0, "blue": 1.0})
    found = asked_of(model, line_config, flat(120, 120, 120))
    assert (found["lane"], found["reason"], found["strange"], found["threshold"]) == ("rest", "unknown", False, 1.0)
    # The line's own threshold takes the place of the card's, and so it does here.
    own = {"min_confidence": 0.25, "thresholds": dict.fromkeys(("red", "green", "blue"), 0.25)}
    decide = line_config.decide.model_copy(update=own)
    found = asked_of(model, line_config.model_copy(update={"decide": decide}), flat(120, 120, 120))
    assert (found["reason"], found["strange"], found["threshold"]) == ("classified", False, 0.25)
    assert found["lane"] == line_config.lane_of(found["class"]).name


def test_a_picture_unlike_anything_trained_on_is_said_to_be_strange_and_not_only_unsure(
    line_config: LineConfig, tmp_path: Path
) -> None:
    # Known pictures' features lie along an axis each, a pale one's beside them all, however sure its class is.
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    novelty = Novelty.of(np.zeros(3), np.eye(3)[:, None], (0.05, 0.05, 0.05)).model_dump()
    model = write_model(tmp_path / "m.onnx", colours, novelty=novelty)
    found = asked_of(model, line_config, flat(0, 0, 255))
    assert (found["class"], found["reason"], found["strange"], found["lane"]) == ("red", "classified", False, "left")
    found = asked_of(model, line_config, flat(90, 90, 150))
    assert (found["class"], found["reason"], found["strange"], found["lane"]) == ("red", "unknown", True, "rest")
    assert found["confidence"] >= found["threshold"], "by its threshold alone it would have been sorted"


def test_without_a_model_the_page_works_and_predict_says_why_not(hub: Hub, line_config: LineConfig) -> None:
    client = create_app(hub, None, line_config).test_client()
    assert client.get("/healthz").status_code == 200
    response = client.post("/predict", data=PICTURE, content_type="image/jpeg")
    assert response.status_code == 503
    assert "model" in response.get_json()["error"]


def test_a_full_house_sends_the_next_client_away_with_a_time_to_return(
    client: FlaskClient, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding = threading.Event()
    entered = threading.Semaphore(0)

    def slow(*_: Any) -> np.ndarray:
        entered.release()
        assert holding.wait(20)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(pictures, "decode", slow)
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(client.post("/predict", data=PICTURE, content_type="image/jpeg").status_code)

    inside = workers.MAX_RUNNING + workers.MAX_WAITING
    clients = [threading.Thread(target=ask) for _ in range(inside)]
    for one in clients:
        one.start()
    for _ in range(workers.MAX_RUNNING):
        assert entered.acquire(timeout=20)
    while predictor.workers.inside < inside:
        pass
    refused = client.post("/predict", data=PICTURE, content_type="image/jpeg")
    holding.set()
    for one in clients:
        one.join(20)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert statuses == [200] * inside


def test_jobs_are_counted_right_after_every_kind_of_ending() -> None:
    with Workers(running=1, waiting=0) as workers:
        with pytest.raises(ZeroDivisionError):
            workers.do(lambda alone: 1 / 0)
        with pytest.raises(Overloaded):
            workers.do(lambda alone: workers.do(lambda alone: None))
        assert workers.inside == 0
        assert workers.do(lambda alone: workers.inside) == 1


def test_a_job_that_comes_while_the_threads_are_ended_is_refused_like_any_other() -> None:
    """Whoever asks in the very moment of the end is told to come back, and is no error of the server's."""
    workers = Workers(running=1, waiting=500)
    refused: list[type[BaseException]] = []
    beginning = threading.Event()

    def ask() -> None:
        beginning.wait()
        try:
            while True:
                workers.do(lambda alone: None)
        except BaseException as error:
            refused.append(type(error))

    askers = [threading.Thread(target=ask) for _ in range(24)]
    for one in askers:
        one.start()
    beginning.set()
    workers.do(lambda alone: None)
    workers.close()
    for one in askers:
        one.join(20)
    assert refused == [Overloaded] * 24


def test_jobs_are_begun_in_the_order_of_asking_and_know_whether_they_are_alone() -> None:
    order: list[int] = []
    alones: list[bool] = []
    begun, holding = threading.Event(), threading.Event()

    with Workers(running=1, waiting=4) as workers:

        def ask(number: int) -> None:
            def job(alone: bool) -> None:
                begun.set()
                holding.wait(20)
                order.append(number)
                alones.append(alone)

            workers.do(job)

        clients = []
        for number in range(5):
            clients.append(threading.Thread(target=ask, args=(number,)))
            clients[-1].start()
            while workers.inside < number + 1:
                pass
            assert begun.wait(20)
        holding.set()
        for one in clients:
            one.join(20)
        assert order == [0, 1, 2, 3, 4]
        assert alones[0]
        assert not any(alones[1:4])


def test_a_job_that_is_never_begun_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.web.workers.MAX_WAIT_S", 0.05)
    holding, begun = threading.Event(), threading.Event()
    with Workers(running=1, waiting=1) as workers:

        def hold(alone: bool) -> str:
            begun.set()
            holding.wait(20)
            return "done"

        answers: list[str] = []
        first = threading.Thread(target=lambda: answers.append(workers.do(hold)))
        first.start()
        assert begun.wait(20)
        with pytest.raises(Overloaded):
            workers.do(lambda alone: None)
        assert workers.inside == 1
        holding.set()
        first.join(20)
    assert answers == ["done"]


def test_a_lone_picture_and_several_at_once_get_the_same_answer_from_two_sessions(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "cores", lambda: 2)
    monkeypatch.setattr(predict, "GAIN", float("inf"))
    asked = Asked([Upload("one", PICTURE)], several=False, top=None, crop=None)
    alone = predictor.answer(asked)
    assert predictor._alone is not None
    assert predictor._alone.threads == 2
    beside: list[dict[str, Any]] = []
    # A second job while the first is inside is not alone.
    predictor.workers.inside += 1
    beside.append(predictor.answer(asked))
    predictor.workers.inside -= 1
    assert beside[0]["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)
    assert predictor.classifier.threads == 1


def test_all_processors_are_used_only_where_that_is_faster(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "cores", lambda: 2)
    monkeypatch.setattr(predict, "GAIN", 0.0)
    predictor.answer(Asked([Upload("one", PICTURE)], several=False, top=None, crop=None))
    assert predictor._alone is predictor.classifier


PLAIN = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'


@pytest.mark.parametrize(
    "body",
    [
        PLAIN + PICTURE + b"\r\n--XX--\r\n",
        PLAIN + PICTURE + b"\r\n--XX--",
        PLAIN.replace(b"Content-Type: image/jpeg\r\n", b"") + PICTURE + b"\r\n--XX--\r\n",
        b"a preamble\r\n" + PLAIN + PICTURE + b"\r\n--XX--\r\n",
        PLAIN + PICTURE + b"\r\n--XX--\r\nan epilogue",
        PLAIN.replace(b"form-data; name", b"form-data;  name") + PICTURE + b"\r\n--XX--\r\n",
        PLAIN.replace(b"a.jpg", rb"a\"b.jpg") + PICTURE + b"\r\n--XX--\r\n",
        b'--XX\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n' + PLAIN + PICTURE + b"\r\n--XX--\r\n",
    ],
)
def test_forms_of_every_shape_are_answered_alike(client: FlaskClient, body: bytes) -> None:
    response = client.post("/predict", data=body, content_type="multipart/form-data; boundary=XX")
    assert response.status_code == 200
    assert response.get_json()["class"] == "red"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (PLAIN + b"\r\n--XX--\r\n", 422),
        (PLAIN.replace(b'"file"', b'"other"') + PICTURE + b"\r\n--XX--\r\n", 400),
        (PLAIN.replace(b"a.jpg", b"") + PICTURE + b"\r\n--XX--\r\n", 400),
        (PLAIN + PICTURE, 400),
        (PLAIN + PICTURE + b"\r\n--XY--\r\n", 400),
    ],
)
def test_forms_that_hold_no_picture_or_do_not_end_are_refused(client: FlaskClient, body: bytes, status: int) -> None:
    assert client.post("/predict", data=body, content_type="multipart/form-data; boundary=XX").status_code == status


def test_two_files_in_one_form_are_two_pictures_and_never_one(client: FlaskClient) -> None:
    body = PLAIN + PICTURE + b"\r\n" + PLAIN + painted("blue") + b"\r\n--XX--\r\n"
    response = client.post("/predict", data=body, content_type="multipart/form-data; boundary=XX")
    assert [one["class"] for one in response.get_json()["predictions"]] == ["red", "blue"]


def test_a_bug_while_a_picture_is_answered_is_logged_and_told_without_details(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("a secret path")

    monkeypatch.setattr(pictures, "decode", broken)
    response = client.post("/predict", data=PICTURE, content_type="image/jpeg")
    assert response.status_code == 500
    assert "secret" not in response.get_data(as_text=True)
    assert "a secret path" in caplog.text


def test_every_answer_carries_the_headers_that_protect_a_browser(client: FlaskClient) -> None:
    short, long = client.post("/predict", data=PICTURE, content_type="image/jpeg"), client.get("/healthz")
    assert short.status_code == 200
    assert dict(short.headers).items() >= {k: v for k, v in long.headers.items() if k != "Content-Length"}.items()
