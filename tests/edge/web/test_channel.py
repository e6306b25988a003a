"""Messages between the line and its web side."""

import json
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from edge.web.channel import Channel, ChannelClosed, to_json


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    left, right = (Channel(end) for end in socket.socketpair())
    yield left, right
    left.close()
    right.close()


def test_messages_arrive_whole_and_in_order_with_their_bytes(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    picture = np.random.default_rng(1).integers(0, 256, (540, 960, 3), np.uint8)
    sender = threading.Thread(
        target=lambda: [left.send({"n": 1}), left.send({"n": 2}, picture.data.cast("B")), left.send({"n": 3})]
    )
    sender.start()
    received = [right.receive(10) for _ in range(3)]
    sender.join()
    assert [message for message, _ in received] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert np.array_equal(np.frombuffer(received[1][1], np.uint8).reshape(picture.shape), picture)


def test_two_threads_never_mix_their_messages(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    senders = [
        threading.Thread(target=lambda n=n: [left.send({"from": n}, bytes([n]) * 5000) for _ in range(50)])
        for n in range(2)
    ]
    for sender in senders:
        sender.start()
    for _ in range(100):
        message, payload = right.receive(10)
        assert payload == bytes([message["from"]]) * 5000
    for sender in senders:
        sender.join()


def test_the_other_sides_end_is_noticed_by_receiver_and_sender(pair: tuple[Channel, Channel]) -> None:
    left, right = pair
    left.shutdown()
    with pytest.raises(ChannelClosed):
        right.receive(10)
    with pytest.raises(ChannelClosed):
        right.send({"n": 1})


def test_a_sender_that_waits_for_a_full_channel_is_freed_by_shutdown(pair: tuple[Channel, Channel]) -> None:
    left, _ = pair
    outcome: list[str] = []

    def send() -> None:
        try:
            left.send({}, bytes(8 << 20))  # more than any socket buffer takes
        except ChannelClosed:
            outcome.append("freed")

    sender = threading.Thread(target=send)
    sender.start()
    sender.join(0.2)
    assert sender.is_alive()
    left.shutdown()
    sender.join(10)
    assert outcome == ["freed"]


def test_silence_is_a_timeout(pair: tuple[Channel, Channel]) -> None:
    with pytest.raises(TimeoutError):
        pair[1].receive(0.01)


def test_bytes_of_another_protocol_end_the_channel() -> None:
    stranger, end = socket.socketpair()
    channel = Channel(end)
    stranger.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(ChannelClosed, match="not of this protocol"):
        channel.receive(10)
    stranger.close()
    channel.close()


def test_numbers_that_json_does_not_have_become_null_and_numpys_become_plain() -> None:
    value = {"p50": float("nan"), "most": np.float32(0.5), "n": np.int64(3), "list": [float("inf"), (1, 2)], 4: True}
    assert json.loads(to_json(value)) == {"p50": None, "most": 0.5, "n": 3, "list": [None, [1, 2]], "4": True}
