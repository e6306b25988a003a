from tests.edge.camera.servers import RtspServer
from tests.edge.camera.soak import Held, soak

ROUNDS = 2
"""`python -m tests.edge.camera.soak 20` does twenty of each kind, and prints what it measured."""


def test_a_camera_that_goes_and_comes_leaves_nothing_behind(rtsp: RtspServer) -> None:
    before, rounds, incidents = soak(ROUNDS, rtsp, away_s=0.3, frozen_s=1.3, read_timeout_s=0.7)
    for done in rounds:
        held = done.held
        assert (held.threads, held.files, held.sockets, held.children) == (
            before.threads,
            before.files,
            before.sockets,
            before.children,
        )
        assert done.back_s < 10, done
    expected = ["camera_lost"] * ROUNDS + ["camera_stalled"] * ROUNDS
    assert incidents == [(name, recovered) for name in expected for recovered in (False, True)]
    assert Held.now().children == 0
