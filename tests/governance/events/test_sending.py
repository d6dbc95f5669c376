"""From a real log to real receivers: rounds, pauses, slow and failing receivers, `send --follow`."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from governance.base.errors import BusyError, StorageError
from governance.events import client, sending
from governance.events.outbox import Outbox
from governance.events.receivers import Receiver, Receivers, path_of
from governance.history.state import LogState, state
from tests.conftest import ROOT
from tests.governance.events.receiving import SECRET, Taken, grown, receiving
from tests.governance.governed import Governed
from tests.governance.registry.place import PASSWORD, place, register, serving
from tests.governance.story import MODEL, START
from tests.governance.terminal import at_terminal, run
from tests.governance.witness.served import MAIN


def clock() -> datetime:
    return START


def chosen(*receivers: Receiver) -> Receivers:
    return Receivers(Path("receivers.yaml"), None, receivers)


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def test_a_log_s_history_and_what_is_open_reach_a_receiver_in_order(scene: Governed) -> None:
    outbox = Outbox(sending.folder_of(scene.story.machine))
    with receiving() as taken:
        desk = chosen(taken.receiver())

        def round_() -> None:
            sending.look(state(scene.story.log), scene.now, outbox, desk, MODEL)
            sending.deliver_all(desk, outbox, client.post, clock)

        round_()
        assert taken.types == ["packet.wanted"]
        scene.released()
        round_()
        assert taken.types == ["packet.wanted", "promotion.done"]
        taken.answers = [500, 500]
        scene.incident("1", "open")
        round_()
        scene.incident("1", "closed")
        round_()
        assert len(taken.bodies) == 2
        round_()
        assert taken.types[2:] == ["incident.opened", "incident.closed"]
        round_()
        assert len(taken.bodies) == 4 and not taken.problems
        sizes = [body["data"]["entries"] for body in taken.bodies]
        assert sizes == sorted(sizes)


def test_pauses_grow_and_no_event_is_given_up(tmp_path: Path) -> None:
    outbox, now = Outbox(tmp_path), [START]
    with receiving(*[500] * 40) as taken:
        desk = taken.receiver()
        grown(outbox, 2, [desk])
        pauses = []
        for _ in range(40):
            done = sending.deliver(desk, outbox, client.post, lambda: now[0])
            standing = outbox.standing("desk")
            assert done.error == "status 500" and standing is not None and standing.not_before
            pauses.append((standing.not_before - now[0]).total_seconds())
            now[0] = standing.not_before
        assert pauses[:4] == [5, 10, 20, 40] and pauses[-1] == sending.LONGEST_PAUSE
        assert all(one <= other for one, other in itertools.pairwise(pauses))
        assert sending.deliver(desk, outbox, client.post, lambda: now[0]).sent == 2
        standing = outbox.standing("desk")
        assert standing is not None and (standing.failures, standing.not_before) == (0, None)
        ids = {headers["webhook-id"] for headers, _ in taken.requests[:41]}
        assert len(ids) == 1, "the next event waits for the one before"
        stamps = [int(headers["webhook-timestamp"]) for headers, _ in taken.requests]
        assert stamps == sorted(stamps) and stamps[0] < stamps[40], "the time of each attempt"
        taken.answers, taken.retry_after = [503], "5000"
        grown(outbox, 3, [desk])
        sending.deliver(desk, outbox, client.post, lambda: now[0])
        standing = outbox.standing("desk")
        assert standing is not None and standing.not_before == now[0] + timedelta(seconds=5000)


def test_a_slow_receiver_delays_no_other(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    with receiving(0.5, 0.5) as slow, receiving() as quick:
        both = chosen(slow.receiver("slow"), quick.receiver("quick"))
        grown(outbox, 3, both.all)
        began = time.monotonic()
        threading.Thread(
            target=sending.deliver_all, args=(both, outbox, client.post, clock)
        ).start()
        until(lambda: len(quick.bodies) == 3)
        assert time.monotonic() - began < 1 and len(slow.bodies) < 3
        until(lambda: len(slow.bodies) == 3)
        assert slow.ids == quick.ids


def test_an_attempt_that_arrives_late_is_a_double_and_changes_no_order(tmp_path: Path) -> None:
    """The receiver takes the first attempt when two later events have arrived."""
    outbox = Outbox(tmp_path)

    def impatient(receiver: Receiver, id_: str, body: bytes, at: datetime) -> client.Answer:
        return client.post(receiver, id_, body, at, 0.2)

    with receiving(0.8) as taken:
        desk = taken.receiver()
        grown(outbox, 3, [desk])
        assert sending.deliver(desk, outbox, impatient, clock).sent == 0
        assert sending.deliver(desk, outbox, impatient, clock).sent == 3
        until(lambda: len(taken.ids) == 4)
        assert taken.ids[3] == taken.ids[0] and len(set(taken.ids)) == 3
        sizes = [body["data"]["entries"] for body in taken.bodies[:3]]
        assert sizes == [1, 2, 3]


def test_following_sends_what_is_new_and_survives_a_log_that_is_away(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(sending, "FIRST_PAUSE", 0.0)
    away, said = [True], []

    def read() -> LogState:
        if away[0]:
            raise StorageError("the disk is away")
        return state(scene.story.log)

    with receiving(500) as taken:
        outbox = Outbox(sending.folder_of(scene.story.machine))
        desk = chosen(taken.receiver())
        following = sending.Following(
            read, outbox, desk, MODEL, client.post, scene.story.now, said.append
        )
        thread = threading.Thread(target=following.run)
        thread.start()
        until(lambda: said == ["log: the disk is away"])
        away[0] = False
        until(lambda: taken.types == ["packet.wanted"])
        scene.incident("1", "open")
        until(lambda: "incident.opened" in taken.types)
        following.stopped.set()
        thread.join()
    assert said[1:] == ["log: answers again", "desk: status 500", "desk: answers again"]


# -- Commands --------------------------------------------------------------------------------------
def configure(scene: Governed, taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    at_terminal(scene, monkeypatch)
    monkeypatch.setenv("DESK_SECRET", SECRET)
    monkeypatch.setenv("DESK_URL", taken.url)
    path_of(scene.story.machine).write_text(
        "server: https://models.example.org\n"
        "receivers: {desk: {url: env:DESK_URL, secret: env:DESK_SECRET, since: 0}}\n"
    )


def test_the_commands(scene: Governed, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(500) as taken:
        configure(scene, taken, monkeypatch)
        code, told = run("events", "test", "desk")
        assert code == 8 and "desk: status 500" in told and taken.url not in told
        assert run("events", "test", "desk") == (0, "desk: took the event\n")
        assert taken.types == ["countersign.test"]
        assert "nothing was sent to it yet" in run("events", "list")[1]
        taken.answers = [500]
        code, told = run("events", "send")
        assert code == 8 and "desk: sent 0; status 500; it lacks 1, next attempt" in told
        (standing,) = json.loads(run("events", "list", "--json")[1])["receivers"]
        assert (standing["waiting"], standing["failures"], standing["error"]) == (
            1,
            1,
            "status 500",
        )
        assert "lacks 1; status 500" in run("events", "list")[1]
        assert json.loads(run("events", "send", "--json")[1])["receivers"][0]["sent"] == 1
        shown = json.loads(run("events", "list", "--json")[1])
        assert shown["events"][0] == {"number": 1, **taken.bodies[-1]}
        assert shown["receivers"][0]["waiting"] == 0
        assert shown["receivers"][0]["next_entry"] == scene.story.log.size()
        assert "packet.wanted" in run("events", "list")[1]
        assert "incident.opened" in run("events", "list", "--types")[1]
        with (
            sending.only_sender(sending.folder_of(scene.story.machine)),
            pytest.raises(BusyError),
            sending.only_sender(sending.folder_of(scene.story.machine)),
        ):
            pass
        assert not taken.problems


@pytest.mark.slow
def test_a_process_that_is_killed_and_started_again_sends_everything(
    whole: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = whole.copy(tmp_path)
    with receiving(204, 0.4, 30.0) as taken:
        configure(scene, taken, monkeypatch)
        for ending, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)):
            process = subprocess.Popen(
                [*MAIN[:-1], "events", "send", "--follow"],
                cwd=scene.story.root,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=subprocess.PIPE,
            )
            enough = 3 if code else 6
            until(lambda wanted=enough: len(taken.requests) >= wanted)  # type: ignore[misc]
            if not code:
                until(lambda: len(set(taken.ids)) >= 4)
                time.sleep(0.2)
            process.send_signal(ending)
            _, told = process.communicate(timeout=60)
            assert process.returncode == code, told
            assert SECRET.encode() not in told and taken.url.encode() not in told
    moves = list(dict(zip(taken.ids, taken.types, strict=True)).values())[:4]
    assert moves == ["promotion.done", "promotion.done", "incident.opened", "incident.closed"]
    assert not taken.problems


@pytest.mark.nightly
def test_over_a_server_events_come_and_links_lead_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that has neither the project nor the database."""
    here = place(tmp_path / "server")
    with serving(here) as server, receiving() as taken:
        register(here, server, monkeypatch)
        away = {
            "COUNTERSIGN_HOME": str(tmp_path / "home"),
            "COUNTERSIGN_PROJECT": MODEL,
            "COUNTERSIGN_LOG": server.uri,
            "COUNTERSIGN_USER": server.user,
            "COUNTERSIGN_PASSWORD": PASSWORD,
            "COUNTERSIGN_EVENTS": str(tmp_path / "receivers.yaml"),
            "DESK_SECRET": SECRET,
        }
        for name, value in away.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        row = f"{{url: '{taken.url}', secret: env:DESK_SECRET, since: 0}}"
        (tmp_path / "receivers.yaml").write_text(f"receivers: {{desk: {row}}}\n")
        assert run("events", "send")[0] == 0
        here.scene.incident("1", "open")
        assert run("events", "send")[0] == 0
    assert taken.types[0] == "packet.wanted" and taken.types[-1] == "incident.opened"
    assert taken.bodies[-1]["data"]["link"] == f"{server.uri}/#/models/{MODEL}/versions/1"
    assert not taken.problems
