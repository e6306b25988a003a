"""/openapi.json: a valid description, and answers that keep to it whatever a generator thinks of."""

import re
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings

from edge.config import LineConfig
from edge.web.app import create_app
from edge.web.hub import Hub
from edge.web.predict import Predictor
from edge.web.side import WebSide


def test_the_description_is_valid_and_describes_every_call(client: FlaskClient) -> None:
    description = client.get("/openapi.json").get_json()
    pytest.importorskip("openapi_spec_validator").validate(description)
    described = {re.sub(r"{\w+}", "*", path) for path in description["paths"]}
    served = {re.sub(r"<[\w:]+>", "*", rule.rule) for rule in client.application.url_map.iter_rules()}
    pages = {"/", "/login", "/static/*"}
    assert described == {path for path in served if "versions" not in path} - pages


def test_examples_are_of_this_lines_own_classes(client: FlaskClient) -> None:
    call = client.get("/openapi.json").get_json()["paths"]["/predict"]["post"]
    example = call["responses"]["200"]["content"]["application/json"]["examples"]["one"]["value"]
    assert example["class"] == "red"
    assert example["lane"] == "left"


def test_every_json_body_that_can_be_sent_has_an_example_that_fits_its_shape(client: FlaskClient) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    description = client.get("/openapi.json").get_json()
    seen = 0
    for path, calls in description["paths"].items():
        for method, call in calls.items():
            bodies = {"body": call.get("requestBody", {})} | call["responses"]
            for where, body in bodies.items():
                content = body.get("content", {}).get("application/json", {})
                examples = [one["value"] for one in content.get("examples", {}).values()]
                examples += [content["example"]] if "example" in content else []
                assert examples or where != "body" or not content, f"{method} {path} has no example"
                schema = {**content.get("schema", {}), "components": description["components"]}
                for example in examples:
                    jsonschema.Draft202012Validator(schema).validate(example)
                    seen += 1
    assert seen >= 6


def test_with_a_token_the_description_says_so(hub: Hub, predictor: Predictor, line_config: LineConfig) -> None:
    client = create_app(hub, predictor, line_config, "t" * 32).test_client()
    description = client.get("/openapi.json", headers={"Authorization": "Bearer " + "t" * 32}).get_json()
    assert description["security"] == [{"token": []}]
    assert "401" in description["paths"]["/predict"]["post"]["responses"]


def test_whatever_is_sent_the_answer_keeps_to_the_description(side: WebSide) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.specs.openapi import checks

    def no_bug(_: Any, response: Any, __: Any) -> None:
        assert response.status_code != 500  # a 503 is an answer: nothing to show yet, or too much to do

    wanted = [
        no_bug,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
        checks.unsupported_method,
    ]
    # The stream of events has no end to wait for.
    schema = schemathesis.openapi.from_url(side.url + "openapi.json").exclude(path="/events")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 15
    for operation in operations:

        @settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def keeps_to_it(case: Any) -> None:
            case.call_and_validate(timeout=20, checks=wanted)

        keeps_to_it()
