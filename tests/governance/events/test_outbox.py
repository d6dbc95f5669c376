"""The outbox: at least once, in log order, whatever fails or is killed."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import VerificationError
from governance.events import client
from governance.events.client import Answer
from governance.events.outbox import Outbox
from governance.events.receivers import Receiver
from governance.events.sending import deliver
from tests.conftest import examples
from tests.governance.events.receiving import KEY, KINDS, ORIGIN, grown, made, receiving
from tests.governance.killed import dying_at_write, in_child
from tests.governance.story import START


def clock() -> datetime:
    return START


class Killed(BaseException):
    """The process ends here."""


class Model:
    """A receiver as a model: what it took, and what becomes of the next attempts."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.fates: list[str] = []

    def post(self, receiver: Receiver, id_: str, body: bytes, at: datetime) -> Answer:
        fate = self.fates.pop(0) if self.fates else "take"
        if fate in ("take", "killed after", "lost answer"):
            self.taken.append(id_)
        if fate.startswith("killed"):
            raise Killed
        return Answer(fate == "take", "status 500")


FATES = st.sampled_from(["take", "fail", "killed before", "killed after", "lost answer"])
STEP = st.tuples(st.integers(0, 4), st.sampled_from(["a", "b"]), st.lists(FATES, max_size=4))


@examples(15)
@given(st.lists(STEP, max_size=8))
def test_each_gets_every_event_at_least_once_in_log_order(
    steps: list[tuple[int, str, list[str]]],
) -> None:
    """Each step: the log grows, then one receiver is sent to, until it fails or all ends. Each
    begins with what is on the disk.
    """
    receivers = {
        "a": Receiver("a", "https://a.example", (KEY,), since=0),
        "b": Receiver("b", "https://b.example", (KEY,), ("incident.*", "gate.refused"), 0),
    }
    models = {name: Model() for name in receivers}
    size = 0
    with tempfile.TemporaryDirectory() as folder:
        for more, name, fates in [*steps, (1, "a", []), (0, "b", [])]:
            size += more
            outbox = Outbox(Path(folder))
            grown(outbox, size, list(receivers.values()))
            models[name].fates = list(fates)
            try:
                deliver(receivers[name], outbox, models[name].post, clock)
            except Killed:
                continue
        for name, model in models.items():
            kinds = (KINDS[entry % 3] for entry in range(size))
            every = [
                made(i, kind).id for i, kind in enumerate(kinds) if receivers[name].wants(kind)
            ]
            assert list(dict.fromkeys(model.taken)) == every, "each once at least, in order"
            places = [every.index(id_) for id_ in model.taken]
            assert all(b <= a + 1 and (b >= a) for a, b in itertools.pairwise(places)), "a double"


@pytest.mark.slow
def test_killed_at_any_write_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real process, a real receiver; the kill is before each statement of a transaction."""
    for moment in itertools.count():
        with receiving() as taken:
            everything = taken.receiver()
            wanted = taken.receiver("other", "incident.*")

            def run(
                moment: int = moment, all_: Receiver = everything, some: Receiver = wanted
            ) -> None:
                with dying_at_write(moment, monkeypatch):
                    _send(tmp_path / f"{moment}", [all_, some])

            code = in_child(run)
            _send(tmp_path / f"{moment}", [everything, wanted])
            ids = [made(entry, KINDS[entry]).id for entry in range(3)]
            got = [id_ for id_ in taken.ids if id_ != ids[1]]
            assert list(dict.fromkeys(taken.ids)) == ids
            assert list(dict.fromkeys(got)) == [ids[0], ids[2]] and not taken.problems
            assert taken.ids.count(ids[1]) >= 2, "both receivers"
            if code == 0:
                break
    assert moment > 20


def _send(folder: Path, receivers: Sequence[Receiver]) -> None:
    outbox = Outbox(folder)
    grown(outbox, 3, receivers)
    for receiver in receivers:
        deliver(receiver, outbox, client.post, clock)


def test_a_new_receiver_begins_at_what_is_new_or_where_it_says(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    first, task = Receiver("a", "", ()), made(1, "approval.wanted")
    outbox.begin(ORIGIN, 2)
    outbox.add(2, [made(0)], [task], {"task": 1}, [first])
    assert [each.id for each in outbox.waiting(first)] == [task.id], "the tasks that are open"
    later, since = Receiver("b", "", ()), Receiver("c", "", (), since=0)
    beyond = Receiver("d", "", (), since=99)
    outbox.add(3, [made(2)], [], {}, [first, later, since, beyond])
    assert outbox.waiting(later) == [] and outbox.waiting(beyond) == []
    assert [each.id for each in outbox.waiting(since)] == [made(0).id, task.id, made(2).id]
    assert outbox.told() == {}
    standing = outbox.standing("c")
    assert standing is not None and outbox.next_entry(standing) == 0


def test_the_same_fact_is_added_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.begin(ORIGIN, 1)
    outbox.add(1, [made(0), made(0)], [made(0)], {}, [])
    assert len(outbox.last(9)) == 1


def test_another_or_a_shorter_log_is_refused(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    grown(outbox, 3, [])
    with pytest.raises(VerificationError):
        outbox.begin(ORIGIN, 2)
    with pytest.raises(VerificationError):
        outbox.begin("cd" * 32, 3)
    assert outbox.begin(ORIGIN, 3) == 3
