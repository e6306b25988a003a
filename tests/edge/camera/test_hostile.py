"""Addresses at which something else than a camera answers: refused in a sentence, and in time."""

import time
from collections.abc import Callable

import pytest

from edge.camera import CameraSettings
from edge.camera.probe import probe
from edge.errors import CameraError
from tests.edge.camera import hostile
from tests.edge.camera.conftest import Rig
from tests.edge.camera.hostile import Handler
from tests.edge.camera.soak import Held

CASES = [("http", handler) for handler in hostile.HTTP] + [("rtsp", handler) for handler in hostile.RTSP]


@pytest.mark.parametrize(("scheme", "handler"), CASES, ids=lambda one: getattr(one, "__name__", one))
def test_what_is_no_camera_is_refused_within_its_timeouts_and_without_its_password(
    scheme: str, handler: Handler
) -> None:
    before = Held.now()
    with hostile.server(handler) as address:
        settings = CameraSettings(
            source=f"{scheme}://user:secret@{address}/belt", open_timeout_s=1.5, read_timeout_s=0.5
        )
        began = time.monotonic()
        with pytest.raises(CameraError, match=rf"^{scheme}://…@{address}/belt: ") as error:
            probe(settings, seconds=0.5)
        assert time.monotonic() - began < 15
    assert "secret" not in str(error.value)
    after = Held.now()
    assert (after.files, after.children) == (before.files, before.children)


@pytest.mark.parametrize("handler", [hostile.a_part_without_end, hostile.headers_without_end])
def test_stop_does_not_wait_for_one_who_never_stops_talking(handler: Handler, grab: Callable[..., Rig]) -> None:
    with hostile.server(handler) as address:
        rig = grab(source=f"http://{address}/belt", open_timeout_s=60)
        assert rig.grabber.take(0.5) is None
        assert rig.stop() < 2.0


def test_a_stream_of_huge_pictures_is_refused_by_its_size_however_fast_the_machine_is() -> None:
    with hostile.server(hostile.pictures_that_unpack_to_gigabytes) as address:
        settings = CameraSettings(source=f"http://{address}/belt", open_timeout_s=30, read_timeout_s=30)
        with pytest.raises(CameraError, match="sends pictures of 12000x9000; at most 50 million pixels"):
            probe(settings, seconds=0.5)
