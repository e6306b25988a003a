"""The clients of /predict, in a process of their own: each sends one picture after the other on its own connection."""

import http.client
import json
import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter, sleep
from urllib.parse import urlsplit

from edge.bench.pictures import jpeg

NICENESS = 10  # a real client is on another machine: here it must not take the line's processor
TIMEOUT_S = 10.0
PAUSE_S = 0.05  # after a failed connection
MOST_REQUESTS = 100_000
BOUNDARY = "sortline-bench-boundary"


@dataclass(slots=True)
class Answers:
    """What came back. seconds has one value a good answer; others counts the rest by what they were."""

    seconds: list[float] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    took_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.took_s if self.took_s else 0.0

    @classmethod
    def pooled(cls, all_of: "Sequence[Answers]") -> "Answers":
        """The answers of several rounds as those of one."""
        return cls(
            seconds=[value for one in all_of for value in one.seconds],
            others=sum((one.others for one in all_of), Counter()),
            took_s=sum(one.took_s for one in all_of),
            cpu_s=sum(one.cpu_s for one in all_of),
        )


class Clients:
    """Sends the same 640x480 JPEG as a multipart form, over keep-alive connections, on this machine only."""

    def __init__(self, url: str) -> None:
        os.nice(NICENESS)
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._body = _form(jpeg())
        self._headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

    def send(self, clients: int, seconds: float) -> Answers:
        """So many clients at once, each as fast as it is answered, for so many seconds."""
        started, cpu = perf_counter(), os.times()
        each = [Answers() for _ in range(clients)]
        threads = [
            threading.Thread(target=self._client, args=(mine, started + seconds, MOST_REQUESTS // clients), daemon=True)
            for mine in each
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds + 2 * TIMEOUT_S)
        used = os.times()
        answers = Answers.pooled(each)
        answers.took_s = perf_counter() - started
        answers.cpu_s = used.user + used.system - cpu.user - cpu.system
        return answers

    def _client(self, mine: Answers, ends: float, most: int) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            for _ in range(most):
                start = perf_counter()
                if start >= ends:
                    return
                try:
                    connection.request("POST", "/predict", self._body, self._headers)
                    response = connection.getresponse()
                    answer = response.read()
                except (OSError, http.client.HTTPException) as error:
                    mine.others[type(error).__name__] += 1
                    connection.close()  # the next request opens it again
                    sleep(PAUSE_S)
                    continue
                if response.status == 200 and "class" in json.loads(answer):
                    mine.seconds.append(perf_counter() - start)
                else:
                    mine.others[f"status {response.status}"] += 1
        finally:
            connection.close()


def _form(picture: bytes) -> bytes:
    """One file as multipart/form-data (RFC 7578)."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="picture.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
