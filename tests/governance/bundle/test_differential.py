"""Random histories, and a last move that somebody recorded past the server: both verifiers give the
same verdict on the same bundle.

One difference is documented: the first repeats the whole decision. Where it alone refuses a move,
every finding that it names is one for which the second verifier relies on the service (`RELIED_ON`).
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.base.errors import CountersignError
from governance.base.time import exact_instant
from governance.bundle import standalone_verifier as verifier
from governance.bundle import verify_bundle
from governance.history.state import state
from governance.history.verify import TrustAnchors
from tests.conftest import examples
from tests.governance.bundles import made, pin
from tests.governance.forged import forge
from tests.governance.governed import PEOPLE, RULES, Governed, governed
from tests.governance.story import MODEL, digest

CODES = ("INCIDENT_OPEN", "COMMIT_NOT_PERMITTED", "BUILDER_NOT_PERMITTED", "THRESHOLD_NOT_MET")
POLICIES = (
    RULES,
    f"{RULES}commits: ['{'0' * 39}2']\n",
    f"{RULES}incidents: {{opened_by: [risk], closed_by: [ml-lead]}}\nseconded_by: [risk]\n",
    RULES.replace("max_days: 30", "max_days: 30, never: [INCIDENT_OPEN]"),
)
UNCHECKED: dict[str, Any] = {"effective": "", "effective_at": None}
SAID: tuple[dict[str, Any], ...] = ({}, {}, {}, UNCHECKED, {**UNCHECKED, "actions": ["an act"]})
"""What is said beside the state of an incident; a closing has a check where nothing is."""
RELIED_ON = {code for codes in verifier.RELIED_ON.values() for code in codes.split()}


class History:
    """A log that grows by chance."""

    def __init__(self, scene: Governed, chance: Random) -> None:
        self.scene, self.chance = scene, chance
        self.bytes_of = {"1": scene.story.models["sft"]}
        self.asked: list[str] = []

    def grow(self) -> None:
        """One event; what the server would refuse is simply not there."""
        events = (
            *(self._approved, self._asked, self._asked, self._moved, self._moved, self._forged),
            *(self._voted, self._incident, self._incident, self._waived, self._version),
            *(self._seconded, self._seconded, self._late, self._evaluated, self._revoked),
        )
        with suppress(CountersignError, IndexError):
            self.chance.choice(events)()

    def _version_of(self) -> str:
        return self.chance.choice(list(self.bytes_of))

    def _who(self) -> tuple[str, str]:
        who = self.chance.choice(("ada", "ben", "ben", "cleo", "dora"))
        return who, self.chance.choice(PEOPLE[who])

    def _approved(self) -> None:
        frozen = self.scene.freeze(self._version_of())
        for who, role in (("ada", "ml-lead"), ("ben", "risk")):
            self.scene.approve(who, role, frozen)

    def _voted(self) -> None:
        packets = list(state(self.scene.story.log).evidence.all("packet"))
        subject = self.chance.choice(packets).subjects[0].sha256
        fields: dict[str, Any] = self.chance.choice(
            (
                {},
                {"decision": "reject"},
                {"page": None},
                {"alias": "other"},
                {"expires": exact_instant(self.scene.now + timedelta(minutes=9))},
                {"opened_at": exact_instant(self.scene.now)},
            )
        )
        self.scene.approve(*self._who(), subject, **fields)

    def _asked(self) -> None:
        version = self._version_of()
        action = self.chance.choice(("promote", "promote", "rollback", "rollback", "retire"))
        fields: dict[str, Any] = {
            "action": action,
            "model_digest": self.bytes_of[version],
            "break_glass": self.chance.random() < 0.3,
            "expires": exact_instant(self.scene.now + timedelta(hours=self.chance.choice((1, 30)))),
        }
        who, role = ("cleo", "release-manager") if self.chance.random() < 0.9 else self._who()
        self.asked.append(self.scene.request(version, who, role, **fields))

    def _seconded(self) -> None:
        who, role = self._who()
        self.scene.approve(who, role, self.asked[-1], "promotion")

    def _moved(self) -> None:
        self.scene.consume(self._version_of(), keep=False)

    def _forged(self) -> None:
        """Somebody records a move, with one lie in it or none."""
        now, version = state(self.scene.story.log), self._version_of()
        action = self.chance.choice(("promote", "rollback", "retire"))
        requests = [now.timeline.requests[one].predicate for one in self.asked[-1:]]
        if requests and self.chance.random() < 0.9:
            version, action = requests[0].version, requests[0].action
        late = exact_instant(self.scene.now + timedelta(hours=self.chance.choice((1, 26))))
        lies: tuple[dict[str, Any], ...] = (
            {"at": late},
            {"from_version": "7"},
            {"request": digest("another request")},
            {"packet": digest("another packet")},
            {"model_digest": digest("another model")},
            {"policy": digest("other policies")},
            {"second_signature_by": exact_instant(self.scene.now)},
        )
        lie = self.chance.choice(lies) if self.chance.random() < 0.3 else {}
        forge(self.scene, version, **{"action": action, **lie})

    def _incident(self) -> None:
        version = self._version_of()
        models, own = self.scene.story.models, self.scene.story.models["sft"]
        models["sft"] = self.bytes_of[version]
        try:
            state, said = self.chance.choice(("open", "closed")), self.chance.choice(SAID)
            self.scene.incident(version, state, *self._who(), **said)
        finally:
            models["sft"] = own

    def _waived(self) -> None:
        code = self.chance.choice(CODES)
        about = self.chance.choice((f"model {MODEL}", "model sft"))
        self.scene.waive(code, about, self.chance.choice((7, 40)))

    def _version(self) -> None:
        version, story = str(len(self.bytes_of) + 1), self.scene.story
        if len(self.bytes_of) < 3:
            accuracy = self.chance.choice((0.98, 0.98, 0.5))
            stage = f"sft{version}"
            story.train(stage, "sft", "conversation", "desk_sft", "base", accuracy=accuracy)
            story.register(stage, version)
            self.bytes_of[version] = story.models[stage]

    def _late(self) -> None:
        self.scene.story.minutes += self.chance.choice((30, 60 * 25))

    def _evaluated(self) -> None:
        self.scene.story.evaluate("sft", self.chance.choice((0.96, 0.97)))

    def _revoked(self) -> None:
        who = self.chance.choice(("ada", "cleo", "eve"))
        self.scene.revoke(who, who, "ben", "policy-owner")


@pytest.mark.slow
@pytest.mark.long
@examples(8)
@given(seed=st.integers(0, 2**32))
def test_both_verifiers_give_the_same_verdict(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = Random(seed)
    folder: Path = tmp_path_factory.mktemp("history")
    history = History(governed(folder, chance.choice(POLICIES)), chance)
    if chance.random() < 0.8:
        with suppress(CountersignError):
            history.scene.released()
    for _ in range(chance.randint(2, 14)):
        history.grow()
    log = history.scene.story.log
    whole = chance.random() < 0.2
    data, origin = made(log, history._version_of(), whole=whole), pin(log)
    first = verify_bundle(data, TrustAnchors(origin))
    try:
        verifier.verify(data, origin)
    except verifier.Refused as refused:
        assert not first.ok, f"only the second refuses: {refused}"
        return
    if not first.ok:
        codes = re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", first.broken or "")
        assert codes and set(codes) <= RELIED_ON, f"only the first refuses: {first.broken}"
