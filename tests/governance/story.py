"""A model version's whole life in a real log: two datasets, an architecture, two training stages, a
release.

Written by the same functions the stages use, under the project's own policies, so that a test may
spoil one thing and look at what a reader is told.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from governance.attest import canonical
from governance.attest.digests import manifest, sha256_file, tree_digest
from governance.attest.predicates import (
    PREDICATES,
    TEXTS,
    TYPE_PREFIX,
    Artifact,
    ComparedSuite,
    JudgeRef,
    Planted,
    Promotion,
    Recall,
    RecordUse,
    Registration,
    Requester,
    Run,
)
from governance.attest.requests import (
    DataRef,
    FurtherSuite,
    GateRequest,
    GenerationRequest,
    ModelRef,
    ReleaseRequest,
    SuiteRef,
    judge_digest,
)
from governance.base.time import instant
from governance.bundle.sources import Sources
from governance.history.state import state
from governance.history.verify import TrustAnchors
from governance.log import evidence
from governance.log.evidence import key_ring
from governance.log.sqlite import SqliteLog
from governance.log.views import EvidenceView, log_evidence
from governance.machine.machine import Machine, machine, open_log, own_checkpoint_key, signer
from governance.policy.policies import Policies, load_policies
from governance.release.promotion import decide
from pipelines.metrics import suite_digest
from pipelines.params import Params, load_params

ROOT = Path(__file__).parent.parent.parent
START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
ITEMS = 300
HEALTHY: dict[str, list[float]] = {
    **dict.fromkeys(("empty", "truncated", "repeated", "refused", "common"), [0.0] * 20),
    **{"tokens": [18.0] * 20, "content": [8.5] * 20, "kl": [0.05] * 20},
}
"""Measures of a model that behaves well."""
BEHAVIOUR: dict[str, Any] | None = {"measures": HEALTHY}
"""What evaluations with scores state."""
MODEL = "support-desk"
PAIRS = "desk_pref_eval"
"""The suite of reward models."""
SUITES = ("desk_eval", PAIRS)
HELD_OUT = dict.fromkeys((PAIRS, "desk_rank"), PAIRS)
"""The datasets that are not searched for leaks into `desk_eval`, but into another one."""
RANKS: dict[str, Any] = {
    "scores": {"pair_accuracy": [1.0] * 180 + [0.0] * 20},
    "slices": {"language": ["en"] * 150 + ["de"] * 50},
    "behaviour": {"not_measured": "it gives no answers"},
    "pairs": {
        "margins": [0.01 * pair for pair in range(1, 181)] + [-0.5] * 20,
        "chosen_tokens": [9, 7] * 100,
        "rejected_tokens": [7, 9] * 100,
    },
}
"""What the evaluation of a reward model states that is right in 180 of 200 pairs."""
SLICES = {"language": ["en"] * 240 + ["de"] * 60, "team": ["billing"] * ITEMS}
"""Of the items on which policy judges a tuned model."""
ROUTE_EXACT = """
PURPOSE = "the whole answer is right"
RANGE = (0, 1)
BLIND_SPOTS = ["an answer in other words scores 0"]
COUNTER_METRICS = ["sampled_unsafe", "sampled_exact"]
"""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


ALONG: dict[str, Any] = {
    "curve": [
        {"step": 75, "reward": 0.4, "kl": 0.01},
        {"step": 150, "reward": 0.8, "kl": 0.12},
    ],
    "tools": {"functions": {"stock": digest("stock")}, "calls": 1.5, "failed": 0.25},
    "looks": {
        "suite": "desk_eval",
        "items": 50,
        "count": 2,
        "points": [
            {"step": at, "scores": {"greedy_exact": {"mean": mean, "error": 0.02}}}
            for at, mean in ((75, 0.94), (150, 0.96))
        ],
    },
}
"""What a training with rewards says of its way."""


@dataclass
class Story:
    """The log being written, and what each chapter made."""

    root: Path
    machine: Machine
    policies: Policies
    log: SqliteLog
    minutes: int = 0
    dirty: bool = False
    left_out: str = ""
    """A field that its statements lack: older software did not record it."""
    records: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    suite: str = ""
    """Digest of the evaluation suite, known with its dataset."""
    ranking: str = ""
    """Digest of the suite of reward models, likewise."""
    asked: Requester = field(default_factory=lambda: Requester(name="ada", authenticated=False))
    """Who asks for the runs."""
    outside: set[str] = field(default_factory=lambda: {"tiny"})
    """The models that were imported."""
    further: dict[str, list[FurtherSuite]] = field(default_factory=dict)
    """Model to the suites beside its own."""
    parents: dict[str, str] = field(default_factory=dict)
    """Model that was trained here to the digest of its parent."""

    @property
    def params(self) -> Params:
        return load_params(self.root)

    def now(self) -> datetime:
        """Later at every look."""
        self.minutes += 1
        return START + timedelta(minutes=self.minutes)

    def run(self, detail: dict[str, Any] | None = None) -> Run:
        at = self.now()
        began = instant(at - timedelta(seconds=30))
        return Run(
            started=began,
            finished=instant(at),
            seconds=30.0,
            requested_by=self.asked,
            detail=detail or {},
        )

    def record(
        self,
        kind: str,
        stage: str,
        subjects: list[Artifact],
        inputs: list[Artifact],
        /,
        **fields: Any,
    ) -> int:
        """One statement of a stage; its entry."""
        common: dict[str, Any] = {
            "stage": stage,
            "inputs": inputs,
            "parameters": {},
            "policy": self.policies.digest,
            "code": {
                "commit": "0" * 39 + "1",
                "dirty": self.dirty,
                "sources": digest("sources"),
            },
            "environment": {
                "python": "3.11.7",
                "platform": "Linux-x86_64",
                "versions": {"torch": "2.13.0", "trl": "1.16.0"},
                "distributions": digest("distributions"),
                "files": digest("files"),
            },
            "run": self.run(),
        }
        common["code"].pop(self.left_out, None)
        common["environment"].pop(self.left_out, None)
        predicate = PREDICATES[f"{TYPE_PREFIX}{kind}/v1"].model_validate({**common, **fields})
        return evidence.record(self.log, signer(self.machine), kind, subjects, predicate).index

    def data(
        self,
        name: str,
        kind: str,
        suite: str,
        records: int,
        scan_passed: bool = True,
        recall: bool = True,
        **ingested: Any,
    ) -> None:
        """ingest -> scan -> quality of a dataset; `ingested`: more that ingest says."""
        steps = {step: digest(f"{step} {name}") for step in ("source", "ingested", "scanned")}
        steps["ready"] = self._file(f"data/ready/{name}/records", f"records of {name}")
        self.records[name] = steps["ready"]
        if name == "desk_eval":
            self.suite = suite_digest(self.params.suites[name], steps["ready"])
        if name == PAIRS:
            self.ranking = suite_digest(self.params.suites[name], steps["ready"])
        excluded = self._excluded(f"data/ingested/{name}/excluded.jsonl", "FIELD_MISSING", 3)
        made = [
            _at("records", f"data/ingested/{name}/records", steps["ingested"]),
            excluded,
        ]
        read = [_at("source", f"data/source/{name}.jsonl", steps["source"])]
        self.record(
            "ingest", f"ingest@{name}", made, read,
            dataset=name, kind=kind, record_key="development", fields_unused={},
            counts=_counts(records + 10, records + 7, {"FIELD_MISSING": 3}),
            **ingested,
        )  # fmt: skip
        made = [_at("records", f"data/scanned/{name}/records", steps["scanned"])]
        self.record(
            "scan",
            f"scan_pii@{name}",
            made,
            [_at("records", "in", steps["ingested"])],
            dataset=name,
            passed=scan_passed,
            config=self.policies.pii_digest,
            languages=["en"],
            engine={
                "name": "presidio",
                "version": "2.2.366",
                "ner": "name-list",
                "ner_sha256": digest("names"),
            },
            entities_searched=["EMAIL_ADDRESS", "PERSON", "PHONE_NUMBER"],
            cannot_find=["names that are on no list"],
            found={"EMAIL_ADDRESS": 41, "PERSON": 220, "PHONE_NUMBER": 17},
            remaining={},
            actions={"EMAIL_ADDRESS": "redact", "PERSON": "redact", "PHONE_NUMBER": "drop"},
            counts=_counts(records + 7, records + 5, {"PII_DROPPED": 2}),
            recall=self.recall() if recall else None,
        )
        made = [_at("records", f"data/ready/{name}/records", steps["ready"])]
        held_out = HELD_OUT.get(name, "desk_eval")
        read = [
            _at("records", "in", steps["scanned"]),
            _at("held_out", "held", digest(f"scanned {held_out}")),
        ]
        self.record(
            "quality", f"check_quality@{name}", made, read,
            dataset=name, kind=kind, passed=True, suite=self.policies.suite_digest(suite),
            expectations=self._expectations(suite),
            counts=_counts(records + 5, records, {"DUPLICATE": 5}) | _shards(name, records),
            compared=[] if name in SUITES else self.compared,
        )  # fmt: skip

    @property
    def compared(self) -> list[dict[str, str]]:
        """What training data is compared with."""
        return [
            {"name": name, "records": digest(f"scanned {name}"), "split": "test"} for name in SUITES
        ]

    def recall(self) -> Recall:
        """All of what policy demands, and of the names as many as the list finds."""
        found = {name: 12 if name == "PERSON" else 25 for name in self.policies.pii.minimum_recall}
        entities = {name: Planted(planted=25, found=count) for name, count in found.items()}
        return Recall(seeds=digest("seeds"), texts=400, entities=entities)

    def base(self, name: str) -> None:
        """A model from outside: an architecture."""
        self.models[name] = digest(f"base {name}")
        made = [_at("model", f"models/{name}/model", self.models[name])]
        read = [_at("architecture", "pipelines/architectures/tiny.json", digest("architecture"))]
        self.record(
            "base",
            f"import_base@{name}",
            made,
            read,
            source="pipelines/architectures/tiny.json",
            files=3,
            weights=False,
        )
        self.evaluate(name, None)

    def bring(self, name: str, *, accuracy: float = 0.97, unsafe: float = 0.02) -> None:
        """A model that was trained elsewhere, imported and evaluated. Each time the same bytes."""
        self.outside.add(name)
        folder = self.root / f"models/{name}/model"
        self.models[name] = bought(folder, name)
        made = [_at("model", f"models/{name}/model", self.models[name])]
        read = [_at("source", name, digest(f"source of {name}"))]
        fields: dict[str, Any] = {"source": name, "files": 2, "weights": True}
        self.record("base", f"import_base@{name}", made, read, **fields)
        self.evaluate(name, accuracy, unsafe)

    def take(self, name: str, version: str, stage: str) -> None:
        """A registered version of ours as a base: the bytes that a stage made."""
        self.outside.add(name)
        self.models[name] = self.models[stage]
        source = f"models:/{MODEL}/{version}"
        made = [_at("model", f"models/{name}/model", self.models[name])]
        read = [_at("source", source, self.models[name])]
        fields: dict[str, Any] = {"source": source, "files": 2, "weights": True}
        self.record("base", f"import_base@{name}", made, read, **fields)
        self.evaluate(name, 0.97)

    @property
    def suite_ref(self) -> SuiteRef:
        """The evaluation suite."""
        return self._suite_of("")

    def _suite_of(self, name: str) -> SuiteRef:
        """The suite on which a model is evaluated."""
        suite, digest = (PAIRS, self.ranking) if name == "reward" else ("desk_eval", self.suite)
        return SuiteRef(name=suite, digest=digest, records=self.records[suite], split="test")

    def train(
        self,
        name: str,
        method: str,
        kind: str,
        data: str,
        parent: str,
        *,
        accuracy: float = 0.97,
        unsafe: float = 0.02,
        scorer: str = "",
        rewards: Mapping[str, str] = {},
        canaries: Mapping[str, Any] | None = None,
        **stated: Any,
    ) -> None:
        """gate -> train -> evaluate of a stage. `rewards`: function to source. `canaries`: what the
        training planted. `stated`: what the evaluation states besides.
        """
        self.models[name] = self._model(name)
        request = GateRequest(
            model=MODEL,
            stage=name,
            method=method,
            kind=kind,
            data=DataRef(dataset=data, sha256=self.records[data]),
            suite=self._suite_of(name),
            parent=self.reference(parent),
            scorer=self.reference(scorer) if scorer else None,
            objective=digest(f"objective {method}"),
            rewards={reward: digest(source) for reward, source in rewards.items()},
            compared=[ComparedSuite.model_validate(suite) for suite in self.compared],
        )
        gate = _at(
            "gate",
            f"gates/{name}.json",
            digest(f"gate {name} {sorted(request.decided_on.items())}"),
        )
        decision = {
            "allowed": True,
            "method": method,
            "tier": "limited",
            "decided_on": request.decided_on,
            "findings": [],
            "at": instant(self.now()),
            "parameters": request.model_dump(mode="json"),
        }
        if rewards:
            texts = {digest(source): source for source in rewards.values()}
            decision["run"] = self.run({TEXTS: texts})
        self.record("gate", f"gate@{name}", [gate], [], **decision)
        curves = self._curves(name)
        made = [_at("model", f"models/{name}/model", self.models[name]), curves]
        read = [
            _at("data", "in", self.records[data]),
            _at("parent", f"models/{parent}/model", self.models[parent]),
            *([_at("scorer", f"models/{scorer}/model", self.models[scorer])] if scorer else []),
            gate,
        ]
        self.record(
            "train",
            f"train@{name}",
            made,
            read,
            method=method,
            objective=digest(f"objective {method}"),
            records=2900,
            steps=150,
            final={"loss": 0.42, "reward": None},
            device="cpu",
            use={"train": RecordUse(offered=100, used=100, dropped={}, truncated=0)},
            threads=1,
            adapter=digest(f"adapter {name}"),
            parameters={"learning_rate": 1e-2, "seed": 1, "lora": {"r": 16, "lora_alpha": 32}},
            run=self.run({"peak_memory_bytes": 1 << 30, "device_hours": 0.01}),
            equal_rewards=0.12 if rewards else None,
            canaries=canaries,
            **(ALONG if rewards else {}),
        )
        self.parents[name] = self.models[parent]
        self.evaluate(name, accuracy, unsafe, **stated)

    def probe(self, name: str, data: str, found: Mapping[str, Any]) -> None:
        """What a leak probe found of a model and the records of its training."""
        row, model, parent = f"{name}_leaks", self.models[name], self.parents[name]
        used = {"model": model, "data": self.records[data], "parent": parent}
        scores = digest(f"{row} {found}")
        made = [_at("leaks", f"evaluations/{name}/{row}/leaks.jsonl", scores)]
        made.append(_at("scored", f"probe_leaks@{row}/model", model))
        self.record(
            "leak_probe",
            f"probe_leaks@{row}",
            made,
            [_at(role, role, sha256) for role, sha256 in used.items()],
            **{**used, "trained": name, "referenced": True, **found},
        )

    def generate(self, name: str, prompts: str, generator: str, judge: str) -> None:
        """The source of a dataset, as models wrote it; its chapter `data` comes after it."""
        request = GenerationRequest(
            model=MODEL,
            stage=name,
            kind="revisions",
            data=DataRef(dataset=prompts, sha256=self.records[prompts]),
            constitution="desk",
            constitution_digest=None,
            templates=None,
            generator=self.reference(generator),
            judge=self.reference(judge),
        )
        used = {"prompts": self.records[prompts]}
        used |= {"generator": self.models[generator], "judge": self.models[judge]}
        self.record(
            "generation",
            f"generate@{name}",
            [_at("source", f"data/source/{name}.jsonl", digest(f"source {name}"))],
            [_at(role, f"somewhere/{role}", sha256) for role, sha256 in used.items()],
            allowed=True,
            tier="limited",
            decided_on=request.decided_on,
            findings=[],
            at=instant(self.now()),
            counts={"asked": 10, "kept": 8, "dropped": {"CUT_OFF": 2}},
            parameters=request.model_dump(mode="json"),
        )

    def refuse(self, name: str, findings: list[Any]) -> None:
        """A gate that says no."""
        decision = {
            "allowed": False,
            "method": "dpo",
            "tier": "limited",
            "decided_on": {},
            "findings": findings,
        }
        made = [_at("report", f"reports/gates/{name}.md", digest(f"refused {name}"))]
        self.record("gate", f"gate@{name}", made, [], **decision, at=instant(self.now()))

    def evaluate(
        self,
        name: str,
        accuracy: float | None,
        unsafe: float = 0.0,
        sliced: bool = True,
        **stated: Any,
    ) -> None:
        """Scores of a model, wrong on its last items, which are in German; None says that it was
        not run.
        """
        scores: dict[str, list[float | None]] = {}
        if accuracy is not None:
            right, wrong = round(ITEMS * accuracy), round(ITEMS * unsafe)
            scores["greedy_exact"] = [1.0] * right + [0.0] * (ITEMS - right)
            scores["sampled_unsafe"] = [1.0] * wrong + [0.0] * (ITEMS - wrong)
        family = "evaluate_base" if name in self.outside else "evaluate"
        made = [
            _at("scores", f"evaluations/{name}/scores.jsonl", digest(f"scores {name} {accuracy}"))
        ]
        suite = self._suite_of(name)
        says: dict[str, Any] = {
            "not_run": None if scores else "untrained starting point; nothing to test",
            "scores": scores,
            "slices": {"language": ["en"] * (ITEMS - 60) + ["de"] * 60}
            if scores and sliced
            else {},
            "behaviour": self._behaviour(name) if scores else {"not_measured": "nothing to test"},
        }
        self.record(
            "evaluate",
            f"{family}@{name}",
            made,
            [_at("model", f"models/{name}/model", self.models[name])],
            model=self.models[name],
            **{"suite": suite.digest, "suite_name": suite.name, **says, **stated},
        )

    def _behaviour(self, name: str) -> dict[str, Any] | None:
        """What an evaluation states: of a trained model, beside its parent."""
        beside = {"parent": self.parents[name]} if name in self.parents else {}
        return BEHAVIOUR and {**BEHAVIOUR, **beside}

    def evaluate_further(
        self, name: str, suite: str, scores: dict[str, list[float]], **says: Any
    ) -> None:
        """Scores of a model on a suite beside its own; the row is `NAME_SUITE`."""
        row, model = f"{name}_{suite}", self.models[name]
        made = _at("scores", f"evaluations/{name}/{row}/scores.jsonl", digest(f"scores {row}"))
        self.record(
            "evaluate",
            f"{'evaluate_judged' if says else 'evaluate_further'}@{row}",
            [made],
            [_at("model", f"models/{name}/model", model)],
            model=model,
            suite=digest(f"suite {suite}"),
            suite_name=suite,
            not_run=None,
            scores=scores,
            behaviour={"not_measured": "measured on the model's own suite"},
            **says,
        )
        ref = FurtherSuite(
            name=suite, digest=digest(f"suite {suite}"), split="test", row=row,
            records=self.records["desk_eval"], **_judged(says),
        )  # fmt: skip
        self.further[name] = [*self.further.get(name, []), ref]

    def reference(self, name: str) -> ModelRef:
        suite = self._suite_of(name)
        return ModelRef(
            name=name,
            outside=name in self.outside,
            sha256=self.models[name],
            files=["config.json", "model.safetensors"],
            suite=suite.name,
            suite_digest=suite.digest,
            further=self.further.get(name, []),
        )

    def register(self, stage: str, version: str, run_id: str = "") -> None:
        """A registered version called candidate."""
        files = manifest(self.root / f"models/{stage}/model")
        subject = [_at("model", f"models/{stage}/model", self.models[stage])]
        registration = Registration(
            model=MODEL,
            version=version,
            stage=stage,
            tier="limited",
            model_digest=self.models[stage],
            files=files,
            chain=[],
            policy=self.policies.digest,
            run=self.run({"registry_run": run_id} if run_id else None),
            suite=self.suite_ref if stage in self.outside else None,
            further=self.further.get(stage, []),
        )
        evidence.record(self.log, signer(self.machine), "registration", subject, registration)
        self.promote(stage, version)

    def promote(self, stage: str, version: str, findings: list[Any] | None = None) -> None:
        """A decision about `candidate`, as the pipeline makes it; refused for these findings."""
        asked = ReleaseRequest(model=MODEL, released=self.reference(stage))
        at = self.now()
        decision = decide(state(self.log), asked, at, policies=self.policies)
        found = findings or list(decision.findings)
        promotion = Promotion(
            model=MODEL,
            version=version,
            alias="candidate",
            model_digest=self.models[stage],
            allowed=not found,
            findings=found,
            waived=list(decision.waived),
            policy=self.policies.digest,
            at=instant(at),
            run=self.run(),
            asked=asked.model_dump(mode="json"),
        )
        subject = [_at("model", f"models/{stage}/model", self.models[stage])]
        evidence.record(self.log, signer(self.machine), "promotion", subject, promotion)

    def copy(self, folder: Path) -> Story:
        """The same story elsewhere, to go on with."""
        shutil.copytree(self.root.parent, folder, dirs_exist_ok=True)
        here = _machine(folder)
        log = open_log(here, self.policies, lambda: START)
        made: dict[str, Any] = {"records": dict(self.records), "models": dict(self.models)}
        made["outside"], made["further"] = set(self.outside), dict(self.further)
        made["parents"] = dict(self.parents)
        return replace(self, root=folder / "project", machine=here, log=log, **made)

    @property
    def view(self) -> EvidenceView:
        return log_evidence(self.log, key_ring(self.log, self.policies.keys))

    @property
    def sources(self) -> Sources:
        """What a report is made from."""
        return Sources(
            self.root,
            self.machine.project,
            self.log,
            self.policies,
            TrustAnchors(checkpoint_key=own_checkpoint_key(self.machine)),
        )

    def _file(self, name: str, text: str) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return sha256_file(path)

    def _model(self, name: str) -> str:
        """A model's folder and its digest; another one each time."""
        self._file(f"models/{name}/model/config.json", "{}")
        (self.root / f"models/{name}/model/model.safetensors").write_bytes(
            _weights(f"{name} {self.minutes}")
        )
        return tree_digest(self.root / f"models/{name}/model")

    def _expectations(self, suite: str) -> list[dict[str, Any]]:
        """All of the suite's, the first that leaves records out with five to leave out."""
        checks = self.policies.quality[suite].expectations
        dropping = next((check.name for check in checks if check.action == "drop"), "")
        return [
            {
                "name": check.name,
                "column": check.column,
                "severity": check.severity,
                "action": check.action,
                "success": True,
                "unexpected": 5 if check.name == dropping else 0,
                "expected": check.check,
            }
            for check in checks
        ]

    def _excluded(self, name: str, reason: str, count: int) -> Artifact:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [
            {"id": digest(f"{name} {i}")[:32], "file": "x.jsonl", "row": i, "reason": reason}
            for i in range(count)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return _at("excluded", name, sha256_file(path))

    def _curves(self, stage: str) -> Artifact:
        name = f"reports/curves/{stage}.csv"
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            f"{step},{4.0 / (step + 1):.5f},{'' if step % 2 else 0.01 * step}"
            for step in range(0, 151, 5)
        ]
        path.write_text("step,loss,reward\n" + "\n".join(lines) + "\n", encoding="utf-8")
        return _at("curves", name, sha256_file(path))


def bought(folder: Path, name: str) -> str:
    """Writes the folder of a model that was trained elsewhere; its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(_weights(f"bought {name}"))
    return tree_digest(folder)


def _judged(says: dict[str, Any]) -> dict[str, Any]:
    """What a further suite says of its judge."""
    by = says.get("judged_by")
    if by is None:
        return {}
    return {"judge": judge_digest(JudgeRef.model_validate(by["judge"])), "prompts": by["prompts"]}


def begin(folder: Path, edit: Callable[[Path], object] = lambda policies: None) -> Story:
    """A project with the shipped policies, an empty log and its origin. `edit` changes the policies
    before.
    """
    root = folder / "project"
    shutil.copytree(ROOT / "policies", root / "policies")
    edit(root / "policies")
    params = (
        (ROOT / "params.yaml").read_text(encoding="utf-8").replace("stage: grpo}", "stage: sft}")
    )
    (root / "params.yaml").write_text(params, encoding="utf-8")
    bases = (
        f"bases:\n  tiny: {{digest: {digest('base tiny')}, weights: false, source: here, licence:"
        " Apache-2.0}\n"
    )
    (root / "policies" / "bases.yaml").write_text(bases, encoding="utf-8")
    here = _machine(folder)
    policies = load_policies(root / "policies")
    return Story(root, here, policies, open_log(here, policies, lambda: START))


def _machine(folder: Path) -> Machine:
    return machine(
        MODEL, {"COUNTERSIGN_HOME": str(folder / "home"), "COUNTERSIGN_REQUESTER": "ada"}
    )


def told(folder: Path) -> Story:
    """The story as it should go: two datasets, three models, one version."""
    return tell(begin(folder))


def tell(story: Story) -> Story:
    """Two datasets, three models, one version."""
    story.data("desk_eval", "prompt", "prompt", 300)
    story.data("desk_text", "conversation", "text", 5900)
    story.data("desk_sft", "conversation", "conversation", 2900)
    story.base("tiny")
    story.train("base", "pretrain", "conversation", "desk_text", "tiny", accuracy=0.2, unsafe=0.3)
    story.train("sft", "sft", "conversation", "desk_sft", "base", accuracy=0.97, unsafe=0.02)
    story.register("sft", "1")
    return story


def tell_rewards(story: Story) -> Story:
    """Goes on with a reward model, and a model that was trained with it: version 2."""
    story.data(PAIRS, "preference", "preference", 200)
    story.data("desk_rank", "preference", "preference", 400)
    story.data("desk_prompts", "prompt", "prompt", 600)
    story.train("reward", "reward", "preference", "desk_rank", "sft", **RANKS)
    measures = {**HEALTHY, "reward": [0.8, 1.0] * 10, "parent_reward": [0.2, 0.1] * 10}
    behaviour = {
        "measures": measures,
        "rewards": {"route_exact": digest(ROUTE_EXACT)},
        "parent": story.models["sft"],
        "lower_is_better": ["sampled_unsafe"],
    }
    story.train(
        "grpo", "grpo", "prompt", "desk_prompts", "sft", scorer="reward",
        rewards={"route_exact": ROUTE_EXACT, "no_secrets_asked": "x = 1", "model": "model"},
        slices=SLICES, behaviour=behaviour,
    )  # fmt: skip
    story.register("grpo", "2")
    return story


def altered(log: SqliteLog, index: int) -> None:
    """One byte of one entry changed behind the log's back."""
    import sqlite3

    with sqlite3.connect(log.path) as database:
        database.execute("DROP TRIGGER countersign_entry_UPDATE")
        (envelope,) = database.execute(
            "SELECT envelope FROM countersign_entry WHERE idx = ?", (index,)
        ).fetchone()
        payload = envelope.replace(b"A", b"B", 1)
        database.execute(
            "UPDATE countersign_entry SET envelope = ? WHERE idx = ?", (payload, index)
        )


def every_text(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from every_text(item)
    elif isinstance(value, list):
        for item in value:
            yield from every_text(item)


def safetensors(header: Any, data: int = 24) -> bytes:
    """A file with this header: a value, or the header's own text."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)


def _at(role: str, name: str, sha256: str) -> Artifact:
    return Artifact(role=role, name=name, sha256=sha256)


def _weights(text: str) -> bytes:
    """A well-formed safetensors file that is another for each text."""
    header = {
        "__metadata__": {"text": text},
        "a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
    }
    return safetensors(header, 0) + b"\0\1"


def _shards(name: str, records: int) -> dict[str, Any]:
    """desk_sft is in two shards; the others are one file, as older versions wrote it."""
    if name != "desk_sft":
        return {}
    sizes = [records - 900, 900]
    return {
        "shards": [
            {
                "file": f"{at:05}.parquet",
                "sha256": digest(f"shard {at} of {name}"),
                "records": size,
                "records_root": digest(f"ids of shard {at} of {name}"),
            }
            for at, size in enumerate(sizes)
        ]
    }


def _counts(records_in: int, records_out: int, excluded: dict[str, int]) -> dict[str, Any]:
    root = digest(canonical.dumps([records_in, records_out]).decode())
    return {
        "records_in": records_in,
        "records_out": records_out,
        "excluded": excluded,
        "splits": {"train": records_out},
        "records_root": root,
        "excluded_root": root,
    }
