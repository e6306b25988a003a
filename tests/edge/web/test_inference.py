"""/v2, spoken to by a client that we did not write, and by hand where that client is too polite."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from edge.model import Classifier
from edge.web.inference import LENGTH, MAX_BATCH
from edge.web.side import WebSide

URL = "/v2/models/colours/infer"


def pictures(*colours: tuple[int, int, int]) -> np.ndarray:
    return np.stack([np.full((32, 32, 3), colour, np.uint8) for colour in colours])


RED_AND_BLUE = pictures((220, 40, 40), (40, 70, 220))


@pytest.fixture
def triton(side: WebSide) -> Iterator[Any]:
    client = pytest.importorskip("tritonclient.http").InferenceServerClient(f"127.0.0.1:{side.port}")
    yield client
    client.close()


def test_tritons_client_finds_and_describes_the_model(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("colours")
    assert triton.is_model_ready("colours", "1")
    assert not triton.is_model_ready("shapes")
    assert triton.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert triton.get_model_repository_index()[0]["name"] == "colours"
    described = triton.get_model_metadata("colours")
    assert described["inputs"] == [{"name": "pixels", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}]
    assert described["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
        {"name": "features", "datatype": "FP32", "shape": [-1, 3]},
    ]
    assert described["parameters"]["classes"] == ["red", "green", "blue"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_tritons_client_infers(triton: Any, classifier: Classifier, binary_in: bool, binary_out: bool | None) -> None:
    http = pytest.importorskip("tritonclient.http")
    given = http.InferInput("pixels", list(RED_AND_BLUE.shape), "UINT8")
    given.set_data_from_numpy(RED_AND_BLUE, binary_data=binary_in)
    outputs = None
    if binary_out is not None:
        outputs = [http.InferRequestedOutput(name, binary_data=binary_out) for name in ("features", "probabilities")]
    result = triton.infer("colours", [given], outputs=outputs, request_id="7")
    probabilities, features = classifier.run(RED_AND_BLUE)
    assert np.allclose(result.as_numpy("probabilities"), probabilities, atol=1e-6)
    assert np.allclose(result.as_numpy("features"), features, atol=1e-6)
    assert result.get_response()["id"] == "7"


def test_tritons_client_is_told_what_is_wrong(triton: Any) -> None:
    http = pytest.importorskip("tritonclient.http")
    from tritonclient.utils import InferenceServerException

    given = http.InferInput("pixels", [1, 16, 16, 3], "UINT8")
    given.set_data_from_numpy(np.zeros((1, 16, 16, 3), np.uint8))
    with pytest.raises(InferenceServerException, match=r"\[N, 32, 32, 3\]"):
        triton.infer("colours", [given])
    with pytest.raises(InferenceServerException, match="no such model"):
        triton.get_model_metadata("shapes")


def tensor(**changes: Any) -> dict[str, Any]:
    data = RED_AND_BLUE[:1].ravel().tolist()
    return {"name": "pixels", "shape": [1, 32, 32, 3], "datatype": "UINT8", "data": data} | changes


def test_nested_data_is_the_same_as_flat_data(client: FlaskClient) -> None:
    flat = client.post(URL, json={"inputs": [tensor()]}).get_json()["outputs"]
    nested = client.post(URL, json={"inputs": [tensor(data=RED_AND_BLUE[:1].tolist())]}).get_json()["outputs"]
    assert flat == nested
    assert np.argmax(flat[0]["data"]) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"inputs": null}', b'{"inputs": []}', b'{"inputs": [1]}', b"[" * 100_000,
        *(
            json.dumps({"inputs": [tensor(**changes)]}).encode()
            for changes in (
                {"name": "x"}, {"datatype": "FP32"}, {"shape": [1, 32, 32]}, {"shape": "x"}, {"shape": [0, 32, 32, 3]},
                {"shape": [True, 32, 32, 3]}, {"shape": [-1, 32, 32, 3]}, {"shape": [10**9, 32, 32, 3]},
                {"shape": [MAX_BATCH + 1, 32, 32, 3]}, {"data": None}, {"data": []}, {"data": [1, [2]]},
                {"data": [0.5] * 3072}, {"data": [256] * 3072}, {"data": [-1] * 3072}, {"data": ["1"] * 3072},
                {"data": [10**30] * 3072}, {"data": [True] * 3072}, {"data": {}},
                {"data": None, "parameters": {"binary_data_size": 3072}},
                {"data": None, "parameters": {"binary_data_size": -1}},
                {"data": None, "parameters": {"binary_data_size": "x"}},
            )
        ),
        json.dumps({"inputs": [tensor(), tensor()]}).encode(),
        json.dumps({"inputs": [tensor()], "outputs": [{"name": "weights"}]}).encode(),
        json.dumps({"inputs": [tensor()], "outputs": "all"}).encode(),
        json.dumps({"inputs": [tensor()], "outputs": [{"name": ["x"]}]}).encode(),
        json.dumps({"inputs": [tensor()], "outputs": [{"name": "features", "parameters": 1}]}).encode(),
        json.dumps(
            {"inputs": [tensor()], "outputs": [{"name": "features", "parameters": {"classification": 1}}]}
        ).encode(),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_a_sentence(client: FlaskClient, body: bytes) -> None:
    response = client.post(URL, data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.get_json()["error"]


@pytest.mark.parametrize(
    "length", ["-1", "x", "²", "99999999999999999999", "9" * 5000, "100000", "+2", "2 ", "0_2", "٢"]
)
def test_a_length_that_is_not_one_is_refused(client: FlaskClient, length: str) -> None:
    response = client.post(URL, data=b"{}", headers={LENGTH: length})
    assert response.status_code == 400


def test_bytes_that_are_too_few_or_too_many_are_refused(client: FlaskClient) -> None:
    described = tensor(parameters={"binary_data_size": 3072})
    del described["data"]
    head = json.dumps({"inputs": [described]}).encode()
    for there in (0, 3071, 3073):
        response = client.post(URL, data=head + bytes(there), headers={LENGTH: str(len(head))})
        assert response.status_code == 400
    good = client.post(URL, data=head + bytes(3072), headers={LENGTH: str(len(head))})
    assert good.status_code == 200
