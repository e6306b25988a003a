"""Distributions: percentiles and the newest values, with bounded memory."""

from edge.stats import Distribution


def test_the_newest_values_come_oldest_first_and_no_further_back_than_is_kept() -> None:
    distribution = Distribution(keep=4)
    assert distribution.newest(3) == []
    for value in (1.0, 2.0, 3.0):
        distribution.add(value)
    assert distribution.newest(2) == [2.0, 3.0]
    for value in (4.0, 5.0, 6.0):
        distribution.add(value)
    assert distribution.newest(3) == [4.0, 5.0, 6.0]
    assert distribution.newest(100) == [3.0, 4.0, 5.0, 6.0]


def test_percentiles_are_of_the_newest_values_and_counts_of_all() -> None:
    distribution = Distribution(keep=3)
    assert distribution.percentile(0.5) == 0.0
    for value in (9.0, 0.001, 0.002, 0.003):
        distribution.add(value)
    assert distribution.milliseconds() == {"p50": 2.0, "p99": 3.0, "max": 9000.0}
    assert distribution.buckets()["count"] == 4
    assert distribution.buckets()["buckets"][-1] == [5.0, 3]
