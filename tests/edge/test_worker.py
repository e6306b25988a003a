"""A worker: one thread, one bounded queue, a stated policy."""

import asyncio
import threading

from edge.worker import Worker


def test_jobs_are_done_in_order_and_finished_before_the_stop() -> None:
    done: list[int] = []
    worker = Worker("t", done.append, 1000, lambda error: None)
    assert all(worker.put(n) for n in range(500))
    assert worker.stop(10) == []
    assert done == list(range(500))


def test_a_full_queue_refuses_and_says_so() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def handle(_: int) -> None:
        entered.set()
        go_on.wait(10)

    worker = Worker("t", handle, 2, lambda error: None)
    worker.put(0)
    assert entered.wait(10)
    assert [worker.put(n) for n in (1, 2, 3)] == [True, True, False]
    go_on.set()
    assert worker.stop(10) == []


def test_a_job_that_raises_is_reported_and_the_next_is_done() -> None:
    errors: list[BaseException] = []
    done: list[int] = []

    def handle(job: int) -> None:
        if job == 1:
            raise ValueError("one")
        if job == 2:
            raise SystemExit(2)  # a user's function may end itself, not the line's thread
        if job == 3:
            raise asyncio.CancelledError("gone")  # which is no Exception
        done.append(job)

    worker = Worker("t", handle, 10, errors.append)
    for n in range(5):
        worker.put(n)
    worker.stop(10)
    assert done == [0, 4]
    assert [str(error) for error in errors] == ["one", "2", "gone"]


def test_without_a_thread_the_job_is_done_at_once() -> None:
    done: list[int] = []
    worker = Worker("t", done.append, 1, lambda error: None, threaded=False)
    assert worker.put(1)
    assert done == [1]
