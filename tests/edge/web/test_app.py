"""The page, health, commands, and who is let in."""

import hmac
import re
from dataclasses import asdict
from typing import Any

import pytest
from flask.testing import FlaskClient

from edge.config import LineConfig
from edge.web import app as app_module
from edge.web import guard
from edge.web.app import create_app
from edge.web.hub import Hub
from edge.web.predict import Predictor
from tests.edge.web import fake_line
from tests.edge.web.conftest import painted

TOKEN = "0123456789abcdef0123456789abcdef"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PAUSE = {"command": "pause", "paused": True}


@pytest.fixture
def guarded(hub: Hub, predictor: Predictor, line_config: LineConfig) -> FlaskClient:
    return create_app(hub, predictor, line_config, TOKEN).test_client()


# Health


def test_the_process_is_healthy_whatever_the_line_does(client: FlaskClient) -> None:
    assert client.get("/healthz").get_json() == {"status": "ok"}


def test_a_line_that_was_not_heard_of_is_not_ready(client: FlaskClient, hub: Hub) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()["failing"]) == (503, ["line"])
    hub.set_state(fake_line.state_at(60.0, 1))
    assert client.get("/readyz").get_json()["status"] == "ok"


def test_a_part_that_is_not_well_is_named(client: FlaskClient, hub: Hub) -> None:
    state = fake_line.state_at(60.0, 1)
    state["health"]["camera"] = {"ok": False, "text": "no picture for 3 s"}
    hub.set_state(state)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.get_json()["failing"] == ["camera"]
    assert response.get_json()["parts"]["camera"]["text"] == "no picture for 3 s"


# Bodies


@pytest.mark.parametrize("path", ["/commands", "/labels", "/predict"])
@pytest.mark.parametrize("body", ["[" * 100_000, "{"])
def test_a_body_that_is_no_json_or_nests_without_end_is_refused_in_one_sentence(
    client: FlaskClient, path: str, body: str
) -> None:
    response = client.post(path, data=body, content_type="application/json")
    assert (response.status_code, response.get_json()) == (400, {"error": "The body is not JSON"})


def test_a_body_of_no_stated_kind_is_refused_in_the_same_sentence(client: FlaskClient) -> None:
    for path in ("/commands", "/labels"):
        response = client.post(path, data="{}")
        assert (response.status_code, response.get_json()) == (415, {"error": "The body is not JSON"})


def test_a_command_says_what_it_needs_in_words(client: FlaskClient) -> None:
    response = client.post("/commands", json={"command": "arm", "armed": "yes"})
    assert (response.status_code, response.get_json()) == (400, {"error": "arm needs: armed (true or false)"})


# The page


def test_the_page_and_all_that_it_needs_come_from_here(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    text = page.get_data(as_text=True)
    addresses = [part.split('"')[0] for part in text.split('="/')[1:]]
    assert any(address.startswith("static/live.js?v=") for address in addresses)
    assert any(address.startswith("static/live.css?v=") for address in addresses)
    for address in addresses:
        assert client.get("/" + address).status_code == 200
    assert "http://" not in text
    assert "https://" not in text
    assert "<script>" not in text
    assert 'style="' not in text


def test_every_answer_tells_the_browser_what_it_may_do(client: FlaskClient) -> None:
    for path in ("/", "/healthz", "/no/such/page", "/static/live.js"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "Server" not in headers


def test_a_crop_that_is_gone_and_a_picture_that_never_came_say_so(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "PICTURE_WAIT_S", 0.01)
    assert client.get("/crops/77.jpg").status_code == 404
    response = client.get("/picture.jpg")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")


def test_an_unknown_address_and_a_wrong_method_are_one_json_sentence(client: FlaskClient) -> None:
    assert client.get("/nothing/here").status_code == 404
    assert client.get("/predict").status_code == 405
    assert "POST" in client.get("/predict").headers["Allow"]
    for response in (client.get("/nothing/here"), client.get("/predict")):
        assert set(response.get_json()) == {"error"}


def test_a_bug_shows_no_stack(client: FlaskClient, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "everything", lambda: 1 / 0)
    response = client.get("/state.json")
    assert response.status_code == 500
    assert "Zero" not in response.get_data(as_text=True)


def test_one_viewer_too_many_is_asked_to_come_back(client: FlaskClient, hub: Hub) -> None:
    viewers = [hub.view() for _ in range(16)]
    response = client.get("/events")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    viewers[0].close()
    with client.get("/events", buffered=False) as events:
        assert events.status_code == 200
    assert hub.viewers == 15


# Commands


def test_pausing_is_handed_to_the_line(client: FlaskClient, told: list[dict[str, Any]]) -> None:
    assert client.post("/commands", json=PAUSE).status_code == 202
    assert told == [{"kind": "command", "command": PAUSE}]


@pytest.mark.parametrize(
    "body",
    [
        {}, [], "pause", {"command": "explode"}, {"command": ["pause"]}, {"command": "pause"},
        {"command": "pause", "paused": 1}, {"command": "pause", "paused": True, "also": 1},
    ],
)  # fmt: skip
def test_what_is_no_command_never_reaches_the_line(client: FlaskClient, told: list[dict[str, Any]], body: Any) -> None:
    response = client.post("/commands", json=body)
    assert response.status_code == 400
    assert told == []


def test_a_number_in_an_address_is_one_of_ascii_digits(client: FlaskClient, hub: Hub) -> None:
    hub.add_incident({**asdict(fake_line.INCIDENT), "number": 3})
    for number in ("٣", "+3", "3_0", "3.0", "%203", "9" * 400):
        assert client.post(f"/incidents/{number}/clear").status_code == 404
    assert client.post("/incidents/3/clear").status_code == 200


# The door


def test_without_the_token_only_health_is_told(guarded: FlaskClient) -> None:
    for path in ("/", "/state.json", "/events", "/picture.jpg", "/crops/1.jpg", "/metrics", "/openapi.json"):
        assert guarded.get(path).status_code == 401, path
    assert guarded.post("/predict", data=painted("red"), content_type="image/jpeg").status_code == 401
    assert guarded.post("/commands", json=PAUSE).status_code == 401
    assert guarded.get("/healthz").status_code == 200
    assert guarded.get("/readyz").status_code == 503
    assert "Bearer" in guarded.get("/state.json").headers["WWW-Authenticate"]


def addresses(client: FlaskClient) -> list[tuple[str, str]]:
    """Every call that the app answers, as a method and an address."""
    found = []
    for rule in client.application.url_map.iter_rules():
        address = re.sub(r"<int:\w+>", "1", re.sub(r"<(path:)?\w+>", "x", rule.rule))
        found += [(method, address) for method in sorted(rule.methods or ()) if method not in {"HEAD", "OPTIONS"}]
    return found


def test_no_call_at_all_is_answered_without_the_token_but_health_and_the_login(guarded: FlaskClient) -> None:
    open_to_all = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/login"), ("POST", "/login"), ("GET", "/static/x")}
    calls = addresses(guarded)
    assert open_to_all < set(calls)
    assert len(calls) > 25
    for method, address in set(calls) - open_to_all:
        response = guarded.open(address, method=method, json={} if method == "POST" else None)
        assert (response.status_code, set(response.get_json())) == (401, {"error"}), (method, address)


def test_no_call_that_changes_or_costs_anything_is_taken_from_another_sites_page(
    client: FlaskClient, guarded: FlaskClient, told: list[dict[str, Any]]
) -> None:
    changing = [address for method, address in addresses(client) if method != "GET"]
    assert {"/predict", "/commands", "/labels", "/incidents/1/clear", "/eyes/x", "/login"} < set(changing)
    for address in changing:
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert client.post(address, json={}, headers=headers).status_code == 403, address
            assert guarded.post(address, json={}, headers=headers | BEARER).status_code == 403, address
    assert told == []


def test_a_token_is_compared_in_a_time_that_tells_nothing(
    guarded: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []
    honest = hmac.compare_digest

    def listening(given: bytes, wanted: bytes) -> bool:
        compared.append((given, wanted))
        return honest(given, wanted)

    monkeypatch.setattr(guard.hmac, "compare_digest", listening)
    guarded.get("/state.json", headers={"Authorization": "Bearer a guess"})
    guarded.post("/login", data={"token": "another"})
    guarded.set_cookie("sortline", "9999999999.00")
    guarded.get("/state.json")
    assert compared[:2] == [(b"a guess", TOKEN.encode()), (b"another", TOKEN.encode())]
    assert compared[2][0] == b"9999999999.00"


def test_with_the_token_everything_is_told(guarded: FlaskClient) -> None:
    assert guarded.get("/state.json", headers=BEARER).status_code == 200
    picture = guarded.post("/predict", data=painted("red"), content_type="image/jpeg", headers=BEARER)
    assert picture.status_code == 200


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer näh"])
def test_a_wrong_token_is_no_token(guarded: FlaskClient, given: str) -> None:
    assert guarded.get("/state.json", headers={"Authorization": given}).status_code == 401


def test_a_browser_is_shown_the_login_and_gets_a_cookie_for_the_token(guarded: FlaskClient) -> None:
    assert guarded.get("/", headers={"Accept": "text/html"}).headers["Location"] == "/login"
    assert "Token of this line" in guarded.get("/login").get_data(as_text=True)
    wrong = guarded.post("/login", data={"token": "no"})
    assert wrong.status_code == 401
    assert "Set-Cookie" not in wrong.headers
    right = guarded.post("/login", data={"token": TOKEN})
    cookie = right.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    assert guarded.get("/state.json").status_code == 200


def test_a_cookie_cannot_be_made_up_or_made_to_last(guarded: FlaskClient) -> None:
    guarded.post("/login", data={"token": TOKEN})
    cookie = guarded.get_cookie("sortline")
    assert cookie
    until, _, seal = cookie.value.partition(".")
    for forged in (f"{int(until) + 1}.{seal}", f"{until}.{'0' * 64}", "", ".", f"1.{seal}", "²." + seal, seal):
        guarded.set_cookie("sortline", forged)
        assert guarded.get("/state.json").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:9999"},
    ],
)
def test_another_sites_page_can_change_nothing_and_cost_nothing(
    client: FlaskClient, told: list[dict[str, Any]], headers: dict[str, str]
) -> None:
    assert client.post("/commands", json=PAUSE, headers=headers).status_code == 403
    assert client.post("/incidents/1/clear", headers=headers).status_code == 403
    picture = client.post("/predict", data=painted("red"), content_type="image/jpeg", headers=headers)
    assert picture.status_code == 403
    assert told == []


def test_this_sites_own_page_may(client: FlaskClient) -> None:
    for headers in ({"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}):
        assert client.post("/commands", json=PAUSE, headers=headers).status_code == 202


def test_another_name_that_points_here_is_not_answered(client: FlaskClient) -> None:
    assert client.get("/state.json", headers={"Host": "evil.example"}).status_code == 421
    for name in ("localhost:1", "127.0.0.1:8080", "[::1]:8080"):
        assert client.get("/healthz", headers={"Host": name}).status_code == 200


def test_behind_a_proxy_that_keeps_the_name_the_token_opens_the_page(guarded: FlaskClient) -> None:
    name = {"Host": "line1.example", "Origin": "http://line1.example"}
    assert guarded.post("/login", data={"token": TOKEN}, headers=name).status_code == 302
    assert guarded.post("/commands", json=PAUSE, headers=BEARER | name).status_code == 202
    assert guarded.post("/commands", json=PAUSE, headers=BEARER | name | {"Host": "line2.example"}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost", "::1", "machine-of-this-test"])
def test_without_a_token_a_strangers_name_pointed_here_is_refused_under_every_loopback_address(
    hub: Hub, line_config: LineConfig, host: str
) -> None:
    """DNS rebinding: the stranger's page is of the same origin then, and only its name tells it from the line's own."""
    web = line_config.web.model_copy(update={"host": host})
    client = create_app(hub, None, line_config.model_copy(update={"web": web})).test_client()
    for name in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example"):
        assert client.get("/state.json", headers={"Host": name}).status_code == 421, name
        assert client.post("/commands", headers={"Host": name, "Origin": f"http://{name}"}).status_code == 421
    for name in ("127.0.0.2:8080", "localhost", "[::1]:8080", f"[{host}]" if ":" in host else host):
        assert client.get("/state.json", headers={"Host": name}).status_code == 200, name
