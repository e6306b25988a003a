"""The benchmark: every scenario measures real parts, and what cannot be measured is said in a sentence."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.bench import SCENARIOS, Bench, fastest, live, oneitem, run_bench
from edge.bench import belt as belts
from edge.bench.cargo import SMEAR_MM, Cargo, cargoes
from edge.bench.eager import Eager
from edge.bench.findings import Bar, Column, Findings, Table, percentile
from edge.bench.live import Stretch, belt, content
from edge.bench.load import Clients
from edge.bench.machine import Meanwhile, Taken, children, describe, process_cpu_s, proportional_mb, thread_cpu_s
from edge.bench.peer import Peer, PeerError
from edge.bench.rival import Rival
from edge.bench.screen import Screen
from edge.bench.startup import Run, as_toml
from edge.bench.twin import LiveTwin
from edge.bench.witness import Witness
from edge.bounded import within
from edge.cli import main
from edge.config import LineConfig
from edge.errors import ConfigError, ModelError
from edge.priority import ask_for_real_time
from edge.simulator.arrivals import PARTS
from tests.edge.tiny_model import FLOAT, write_model

SHORT = 0.05  # the share of the usual measuring time
SMALL = {"width": 640, "height": 360}  # a quarter of the usual pixels, and half the belt in view


@pytest.fixture(autouse=True)
def small_belts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Belts in small pictures, few rows and short pauses: what a scenario measures and says is the same."""

    def small(source: str) -> str:
        return source.replace("width=1280&height=720", "&".join(f"{key}={value}" for key, value in SMALL.items()))

    def small_cargoes(bench: Bench) -> Iterator[Cargo]:
        return (replace(cargo, keys=cargo.keys | SMALL) for cargo in cargoes(bench))

    for scenario in ("belt", "soak"):
        monkeypatch.setattr(f"edge.bench.{scenario}.cargoes", small_cargoes)
    for scenario in ("line", "predict", "startup"):
        monkeypatch.setattr(f"edge.bench.{scenario}.belt", lambda fps, rate=10: small(live.belt(fps, rate)))
    lone = small(oneitem.SOURCE).replace("rate=0.6&min_gap_mm=770", "rate=1.2&min_gap_mm=370")
    monkeypatch.setattr("edge.bench.oneitem.SOURCE", lone)
    monkeypatch.setattr("edge.bench.crowd.COUNTS", (1, 4, 16))
    monkeypatch.setattr("edge.bench.belt.SETTLING_S", 0.3)
    monkeypatch.setattr("edge.bench.fastest.SETTLING_S", fastest.SETTLING_S / 2)
    monkeypatch.setattr("edge.bench.fastest.SLOWEST_MM_S", 3 * fastest.SLOWEST_MM_S)
    monkeypatch.setattr("edge.bench.fastest.FIELD_MM", fastest.FIELD_MM / 2)
    monkeypatch.setattr("edge.bench.soak.SAMPLES", 4)
    monkeypatch.setattr("edge.bench.servers.TURNS", 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "parts.onnx", PARTS, size=32)


def found_in(path: Path, name: str) -> dict[str, Any]:
    """What a benchmark that measured this scenario alone has written."""
    content = json.loads(path.read_text())
    assert list(content["scenarios"]) == [name]
    found: dict[str, Any] = content["scenarios"][name]
    for table in found["tables"].values():
        assert table["how"].endswith(".")
        assert table["rows"]
        assert all(column["key"] in row for column in table["columns"] for row in table["rows"])
    return found


def measured(name: str, model: Path, tmp_path: Path, effort: float = SHORT) -> dict[str, Any]:
    path = tmp_path / "bench.json"
    assert run_bench([name], model, path, effort=effort) == 0
    return found_in(path, name)


@pytest.mark.parametrize(("views", "told"), [(0.06, True), (0.97, False)])
def test_a_model_that_has_not_learnt_its_items_on_the_belt_is_pointed_out(views: float, told: bool) -> None:
    rows = [("drawn parts", 1.0), ("cut-outs of test", views), ("cut-outs of test", None)]
    runs = [belts.Run(cargo, "steady", {}, None, single_view=view) for cargo, view in rows]  # type: ignore[arg-type]
    notes = belts._notes(runs)
    assert len(notes) == told
    assert not told or ("cut-outs of test: the model knows 6%" in notes[0] and "python -m edge.simulator" in notes[0])


def test_where_no_terminal_is_the_progress_is_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen().progress("belt") as say:
        say("steady at 1 m/s")
    assert capsys.readouterr() == ("", "belt: steady at 1 m/s\n")


@pytest.fixture(scope="module")
def lite0_at_224(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What scenario `model` finds for a file of that name and size, beside another file and its network's floats."""
    folder = tmp_path_factory.mktemp("lite0")
    floats = write_model(folder / "core.onnx", PARTS, card=False, input_type=FLOAT, input_shape=("N", 224, 224, 3))
    own = write_model(folder / "own.onnx", PARTS, size=224, training={"network": "efficientnet_lite0"})
    path = folder / "bench.json"
    assert run_bench(["model"], own, path, effort=0.01, against=own, floats=floats) == 0
    return found_in(path, "model")


def test_the_model_is_measured_with_each_number_of_threads_and_each_batch(lite0_at_224: dict[str, Any]) -> None:
    tables = lite0_at_224["tables"]
    rows = tables["model"]["rows"]
    cpu = [row for row in rows if row["provider"] == "cpu"]
    assert {row["batch"] for row in cpu} == {1, 4}
    assert {1, len(os.sched_getaffinity(0))} <= {row["threads"] for row in cpu}
    assert rows[0]["to_first_row"] == 1
    assert all(0 < row["p50_ms"] <= row["p99_ms"] and row["runs"] >= 8 for row in rows)
    chosen = [row for row in tables["auto"]["rows"] if row["chosen"] == "auto"]
    assert len(chosen) == 1
    assert min(row["to_best"] for row in tables["auto"]["rows"]) == 1


@pytest.mark.parametrize(("told", "looks"), [({}, 1), ({"looks": 4}, 4), ({"looks": 10**9}, 1), ({"looks": "8"}, 1)])
def test_a_network_alone_is_fed_each_picture_as_often_as_its_file_looks_at_it(
    told: dict[str, Any], looks: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    class Recorded(Peer):
        def call(self, method: str, *, timeout_s: float, **given: Any) -> Any:
            if "batch" in given and self._name == "the network of floats":
                asked.append(given["batch"])
            return super().call(method, timeout_s=timeout_s, **given)

    monkeypatch.setattr("edge.bench.model.Peer", Recorded)
    floats = write_model(tmp_path / "core.onnx", PARTS, card=False, input_type=FLOAT, input_shape=("N", 32, 32, 3))
    own = write_model(tmp_path / "own.onnx", PARTS, calibration=told)
    assert run_bench(["model"], own, effort=0.01, floats=floats) == 0
    assert set(asked) == {looks, 4 * looks}


def test_another_file_its_network_fed_floats_and_torch_are_timed_in_turns_and_lite0_at_224_is_held_to_its_bars(
    lite0_at_224: dict[str, Any],
) -> None:
    found = lite0_at_224
    rows = found["tables"]["model"]["rows"]
    assert [row["batch"] for row in rows if row["provider"].startswith("other file")] == [1, 4]
    assert found["bars"]["to_fp32"]["value"] > 0
    fed = {row["batch"]: row["to_first_row"] for row in rows if row["provider"].endswith("fed ready-made floats")}
    assert set(fed) == {1, 4}
    assert (rows[0]["provider"], rows[0]["threads"], rows[0]["batch"]) == ("cpu", 1, 1)
    assert found["bars"]["to_floats"]["value"] == pytest.approx(1 / fed[1])
    assert found["bars"]["to_floats"]["at_most"] == 1.03
    if find_spec("torch") is None:
        return  # the edge alone: then nothing is said of torch
    torch = [row for row in rows if row["provider"].startswith("torch")]
    assert [row["batch"] for row in torch] == [1, 4]
    assert torch[0]["to_first_row"] == pytest.approx(1 / found["bars"]["to_torch"]["value"])
    assert found["bars"]["to_torch"]["holds"], "the file is no more than a mean and a matrix product"


@pytest.mark.parametrize(
    ("floats", "model", "says"),
    [
        ({"input_type": FLOAT, "size": 64}, {}, "must have one input, float32 [N, 3, 32, 32]; it has pixels"),
        ({}, {}, "it has pixels: tensor(uint8) ['N', 32, 32, 3]"),
        ({"input_type": FLOAT}, {"quantization": {"calibration": "minmax"}}, "own.onnx computes in integers"),
    ],
)
def test_a_network_that_a_file_cannot_be_held_against_is_refused(
    floats: dict[str, Any], model: dict[str, Any], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, core = write_model(tmp_path / "own.onnx", PARTS, **model), write_model(tmp_path / "core.onnx", PARTS, **floats)
    assert main(["bench", "--scenario", "model", "--model", str(own), "--floats", str(core)]) == 2
    assert says in capsys.readouterr().err


def test_torch_that_does_not_start_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(PeerError, match="torch's process ended with status 1"):
        Eager("efficientnet_lite0", 224)


def test_every_way_to_the_models_input_is_measured(model: Path, tmp_path: Path) -> None:
    rows = measured("preprocessing", model, tmp_path)["tables"]["preprocessing"]["rows"]
    assert [row["step"] for row in rows] == ["crop", "jpeg", "jpeg_reduced", "model"]
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in rows)


def test_the_line_is_measured_at_both_frame_rates_stage_by_stage(model: Path, tmp_path: Path) -> None:
    found = measured("line", model, tmp_path)
    tables = found["tables"]
    assert [row["fps"] for row in tables["line"]["rows"]] == [60, 30]
    (one,) = tables["one_item"]["rows"]
    assert one["p50_ms"] >= one["finding_p50_ms"] > 0
    assert found["bars"]["one_item_parts"]["value"] == pytest.approx(one["p50_ms"] / one["model_p50_ms"])
    assert tables["crowd"]["rows"][0]["to_one"] == 1
    many = [row["items"] for row in tables["crowd"]["rows"]]
    assert many == sorted(many)
    assert many[-1] > 8
    for row in tables["line"]["rows"]:
        assert row["frames"] > 0
        assert row["model_p50_ms"] > 0
    assert [row["stage"] for row in tables["stages"]["rows"]] == ["waiting", "finding", "queueing", "classifying"] * 2
    used = {row["thread"]: row["cores"] for row in tables["processor"]["rows"] if row["fps"] == 60}
    assert used["sortline-eye"] > 0
    assert used["web"] > 0


def test_predict_is_measured_on_a_real_socket_and_so_is_what_it_costs_the_line(model: Path, tmp_path: Path) -> None:
    found = measured("predict", model, tmp_path)
    tables = found["tables"]
    assert [row["clients"] for row in tables["predict"]["rows"]] == [1, 8]
    for row in tables["predict"]["rows"]:
        assert row["errors"] == 0
        assert row["answered"] > 0
        assert 0 < row["p50_ms"] <= row["p99_ms"]
    quiet, loud = tables["line_under_load"]["rows"]
    assert (quiet["clients"], loud["clients"]) == (0, 8)
    assert found["bars"]["line_late"]["value"] == loud["late"]
    assert (found["bars"]["line_growth"]["value"] > 0) == (loud["p99_ms"] > quiet["p99_ms"])


def test_predict_is_held_against_the_servers_that_are_installed_and_the_others_are_named(
    model: Path, tmp_path: Path
) -> None:
    found = measured("servers", model, tmp_path)
    rows = found["tables"]["servers"]["rows"]
    assert [(row["server"], row["clients"]) for row in rows[:2]] == [("sortline", 1), ("sortline", 8)]
    assert all(row["errors"] == 0 and 0 < row["p50_ms"] <= row["p99_ms"] for row in rows)
    measured_too = {row["server"] for row in rows}
    for name, package in {
        "tutorial": "torch",
        "litserve, 1 worker": "litserve",
        "litserve, 2 workers": "litserve",
    }.items():
        assert (name in measured_too) != any(note.startswith(f"{name} was not measured") for note in found["notes"])
        assert (name in measured_too) <= (find_spec(package) is not None)
    if "tutorial" in measured_too:
        slow, fast = (next(r for r in rows if r["server"] == s and r["clients"] == 8) for s in ("tutorial", "sortline"))
        share = found["bars"]["tutorial_requests"]["value"]
        assert share == pytest.approx(slow["requests_s"] / fast["requests_s"])


def test_a_rival_that_cannot_start_is_told_with_its_last_word(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r"nobody: ended with status 1 \(.*No module named"):
        Rival("nobody", ["edge.bench.nobody", "PORT"])


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux alone")
def test_what_a_rival_s_workers_take_of_the_machine_is_the_bench_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "servant.py").write_text(
        "import http.server, os, subprocess, sys\n"
        "burn = 'import time\\nwhile time.process_time() < 0.5: pass\\nprint(flush=True)\\ntime.sleep(60)'\n"
        "worker = subprocess.Popen([sys.executable, '-c', burn], stdout=subprocess.PIPE)\n"
        "worker.stdout.readline()\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.BaseHTTPRequestHandler).serve_forever()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = os.times()
    rival = Rival("servant", ["servant", "PORT"])
    group = rival._process.pid
    rival.close()
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system >= 0.5
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)  # nobody is left, not even unburied


def test_belts_are_sorted_in_the_twin_and_held_against_what_really_happened(model: Path, tmp_path: Path) -> None:
    found = measured("belt", model, tmp_path)
    tables = {name: table["rows"] for name, table in found["tables"].items()}
    (steady, uneven), (unknown,), (fired,), (pairs,) = (
        tables[name] for name in ("sorting", "placing", "firing", "touching")
    )
    assert (steady["motion"], uneven["motion"], unknown["error"]) == ("steady", "stop and go", "+10%")
    assert steady["items"] > 0
    assert 0 <= steady["single_view_percent"] <= 100
    assert fired["clients"] == 8
    assert fired["requests_s"] > 0
    assert pairs["items"] > 0
    late = [row["machine_percent"] for row in (steady, uneven, fired)]
    assert all(one is None or 0 <= one <= 100 for one in late)
    # What a busy machine makes of a belt in real time is for the bench to find, and to say: scenarios bar wrong pushes.
    for name, row in (("steady", steady), ("uneven", uneven)):
        bar = found["bars"][f"{name}_wrong"]
        assert (bar["value"], bar["holds"]) == (row["wrong"], row["wrong"] == 0)
    (fastest,) = tables["fastest"]
    assert (fastest["unsafe_m_s"] is None) == (fastest["limited_by"] is None) == (fastest["what"] is None)


def test_a_soak_holds_memory_threads_and_files_against_their_bars(model: Path, tmp_path: Path) -> None:
    found = measured("soak", model, tmp_path, effort=0.003)
    rows = found["tables"]["soak"]["rows"]
    assert [row["window"] for row in rows] == list(range(1, 11))
    assert rows[-1]["items"] > rows[0]["items"]
    assert {"line_memory", "web_memory", "threads", "handles", "wrong"} <= set(found["bars"])
    assert found["bars"]["threads"]["value"] is not None
    assert found["bars"]["handles"]["value"] is not None


def test_pictures_that_the_model_does_not_know_are_refused_for_the_belt(model: Path, tmp_path: Path) -> None:
    (tmp_path / "cucumber").mkdir()
    cv2.imwrite(str(tmp_path / "cucumber" / "1.png"), np.full((40, 40, 3), 80, np.uint8))
    with pytest.raises(ConfigError, match="does not know cucumber"):
        run_bench(["belt"], model, items=tmp_path, effort=SHORT)


def test_a_process_that_gave_up_its_priority_is_not_granted_any(model: Path) -> None:
    source = "sim:?rate=2&seconds=60&fps=5&width=320&height=320"
    whole = content(model, PARTS, source, web=False)
    with Peer("the twin", LiveTwin, content=whole, real_time=False) as twin:
        assert twin.call("granted", timeout_s=30) is False


HOLDS_A_CORE = """
import os, time
os.sched_setaffinity(0, {CORE})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(95))
until = time.monotonic() + 0.05
while time.monotonic() < until:
    pass
"""


def test_a_witness_sees_a_core_being_taken_away() -> None:
    if refused := within(None, ask_for_real_time, "asking"):
        pytest.skip(refused)
    cores = os.sched_getaffinity(0)
    with Witness() as machine:
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", HOLDS_A_CORE.replace("CORE", str(max(cores)))], check=True)
        watched_s = (time.monotonic() - began) * len(cores)
    share = machine.later_than(0.01)
    assert share is not None
    # 50 ms of one core, less the 10 that are no lateness yet and the half that passes before the next wake.
    assert 0.039 / watched_s * 0.9 < share < 1
    assert machine.later_than(60.0) == 0


def test_a_witness_that_is_granted_nothing_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.bench.witness.ask_for_real_time", lambda priority: "refused")
    with Witness() as machine:
        pass
    assert machine.later_than(0.001) is None


def test_a_fresh_start_and_the_memory_of_both_processes_are_held_against_their_bars(
    model: Path, tmp_path: Path
) -> None:
    found = measured("startup", model, tmp_path)
    first, page, stop = found["tables"]["startup"]["rows"]
    assert 0 < first["median_s"] <= page["median_s"]
    assert stop["median_s"] > 0
    line, web, both = (row["memory_mb"] for row in found["tables"]["memory"]["rows"])
    assert both == pytest.approx(line + web)
    assert min(line, web) > 5
    assert found["bars"]["memory"]["value"] == both
    assert found["bars"]["start"]["at_most"] == 2.0
    assert found["bars"]["memory"]["holds"] == (both <= 300)


def test_an_unknown_scenario_is_refused_with_those_that_there_are(model: Path) -> None:
    with pytest.raises(ConfigError, match=r"lime: there is no such scenario \(did you mean line\? there are: model, "):
        run_bench(["lime"], model)


def test_the_command_ends_with_status_2_for_a_scenario_or_a_model_that_is_not_there(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--scenario", "speed", "--model", str(model)]) == 2
    assert "--scenario speed: there is no such scenario" in capsys.readouterr().err
    assert main(["bench", "--model", "/nowhere/m.onnx"]) == 2
    assert "/nowhere/m.onnx: no such model file" in capsys.readouterr().err
    with pytest.raises(ModelError, match="no such model file"):
        run_bench(["model"], Path("/nowhere/m.onnx"))


def test_a_scenario_that_fails_is_named_and_the_others_are_still_measured(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: Bench) -> Findings:
        raise PeerError("the line: gave no answer within 10 s")

    def finds(bench: Bench) -> Findings:
        bench.say("nearly done")
        table = Table("t", "A table", "Counted by hand.", (Column("n", "number", "mm"),), [{"n": 1.25}, {"n": None}])
        return Findings((table,), (Bar("low", "height", 2.0, 1.0, "mm"), Bar("none", "depth", None, 1.0, "mm")))

    monkeypatch.setattr("edge.bench.SCENARIOS", {"fails": fails, "finds": finds})
    path = tmp_path / "bench.json"
    assert run_bench(None, model, path, effort=SHORT) == 1
    said = capsys.readouterr().out
    assert "fails could not be measured: the line: gave no answer within 10 s" in said
    assert "Counted by hand." in said
    assert "height: 2.00 mm, bar 1 mm: DOES NOT HOLD" in said
    assert "depth: cannot be measured on this system" in said
    scenarios = json.loads(path.read_text())["scenarios"]
    assert scenarios["fails"] == {"failed": "the line: gave no answer within 10 s"}
    assert scenarios["finds"]["tables"]["t"]["rows"] == [{"n": 1.25}, {"n": None}]
    assert [scenarios["finds"]["bars"][name]["holds"] for name in ("low", "none")] == [False, None]


def test_the_machine_is_described_so_that_runs_can_be_compared() -> None:
    machine = describe()
    assert machine["cores"] >= 1
    assert machine["libraries"]["onnxruntime"]
    assert "cpu" in machine["providers"]
    json.dumps(machine)


def test_what_this_programs_ended_parts_have_used_is_not_counted_as_others() -> None:
    if not Path("/proc/stat").exists():
        pytest.skip("needs Linux's /proc")
    meanwhile, started, before = Meanwhile(), time.monotonic(), sum(os.times()[:4])
    with Peer("a part", Part) as part:
        part.call("work", seconds=0.5, timeout_s=60)
    own = sum(os.times()[:4]) - before
    machine = (time.monotonic() - started) * (os.cpu_count() or 1)
    taken = meanwhile.taken()
    assert own > 0.4
    assert taken is not None
    assert 0 <= taken.others <= 1 - own / machine + 0.05


@pytest.mark.parametrize("speed_mm_s", [500, 1000, 2000, 3000])
def test_the_benchmarks_belts_smear_by_as_little_as_its_table_says(speed_mm_s: float) -> None:
    sim = Cargo("parts", Path("parts.onnx"), (), {}).sim(speed_mm_s, 1.0)
    assert sim["exposure_ms"] * 1e-3 * speed_mm_s == pytest.approx(min(SMEAR_MM, speed_mm_s * 1e-3), abs=0.01)


def test_what_the_host_of_a_virtual_machine_keeps_is_told_from_what_programs_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = os.sysconf("SC_CLK_TCK")

    def seconds(user: int, idle: int, steal: int) -> None:
        fields = (user, 0, 0, idle, 0, 0, 0, steal, 0, 0)
        (tmp_path / "stat").write_text(f"cpu  {' '.join(str(tick * one) for one in fields)}\ncpu0 1 2 3\n")

    monkeypatch.setattr("edge.bench.machine.PROC", tmp_path)
    monkeypatch.setattr(os, "times", lambda: os.times_result((0.0,) * 5))
    seconds(1000, 1000, 10)
    meanwhile = Meanwhile()
    assert meanwhile.taken() is None  # nothing has passed yet
    seconds(1030, 1060, 20)
    assert meanwhile.taken() == Taken(others=0.3, host=0.1)
    (tmp_path / "stat").unlink()
    assert meanwhile.taken() is None


def test_what_a_process_takes_of_the_machine_can_be_read() -> None:
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("needs Linux's /proc")
    with Peer("a part", Part) as part:
        process = part.call("process", timeout_s=30)
        assert process in children(os.getpid())
        assert (proportional_mb(process) or 0) > 1
        assert (process_cpu_s(process) or 0) > 0
        part.close()
        assert process not in children(os.getpid())
        assert proportional_mb(process) is None
    thread = threading.get_native_id()
    before = thread_cpu_s(thread) or 0.0
    sum(range(1_000_000))
    assert (thread_cpu_s(thread) or 0.0) > before


class Part:
    """What the tests below run in a process of its own."""

    def __init__(self, broken: bool = False) -> None:
        if broken:
            raise ModelError("m.onnx: has no model card")

    def process(self) -> int:
        return os.getpid()

    def double(self, value: int) -> int:
        return value * 2

    def fail(self) -> None:
        raise ValueError("no such thing")

    def work(self, seconds: float) -> None:
        while time.process_time() < seconds:
            pass

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def die(self) -> None:
        os._exit(7)


def test_a_part_in_its_own_process_answers_fails_and_goes_on() -> None:
    with Peer("the part", Part) as part:
        assert part.call("double", value=21, timeout_s=30) == 42
        with pytest.raises(PeerError, match="the part: ValueError: no such thing"):
            part.call("fail", timeout_s=30)
        assert part.call("double", value=1, timeout_s=30) == 2


def test_a_part_that_cannot_be_made_hangs_or_dies_is_said_in_a_sentence() -> None:
    with pytest.raises(PeerError, match=r"the part: m\.onnx: has no model card"):
        Peer("the part", Part, broken=True)
    with Peer("the part", Part) as part, pytest.raises(PeerError, match="gave no answer within 0 s"):
        part.call("sleep", seconds=1.0, timeout_s=0.1)
    with Peer("the part", Part) as part, pytest.raises(PeerError, match="its process ended with status 7"):
        part.call("die", timeout_s=30)


def test_clients_count_what_is_not_an_answer_and_stop_in_time() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with Peer("the clients", Clients, url=url) as clients:
            answers = clients.call("send", clients=2, seconds=0.3, timeout_s=60)
    assert answers.seconds == []
    assert answers.others["ConnectionRefusedError"] >= 2
    assert answers.per_second == 0


def test_a_run_that_ends_before_its_first_frame_is_reported_with_its_last_words(tmp_path: Path) -> None:
    run = Run(tmp_path / "absent.toml")
    try:
        with pytest.raises(PeerError, match=r"ended before it said 'the page'.*absent.toml: no such file"):
            run.says("the page")
    finally:
        run.stop()


def test_the_line_that_is_measured_is_a_whole_valid_configuration_file(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "line.toml"
    written = content(model, ("red", 'a "quoted" class', "größe"), belt(fps=60), web=True)
    path.write_text(as_toml(written), encoding="utf-8")
    assert LineConfig.load(path) == LineConfig.parse(written)
    assert LineConfig.load(path).lane_of("größe").output is not None


def test_stretches_of_time_are_pooled_figure_by_figure() -> None:
    one = Stretch(2.0, 10, 1, 3, 0, [0.1], {"finding": [0.2]}, [], {"eye": 1.0}, 0.5)
    other = Stretch(1.0, 5, 0, 2, 1, [0.3], {"finding": [0.4]}, [0.01], {"eye": 0.5, "mind": 0.25}, 0.0)
    pooled = Stretch.pooled([one, other])
    assert (pooled.seconds, pooled.frames, pooled.late) == (3.0, 15, 1)
    assert pooled.frame_to_decision_s == [0.1, 0.3]
    assert pooled.stages_s == {"finding": [0.2, 0.4]}
    assert pooled.cpu_s == {"eye": 1.5, "mind": 0.25}


def test_a_percentile_is_a_value_that_was_measured_or_none() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(range(1, 101), 0.99) == 100
    assert set(SCENARIOS) >= {"model", "preprocessing", "line", "predict", "startup"}
