"""One example of every kind of evidence, fixed to the byte, and a log to put them in."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from governance.attest.keys import Signer
from governance.attest.predicates import (
    Approval,
    Artifact,
    Authorization,
    BaseImport,
    Call,
    CheckpointKey,
    Code,
    Cosigned,
    DataCounts,
    Drill,
    DrillStep,
    Environment,
    Erased,
    Erasure,
    Evaluate,
    Expectation,
    Failure,
    Finding,
    GateDecision,
    Generation,
    Incident,
    Ingest,
    Intervention,
    JudgeCard,
    JudgedFindings,
    Judgement,
    JudgeRef,
    LeakProbe,
    ModelFile,
    Monitoring,
    Origin,
    Packet,
    PacketStage,
    PeriodicReview,
    PolicyChange,
    Promotion,
    PromotionRequest,
    Quality,
    Read,
    Refusal,
    Registration,
    Reproduction,
    Requester,
    Results,
    Revocation,
    RolloutReaction,
    RolloutRequest,
    RolloutStep,
    RolloutWindow,
    RulesChange,
    Run,
    Scan,
    SeedRun,
    SignedReport,
    Train,
    Waiver,
)
from governance.attest.requests import judge_digest
from governance.base.model import Model
from governance.gates.judging import MEASURES
from governance.history import verify
from governance.log import evidence
from governance.log.sqlite import SqliteLog
from governance.machine.machine import Machine, machine, open_log, own_checkpoint_key, signer

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)
PROJECT = "desk"


def run(second: int = 0) -> Run:
    """A run that began `second` seconds after noon."""
    return Run(
        started=f"2026-11-20T12:00:{second:02d}.000Z",
        finished="2026-11-20T12:01:00.000Z",
        seconds=60.0 - second,
        requested_by=Requester(name="ada", authenticated=False),
        detail={"peak_memory_bytes": 1 << 30, "device_hours": 0.25},
    )


def artifact(role: str, sha256: str = A, name: str = "") -> Artifact:
    return Artifact(role=role, name=name or f"data/{role}", sha256=sha256)


def stage(name: str, **fields: object) -> dict[str, object]:
    """The fields every stage's predicate has, and those given."""
    return {
        "stage": name,
        "inputs": [artifact("source", B, "data/source/x.jsonl")],
        "parameters": {
            "learning_rate": 1e-05,
            "seed": 1,
            "epochs": 3.0,
            "label": "größe \U0001f600",
        },
        "policy": C,
        "code": Code(commit="0" * 40, dirty=False),
        "environment": Environment(
            python="3.11.7", platform="Linux-x86_64", versions={"x": "1.0"}, distributions=D
        ),
        "run": run(),
        **fields,
    }


def counts() -> DataCounts:
    return DataCounts(
        records_in=10,
        records_out=8,
        excluded={"DUPLICATE": 2},
        splits={"train": 8},
        records_root=A,
        excluded_root=B,
    )


def ingest(name: str = "ingest@x", **fields: object) -> Ingest:
    common = {
        "dataset": "x",
        "kind": "prompt",
        "record_key": "development",
        "fields_unused": {},
        "counts": counts(),
    }
    return Ingest.model_validate(stage(name, **{**common, **fields}))


def gate(allowed: bool, at: str = "2026-11-20T12:00:00Z") -> GateDecision:
    finding = Finding(
        code="EVALUATION_FAILED",
        subject="sft",
        message="greedy_exact 0.1",
        expected=">= 0.2",
        found="0.1",
    )
    fields = {
        "allowed": allowed,
        "method": "dpo",
        "tier": "limited",
        "decided_on": {"data": A},
        "at": at,
    }
    return GateDecision.model_validate(
        stage("gate@dpo", **fields, findings=[] if allowed else [finding])
    )


TASK = {
    "name": "arc_easy",
    "version": "1.0",
    "digest": B,
    "shots": 0,
    "items": 100,
    "of": 100,
    "metrics": [{"name": "acc", "variant": "none", "value": 0.5, "stderr": 0.05}],
}


def every_kind() -> dict[str, Model]:
    """Short kind to an example predicate."""
    expectation = Expectation(
        name="not_null",
        column="prompt",
        severity="critical",
        success=True,
        unexpected=0,
        expected="0",
        action="block",
    )
    scan = {
        "dataset": "x",
        "passed": True,
        "engine": {"name": "presidio"},
        "config": A,
        "languages": ["en"],
    }
    scan |= {
        "entities_searched": ["EMAIL_ADDRESS"],
        "cannot_find": ["names that no list has"],
        "found": {},
        "remaining": {},
        "recall": {
            "seeds": B,
            "texts": 8,
            "entities": {"EMAIL_ADDRESS": {"planted": 25, "found": 24}},
        },
    }
    train = {
        "method": "sft",
        "objective": A,
        "records": 8,
        "steps": 4,
        "final": {"loss": 0.123456789012345, "kl": None},
        "use": {
            "train": {"offered": 291, "used": 179, "dropped": {"NO_ROOM": 112}, "truncated": 9}
        },
    }
    evaluate = {
        "model": A,
        "suite": B,
        "suite_name": "x",
        "not_run": None,
        "scores": {"exact": [1, 0.5, None, 0.0]},
    }
    evaluate |= {"slices": {"language": ["en", "de", "de", "other"]}}
    evaluate["judged_by"] = {
        "judge": {"kind": "endpoint", "speaker": A, "rubric": B, "templates": C},
        "name": "m at frontier", "row": "desk_judge", "prompts": "desk_eval",
        "opponent": B, "opponent_name": "base",
        "consistent": 2, "inconsistent": 1, "no_verdict": 1,
        "lengths": [20, 31, 8, 14], "opponent_lengths": [25, 7, 9, 14], "replies": D,
        "cost": {
            "requests": 8, "tokens": 900, "written": 16, "currency": "EUR", "millionths": 2370,
        },
    }  # fmt: skip
    version = {"model": "desk", "version": "1", "model_digest": A, "policy": C, "run": run()}
    person = {
        "principal": "ada",
        "role": "ml-lead",
        "reason": "it does what it should",
        "at": "2026-11-20T12:00:00Z",
    }
    file = ModelFile(path="model.safetensors", size=3, sha256=B)
    return {
        "origin": Origin(
            project=PROJECT, policy=C, checkpoint_key="PEM", development_keys=["PEM"], run=run()
        ),
        "policy": PolicyChange(previous=C, run=run()),
        "ingest": ingest(judges=[{"name": "gpt-4", "rubric": B, "pairs": 8}]),
        "scan": Scan.model_validate(
            stage("scan_pii@x", **scan, actions={"EMAIL_ADDRESS": "redact"}, counts=counts())
        ),
        "quality": Quality.model_validate(
            stage(
                "check_quality@x",
                dataset="x",
                kind="prompt",
                passed=True,
                suite=A,
                expectations=[expectation],
                counts=counts(),
            )
        ),
        "gate": gate(False),
        "base": BaseImport.model_validate(
            stage("import_base@tiny", source="tiny.json", files=2, weights=False)
        ),
        "train": Train.model_validate(
            stage("train@sft", **train, device="cpu", threads=1, adapter=None)
        ),
        "evaluate": Evaluate.model_validate(stage("evaluate@sft", **evaluate)),
        "registration": Registration.model_validate(
            {
                **version,
                "stage": "sft",
                "tier": "limited",
                "files": [file],
                "chain": [artifact("train", D)],
                "suite": {"name": "desk_eval", "digest": A, "records": B, "split": "test"},
                "dvc": {
                    "lock": A,
                    "objects": [
                        {"path": "data/own.jsonl", "md5": "c" * 32, "size": 9},
                        {
                            "path": "models/sft",
                            "md5": f"{'d' * 32}.dir",
                            "size": 7,
                            "stage": "train@sft",
                        },
                    ],
                },
            }
        ),
        "promotion": Promotion.model_validate(
            {
                **version,
                "alias": "candidate",
                "allowed": True,
                "findings": [],
                "at": "2026-11-20T12:00:00Z",
            }
        ),
        "reproduction": Reproduction.model_validate(
            stage(
                "train@sft",
                of=A,
                model=B,
                same_bytes=False,
                largest_difference=1e-06,
                differing=1,
                tensors=20,
                final={"loss": 0.5},
                device="cpu",
            )
        ),
        "results": Results.model_validate(
            {
                "model": "support-desk",
                "version": "1",
                "model_digest": A,
                "digest_from": "folder",
                "tool": "lm-eval",
                "tool_version": "0.4.13",
                "dated": "2026-11-20T12:00:00Z",
                "tasks": [TASK],
                "policy": A,
                "run": run(),
            }
        ),
        "seed_run": SeedRun.model_validate(
            stage(
                "train@sft",
                of=A,
                seed=2,
                model=B,
                suite=A,
                suite_name="desk_eval",
                items=300,
                means={"greedy_exact": 0.97},
            )
        ),
        "drill": Drill(
            model="desk",
            alias="champion",
            version="1",
            from_version="2",
            model_digest=A,
            passed=True,
            steps=[DrillStep(name="load", passed=True, seconds=1.5, found="20 tensors")],
            items=8,
            policy=C,
            at="2026-11-20T12:00:00Z",
            run=run(),
        ),
        "packet": Packet(
            model="desk",
            version="1",
            model_digest=A,
            files=[file],
            stage="sft",
            tier="limited",
            policy=C,
            stages=[PacketStage(name="train@sft", kind="train", statement=D, digest=A)],
            waivers=[B],
            findings=[],
            waived=[Finding(code="CANARY_MISSING", subject="model desk", message="no canary")],
            champion=None,
            commits=["0" * 40],
            environments=[D],
            run=run(),
            declaration=A,
            canary=D,
        ),
        "approval": Approval.model_validate(
            {
                **person,
                "decision": "approve",
                "about": "packet",
                "model": "desk",
                "alias": "champion",
                "page": B,
            }
        ),
        "waiver": Waiver.model_validate(
            {
                **person,
                "model": "desk",
                "finding": "CANARY_MISSING",
                "about": "model desk",
                "owner": "risk",
                "control": "a person reads every answer",
                "expires": "2026-12-01T00:00:00Z",
                "accepts": [{"measure": "canary", "figures": ["0.012", "5000"]}],
            }
        ),
        "request": PromotionRequest.model_validate(
            {
                **person,
                "action": "promote",
                "model": "desk",
                "version": "1",
                "alias": "champion",
                "model_digest": A,
                "packet": B,
                "from_version": None,
                "nonce": "0" * 32,
                "expires": "2026-11-21T12:00:00Z",
            }
        ),
        "authorization": Authorization.model_validate(
            {**person, "expires": "2026-11-21T12:00:00Z"}
        ),
        "revocation": Revocation.model_validate({**person, "owner": "ben"}),
        "checkpoint_key": CheckpointKey.model_validate({**person, "pem": "PEM"}),
        "incident": Incident.model_validate(
            {**person, "model": "desk", "version": "1", "state": "open"}
        ),
        "intervention": Intervention.model_validate(
            {
                **person,
                "model": "desk",
                "version": "1",
                "event": "override",
                "what": "two answers were withdrawn and given by a person",
                "happened_at": "2026-11-20T08:30:00Z",
            }
        ),
        "periodic_review": PeriodicReview.model_validate(
            {**person, "model": "desk", "version": "1", "next_by": "2027-02-28"}
        ),
        "erasure": Erasure.model_validate(
            {
                **person,
                "reference": "DSR-2026-17",
                "deadline": "2026-12-20T23:59:59Z",
                "by": "subject",
                "exclusions": 3,
                "counts": {"records": 2, "datasets": 1, "models": 1},
            }
        ),
        "erased": Erased.model_validate(
            {
                **person,
                "reference": "DSR-2026-17",
                "removed": {"cache": 4, "ingested": 2},
                "searched": {"bytes": 1024, "files": 12, "values": 2},
                "found": {"source": 1},
                "not_removed": {"model_weights": 1},
            }
        ),
        "rules": RulesChange(version=2, run=run()),
        "refusal": Refusal(
            operation="delete_model_version",
            model="desk",
            caller="eve",
            reason="governed",
            run=run(),
        ),
        "call": Call(
            operation="set_registered_model_alias",
            model="desk",
            version="2",
            alias="candidate",
            caller="dora",
            from_version="1",
            run=run(),
        ),
        "report": SignedReport(
            model="desk",
            version="1",
            model_digest=A,
            page=B,
            twin=C,
            verdict="APPROVED",
            as_of="2026-11-20T12:00:00Z",
            asked_at=None,
            entries=42,
            root=D,
            generator="countersign 0.2.0",
            reason="for the committee",
            role="risk",
            run=run(),
        ),
        "cosigned": Cosigned(
            notes=[
                f"countersign/desk/{A[:16]}\n7\n{b64encode(bytes.fromhex(B)).decode()}\n\n"
                "\u2014 witness.example/w1 AAAAAAA=\n"
            ],
            run=run(),
        ),
        "judgement": Judgement(
            dataset="desk_sft",
            config=A,
            seed=7,
            findings=40,
            sample=20,
            entities={"PERSON": JudgedFindings(findings=40, correct=17, false_alarm=2)},
            run=run(),
        ),
        "read": Read(
            reader="ada",
            command="look",
            purpose="false alarms of the scan",
            policy=C,
            run=run(),
        ),
        "rollout": RolloutRequest.model_validate(
            {
                **person,
                "model": "desk",
                "alias": "champion",
                "from_version": "1",
                "from_digest": A,
                "to_version": "2",
                "to_digest": B,
                "mode": "live",
                "weights": [100, 2_500, 10_000],
                "guardrails": [
                    {
                        "metric": "errors",
                        "worse": "higher",
                        "low": 0,
                        "high": 1,
                        "margin": 0.02,
                        "expected": 0.01,
                    }
                ],
                "minimum_sample": 500,
                "expires": "2026-11-27T12:00:00Z",
                "widened_by": ["release-manager"],
                "alpha": 0.05,
            }
        ),
        "rollout_step": RolloutStep.model_validate(
            {
                **person,
                "rollout": A,
                "model": "desk",
                "to_version": "2",
                "number": 1,
                "action": "start",
                "weight": 100,
            }
        ),
        "rollout_window": RolloutWindow.model_validate(
            {
                "rollout": A,
                "model": "desk",
                "to_version": "2",
                "number": 2,
                "weight": 100,
                "started": "2026-11-20T13:00:00Z",
                "finished": "2026-11-20T13:05:00Z",
                "metrics": {
                    "errors": {
                        "old": {"count": 990, "total": 9, "squares": 9},
                        "new": {"count": 10, "total": 1, "squares": 1},
                    }
                },
                "gap": "the proxy was restarted",
                "run": run(),
            }
        ),
        "rollout_reaction": RolloutReaction.model_validate(
            {
                "rollout": A,
                "model": "desk",
                "to_version": "2",
                "number": 2,
                "action": "abort",
                "weight": 0,
                "windows": 2,
                "metrics": ["errors"],
                "at": "2026-11-20T13:05:01Z",
                "run": run(),
            }
        ),
        "failure": Failure.model_validate(
            stage(
                "train@orpo",
                step=12,
                findings=[
                    {
                        "code": "NON_FINITE",
                        "subject": "stage train@orpo",
                        "message": "not finite at step 12: the loss",
                        "found": "nan",
                    }
                ],
                counts={"batch_records": 8},
            )
        ),
        "generation": Generation.model_validate(
            stage(
                "generate@desk_ai",
                allowed=True,
                tier="limited",
                decided_on=dict.fromkeys(
                    ("prompts", "constitution", "templates", "generator", "judge"), A
                ),
                findings=[],
                at="2026-11-20T12:00:00Z",
                counts={"asked": 10, "kept": 7, "dropped": {"INCONSISTENT": 3}},
                replies=B,
            )
        ),
        "judge_card": JudgeCard.model_validate(judge_card()),
        "leak_probe": LeakProbe.model_validate(
            stage(
                "probe_leaks@sft_leaks",
                model=B,
                data=A,
                parent=C,
                trained="sft",
                referenced=True,
                canaries=None,
                membership={
                    "members": 1000,
                    "non_members": 300,
                    "auc": 0.54,
                    "error": 0.018,
                    "found": 21,
                    "false_alarms": 3,
                },
                not_measured={"canaries": "NO_CANARIES"},
            )
        ),
        "monitoring": monitoring(),
    }


def monitoring(**changes: object) -> Monitoring:
    """A window of 120 requests, of which 2 failed and 3 callers left."""
    fields: dict[str, object] = {
        "model": "support-desk",
        "version": "2",
        "alias": "champion",
        "source": "5" * 32,
        "window": 1,
        "begins": "2026-09-02T00:00:00.000Z",
        "ends": "2026-09-02T01:00:00.000Z",
        "gap_ms": 0,
        "policy": C,
        "requests": 120,
        "errors": 2,
        "rejected": 1,
        "left": 3,
        "latency": [0] * 4 + [60, 50, 5] + [0] * 8,
        "latency_sum_ms": 21_000,
        "tokens": {"answers": 110, "input": 5_500, "output": 22_000},
        "cost": {"currency": "EUR", "millionths": 35_750},
        "refusals": 4,
        "read": 112,
        "characters": 88_000,
        "feedback": {"up": 6, "down": 2, "preferred": 5, "not_preferred": 3, "ties": 1},
        "request_bytes": [0] * 10 + [60, 54] + [0] * 16,
        "answer_characters": [0] * 12 + [50, 62] + [0] * 14,
        "compared": [{"version": "1", "sha256": B, "preferred": 5, "not_preferred": 3, "ties": 1}],
        "searched": {
            "answers": 10,
            "left": 1,
            "holding": 2,
            "entities": {"EMAIL_ADDRESS": 2, "URL": 4},
            "languages": {"de": 1, "en": 9},
        },
        "run": run(),
    }
    return Monitoring.model_validate(fields | changes)


def judge_card(**changes: object) -> dict[str, object]:
    """The fields of a card that passes."""
    judge = JudgeRef(kind="endpoint", speaker=A, rubric=B, templates=A)
    won = {"items": 100, "won": 0, "once": 2}
    card: dict[str, object] = stage(
        "check_judge@desk_judge",
        judge=judge_digest(judge),
        judged_by=judge,
        labelled="desk_pref_eval",
        split="test",
        probes=B,
        figures={
            "agreement": {
                "items": 200,
                "raters": 3,
                "kappa": {"value": 0.8, "low": 0.72, "high": 0.88},
                "kappa_of_people": {"value": 0.75, "low": 0.66, "high": 0.84},
            },
            "orders": {"items": 200, "won": 190, "once": 0},
            "measures": dict.fromkeys(MEASURES, won),
        },
        replies=B,
        cost={"requests": 2000, "tokens": None, "written": None},
        until="2027-05-19",
    )
    return {**card, "name": "m at frontier", **changes}


@dataclass(frozen=True)
class Scene:
    """A machine with a log that has begun."""

    machine: Machine
    log: SqliteLog
    signer: Signer

    def record(self, kind: str, predicate: Model, *subjects: Artifact) -> int:
        """Records evidence; its index."""
        return evidence.record(
            self.log, self.signer, kind, subjects or [artifact("records")], predicate
        ).index

    def filled(self) -> Scene:
        """With one entry of every kind, the origin first."""
        for kind, predicate in every_kind().items():
            if kind != "origin":
                self.record(
                    kind,
                    predicate,
                    artifact(
                        "policy" if kind == "policy" else "records", C if kind == "policy" else A
                    ),
                )
        return self


@dataclass(frozen=True)
class InForce:
    """Policies as far as a log knows them."""

    digest: str = C
    keys: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


def scene(home: Path, now: Callable[[], datetime] = lambda: NOON, **environ: str) -> Scene:
    """A new machine below `home`, its log begun under policy C."""
    here = machine(
        PROJECT, {"COUNTERSIGN_HOME": str(home), "COUNTERSIGN_REQUESTER": "ada", **environ}
    )
    return Scene(here, open_log(here, InForce(), now), signer(here))


def verified(place: Scene) -> int:
    """Number of entries of a log that verifies in full."""
    report = verify.verify_log(
        place.log,
        PROJECT,
        {},
        verify.TrustAnchors(checkpoint_key=own_checkpoint_key(place.machine)),
    )
    assert report.ok, report.broken
    return report.entries
