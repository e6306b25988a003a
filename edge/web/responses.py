"""The forms in which /openapi.json writes down calls and their answers."""

from typing import Any

from edge.web.schemas import Schema


def call(tag: str, name: str, summary: str, responses: Schema) -> Schema:
    """One call: its tag, its operationId, one sentence, and its answers."""
    return {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        "responses": {**responses, "421": {"$ref": "#/components/responses/Error"}},
    }


def errors(*codes: str) -> Schema:
    """Answers that are one JSON sentence."""
    return {code: {"$ref": "#/components/responses/Error"} for code in codes}


def json_named(description: str, schema: str, example: Any) -> Schema:
    """A JSON answer of a named shape, with an example."""
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}
    return {"description": description, "content": {"application/json": content}}


def json_of(description: str, schema: Schema) -> Schema:
    """A JSON answer of any shape."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}
