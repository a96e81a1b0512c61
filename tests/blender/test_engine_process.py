"""The engine's process against engines that break: dead, silent, garbled, of another version, deaf."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

WORK = """
hello()
for m in lines:
    with open(HERE / "log", "a") as log: log.write(json.dumps([os.getpid(), m["verb"], m["params"]]) + "\\n")
    if m["verb"] == "cancel":
        continue
    send("started", id=m["id"])
"""


@pytest.fixture
def client(parlando: SimpleNamespace, tmp_path: Path, worker: Any) -> Any:
    """A client of its own, whose engine is the worker."""
    process = parlando.engine_process
    python = os.environ.get("PARLANDO_ENGINE_PYTHON", str(tmp_path / "python"))
    made = process.EngineClient(lambda: process.Launch(python, tmp_path))
    yield made
    made.stop()


@pytest.fixture
def ask(client: Any) -> Callable[..., list[dict[str, Any]]]:
    """Sends a request; the list fills with its events."""

    def send(verb: str = "dub", **params: Any) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        client.submit(verb, params, events.append)
        return events

    return send


def pump_until(client: Any, condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, (client.state, client.requests)
        client.pump()
        time.sleep(0.01)


def over(events: list[dict[str, Any]]) -> Callable[[], bool]:
    return lambda: bool(events) and events[-1]["event"] in {"done", "error", "cancelled"}


def test_requests_are_answered_in_order(worker: Any, client: Any, ask: Any) -> None:
    worker(WORK + "    send('done', id=m['id'], result={'n': m['params']['n']})\n")
    first, second = ask(n=1), ask(n=2)
    assert client.state == "OFF"
    pump_until(client, over(second))
    assert [e["event"] for e in first] == ["started", "done"] and second[-1]["result"] == {"n": 2}
    assert client.state == "READY"


def test_the_childs_environment_has_no_python_variables(
    worker: Any, client: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    worker("hello()\nfor m in lines: send('done', id=m['id'], result={k: v for k, v in os.environ.items()})\n")
    events = ask()
    pump_until(client, over(events))
    assert not [name for name in events[-1]["result"] if name.startswith("PYTHON")]


def test_nothing_is_written_beside_the_engine(parlando: SimpleNamespace, tmp_path: Path) -> None:
    launch = parlando.engine_process.Launch("python", tmp_path, "cpu")
    argv = launch.argv()
    assert "-B" in argv
    assert argv[-5:] == ["-m", "engine", "serve", "--device", "cpu"]


def test_a_dead_engine_is_started_again_and_the_job_resumed(worker: Any, client: Any, ask: Any, tmp_path: Path) -> None:
    worker(
        WORK + "    if not (HERE / 'died').exists():\n"
        "        (HERE / 'died').touch(); os.kill(os.getpid(), 9)\n"
        "    send('done', id=m['id'], result={})\n"
    )
    first, second = ask(out="a"), ask(out="b")
    pump_until(client, over(second))
    assert [e["event"] for e in first] == ["started", "note", "started", "done"]
    assert "started again" in first[1]["message"] and "signal 9" in first[1]["message"]
    asked = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(verb, params["out"]) for _, verb, params in asked] == [("dub", "a"), ("dub", "a"), ("dub", "b")]
    assert asked[0][0] != asked[1][0]


def test_an_engine_that_dies_twice_fails_the_job_with_its_last_words(worker: Any, client: Any, ask: Any) -> None:
    worker(WORK + "    print('out of memory, sorry', file=sys.stderr, flush=True)\n    os._exit(7)\n")
    first, second = ask(), ask()
    pump_until(client, over(first))
    assert first[-1]["event"] == "error" and "out of memory, sorry" in first[-1]["message"]
    assert "status 7" in first[-1]["message"]
    pump_until(client, over(second))  # it is tried in its turn
    assert client.state == "OFF"


def test_an_engine_that_cannot_start_tells_why(worker: Any, client: Any, ask: Any) -> None:
    worker("raise ModuleNotFoundError('No module named torch')\n")
    first, second = ask(), ask()
    pump_until(client, over(second))
    assert "No module named torch" in first[-1]["message"] and first[-1]["event"] == "error"


def test_a_python_that_is_not_there(parlando: SimpleNamespace, tmp_path: Path) -> None:
    process = parlando.engine_process
    client = process.EngineClient(lambda: process.Launch(str(tmp_path / "nowhere"), tmp_path))
    events: list[dict[str, Any]] = []
    client.submit("dub", {}, events.append)
    client.pump()
    assert events[-1]["event"] == "error" and "preferences" in events[-1]["message"]


def test_garbage_is_stepped_over(worker: Any, client: Any, ask: Any) -> None:
    worker(
        "print('warming up'); sys.stdout.flush()\n"
        + WORK
        + '    sys.stdout.buffer.write(b\'\\xff\\xfe\\x00 nonsense\\n[1, 2]\\n{"event": "dance"}\\n\\n\')\n'
        "    send('progress', id=99, stage='frames', fraction='much')\n"
        "    send('progress', id=m['id'], stage='frames', fraction=0.5)\n"
        "    send('done', id=m['id'], result={})\n"
    )
    events = ask()
    pump_until(client, over(events))
    assert [e["event"] for e in events] == ["started", "progress", "done"]


def test_an_engine_that_never_says_hello(worker: Any, client: Any, ask: Any) -> None:
    worker("print('?' * 100, flush=True)\ntime.sleep(60)\n")
    client.hello_timeout = 1.0
    events = ask()
    pump_until(client, over(events))
    assert "did not answer" in events[-1]["message"] and client.pid is None


def test_another_version_of_the_protocol(worker: Any, client: Any, ask: Any) -> None:
    worker("hello(protocol=2)\nfor m in lines: pass\n")
    events = ask()
    pump_until(client, over(events))
    assert "version 2" in events[-1]["message"] and client.state == "OFF"


def test_cancel_waiting_running_and_unheard(worker: Any, client: Any, ask: Any, tmp_path: Path) -> None:
    worker(WORK)  # it never ends a job and does not hear a cancel
    first, second = ask(), ask()
    pump_until(client, lambda: bool(first))
    client.cancel(client.requests[1])
    assert second[-1]["event"] == "cancelled"
    client.cancel_timeout = 0.5
    client.cancel(client.requests[0])
    pump_until(client, over(first))
    assert first[-1]["event"] == "cancelled"
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])[1] == "cancel"


def test_a_cancel_that_is_heard(worker: Any, client: Any, ask: Any) -> None:
    worker(
        "hello()\nfor m in lines:\n"
        "    if m['verb'] == 'cancel': send('cancelled', id=m['params']['job']); send('done', id=m['id'], result={})\n"
        "    else: send('started', id=m['id'])\n"
    )
    events = ask()
    pump_until(client, lambda: bool(events))
    pid = client.pid
    client.cancel(client.requests[0])
    pump_until(client, over(events))
    assert events[-1]["event"] == "cancelled" and client.pid == pid  # the engine stays warm


def test_what_is_asked_beside_the_jobs(worker: Any, client: Any, ask: Any) -> None:
    """It does not wait for the job before it; when the engine dies it has failed, and the job goes on."""
    worker(
        "hello()\nfor m in lines:\n"
        "    if m['verb'] == 'dub': send('started', id=m['id']); continue\n"
        "    if m['params'].get('die') and not (HERE / 'died').exists():\n"
        "        (HERE / 'died').touch(); os._exit(5)\n"
        "    send('done', id=m['id'], result={})\n"
    )
    job = ask()
    pump_until(client, lambda: bool(job))
    first: list[dict[str, Any]] = []
    client.ask("frame", {}, first.append)
    pump_until(client, over(first))
    assert first[-1]["event"] == "done" and not over(job)()
    second: list[dict[str, Any]] = []
    client.ask("frame", {"die": True}, second.append)
    pump_until(client, over(second))
    assert second[-1]["event"] == "error" and "status 5" in second[-1]["message"]
    pump_until(client, lambda: [e["event"] for e in job] == ["started", "note", "started"])
    assert client.busy and not client.asked


def test_asked_of_an_engine_that_cannot_start(parlando: SimpleNamespace, tmp_path: Path) -> None:
    process = parlando.engine_process
    client = process.EngineClient(lambda: process.Launch(str(tmp_path / "nowhere"), tmp_path))
    events: list[dict[str, Any]] = []
    client.ask("frame", {}, events.append)
    client.pump()
    assert events[-1]["event"] == "error" and not client.busy


def test_the_process_ends_with_its_client(worker: Any, client: Any, ask: Any) -> None:
    worker("hello()\ntime.sleep(600)\n")
    ask()
    pump_until(client, lambda: client.state == "WORKING")
    pid = client.pid
    client.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_changed_device_restarts_an_idle_engine(worker: Any, parlando: SimpleNamespace, tmp_path: Path) -> None:
    worker(WORK + "    send('done', id=m['id'], result={})\n")
    process, device = parlando.engine_process, ["cpu"]
    client = process.EngineClient(lambda: process.Launch(str(tmp_path / "python"), tmp_path, device[0]))
    events: list[dict[str, Any]] = []
    client.submit("doctor", {}, events.append)
    pump_until(client, over(events))
    pid = client.pid
    client.refresh()
    assert client.pid == pid
    device[0] = "cuda"
    client.refresh()
    assert client.state == "OFF"
