"""policies/: what a reviewer reads and signs, as typed, frozen models.

1. A missing or empty file, an unknown field or file, or a broken reference is an error. All
   mistakes are reported at once, with file, line and field. Nothing has a permissive default.
2. The digest covers the bytes of every YAML file below the folder, so that people sign what they
   read.
3. Nothing here decides. `governance.gates.decisions` does, over these models and evidence.

Files: `policy.yaml` (`Rules`), `bases.yaml` (`Bases`), `evaluation.yaml` (`EvaluationPolicy`),
`pii.yaml` (`PiiPolicy`), `datacards/DATASET.yaml` (`Datacard`), `imports/NAME.yaml`
(`Declaration`), `quality/SUITE.yaml` (`QualitySuite`), `controls/NAME.yaml`
(`governance.report.frameworks`; nothing is decided by it).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.keys import earlier_key, public_key
from governance.attest.predicates import CANDIDATE
from governance.base.errors import ConfigError, CountersignError, Problems, did_you_mean
from governance.base.model import Model
from governance.base.time import months_later
from governance.base.yaml import parse_model, place, read_text
from governance.policy.clocks import Clocks
from governance.policy.constitution import Constitution
from governance.policy.data import PiiPolicy, QualitySuite
from governance.policy.declarations import Declaration
from governance.policy.evaluation import EvaluationPolicy
from governance.policy.expectations import with_file
from governance.policy.rules import (
    COVERED_BY,
    AllowedBase,
    Bases,
    Datacard,
    Principal,
    Rules,
    Tier,
)


@dataclass(frozen=True)
class Policies:
    """Everything below policies/, and its digest."""

    digest: str
    rules: Rules
    bases: Mapping[str, AllowedBase]
    evaluation: EvaluationPolicy
    datacards: Mapping[str, Datacard]
    pii: PiiPolicy
    quality: Mapping[str, QualitySuite]
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Path to text of every file, as an origin and a proposal carry them."""
    imports: Mapping[str, Declaration] = field(default_factory=dict)
    """Declarations of models that were trained elsewhere, by the name of the base."""
    constitutions: Mapping[str, Constitution] = field(default_factory=dict)
    """The principles by which data is generated."""
    clocks: Clocks = field(default_factory=Clocks)
    """Deadlines that an incident can start. Nothing is decided by them."""

    @cached_property
    def pii_digest(self) -> str:
        """sha256 of the typed content of pii.yaml: what a scan is made under."""
        return _typed_digest(self.pii)

    def declaration_of(self, digest: str) -> tuple[str, Declaration] | None:
        """The declaration of a model by its digest, with its name; None where there is none."""
        named = self.imports.items()
        return next(((name, made) for name, made in named if made.digest == digest), None)

    def suite_digest(self, name: str) -> str:
        """sha256 of the typed content of quality/NAME.yaml. Raises `ConfigError` where there is
        none.
        """
        if name not in self.quality:
            found = f"no quality suite {name!r}{_near(name, self.quality)}"
            raise ConfigError(found, where=f"policies/quality/{name}.yaml")
        return _typed_digest(self.quality[name])

    def constitution_digest(self, name: str) -> str | None:
        """sha256 of the typed content of constitutions/NAME.yaml; None where there is none."""
        constitution = self.constitutions.get(name)
        return _typed_digest(constitution) if constitution else None

    def templates_digest(self, name: str) -> str | None:
        """sha256 of the words in which a constitution asks models; None where there is none."""
        constitution = self.constitutions.get(name)
        return _typed_digest(constitution.templates) if constitution else None

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """Key id to public key (PEM) of every principal: whose signatures are worth verifying."""
        keys = (earlier_key(text) for principal in self.rules.principals for text in principal.keys)
        return {key.keyid: key.pem for key in keys}

    def may_sign(self, right: str, keyid: str, development: bool, index: int) -> bool:
        """Whether evidence signed by this key counts: by a principal's right, or as a development
        key. `right` is the kind of evidence, or `candidate` for a move of this alias. Who may sign
        every move (`promotion`) may sign these, too.

        These policies are taken as they are at hand, whatever stood in the log at `index`: see
        `governance.policy.authority`.
        """
        if development:
            return self.rules.development_keys == CANDIDATE
        principal = self.principals.get(keyid)
        permitting = {right, COVERED_BY.get(right, right)}
        return principal is not None and not permitting.isdisjoint(principal.signs)

    @cached_property
    def principals(self) -> Mapping[str, Principal]:
        """Key id to the principal whose key it is."""
        return {
            earlier_key(text).keyid: principal
            for principal in self.rules.principals
            for text in principal.keys
        }

    @property
    def main_alias(self) -> str:
        """The default governed alias: the first."""
        return next(iter(self.rules.aliases), "champion")

    def tier_of(self, model: str) -> Tier | None:
        """The tier of a model by the name it is registered under; None for one policy does not
        name.
        """
        model_policy = self.rules.models.get(model)
        return self.rules.tiers[model_policy.tier] if model_policy else None

    def limits_of(self, model: str) -> list[str]:
        """What a model must not be used for: its own limits, then those of its tier."""
        model_policy, tier = self.rules.models.get(model), self.tier_of(model)
        own = model_policy.limits if model_policy else []
        return list(dict.fromkeys([*own, *(tier.limits if tier else [])]))

    def review_every(self, model: str) -> int | None:
        """Months after which people review an approved version again; None where policy says
        nothing.
        """
        model_policy, tier = self.rules.models.get(model), self.tier_of(model)
        own = model_policy.review_every if model_policy else None
        return own or (tier.review_every if tier else None)

    def next_review(self, model: str, approved: datetime) -> date | None:
        """The day on which an approved version is due for review; None where policy sets none."""
        months = self.review_every(model)
        return months_later(approved.date(), months) if months is not None else None

    def owner_of(self, model: str) -> str:
        """The person or team that answers for a model; empty where policy names none."""
        model_policy = self.rules.models.get(model)
        return model_policy.owner if model_policy else ""

    def retire_people(self, model: str) -> int:
        """How many people must sign a retirement: two, or as many as the tier's approvals."""
        tier = self.tier_of(model)
        return max(2, tier.approvals if tier else 0)


FILES: dict[str, type[Model]] = {
    "policy.yaml": Rules,
    "bases.yaml": Bases,
    "evaluation.yaml": EvaluationPolicy,
    "pii.yaml": PiiPolicy,
}
"""The files that must be there."""

CLOCKS = "clocks.yaml"
"""A file that may be there."""

FOLDERS: dict[str, type[Model]] = {
    "constitutions": Constitution,
    "datacards": Datacard,
    "imports": Declaration,
    "quality": QualitySuite,
}
"""The folders of one file per name."""

UNDECIDING = "controls"
"""A folder of signed files by which nothing is decided (`governance.report.frameworks`)."""

M = TypeVar("M", bound=Model)


def load_policies(folder: Path, *, strict: bool = True) -> Policies:
    """The policies of a folder. Raises `Problems` with every mistake of every file, or
    `ConfigError`. `strict`: see `policies_of`.
    """
    if not folder.is_dir():
        fix = "change to the project's folder"
        raise ConfigError("no such folder", where=str(folder), expected="policies/", fix=fix)
    reader = PolicyReader(policy_files(folder), folder, strict=strict)
    for path in sorted(path for path in folder.rglob("*") if path.is_symlink()):
        # the file behind a link may be in no signed digest, or change later
        reader.note("a symbolic link", path, fix="put what it names in its place")
    return reader.policies()


def policies_of(files: Mapping[str, str], *, strict: bool = True) -> Policies:
    """The policies that a statement carries. Raises as `load_policies`, and `ConfigError` for a
    path that no policy file has. `strict=False`: they may name kinds of keys that only earlier
    policies name.
    """
    for path in files:
        if not _POLICY_PATH.fullmatch(path):
            found = f"{path[:120]!r} is no path of a policy"
            raise ConfigError(found, where="the policies in the log")
    return PolicyReader(files, Path("policies"), strict=strict).policies()


def policy_files(folder: Path) -> dict[str, str]:
    """Path to text of every YAML file below `folder`, and of the suites in JSON: what an origin and
    a proposal carry. Raises `ConfigError`.
    """
    paths = [path for path in folder.rglob("*.*") if path.suffix.lower() in (".yaml", ".yml")]
    paths += (folder / "quality").glob("*.json")
    files = {path.relative_to(folder).as_posix(): path for path in paths if path.is_file()}
    return {name: read_text(path) for name, path in sorted(files.items())}


def files_digest(files: Mapping[str, str]) -> str:
    """sha256 over the canonical list of path, size and sha256 of every file: the digest of the
    policies.
    """
    texts = {path: text.encode() for path, text in sorted(files.items())}
    listed = [
        {"path": path, "size": len(data), "sha256": sha256_bytes(data)}
        for path, data in texts.items()
    ]
    return sha256_bytes(canonical.dumps(listed))


_POLICY_PATH = re.compile(
    r"(?:(?:[a-z][a-z0-9_-]{0,62}/)?[a-z][a-z0-9_-]{0,62}\.yaml|quality/[a-z][a-z0-9_-]{0,62}\.json)"
)


class PolicyReader:
    """Reads the files of one set of policies, and notes every mistake. `folder` names them in
    errors.
    """

    def __init__(self, files: Mapping[str, str], folder: Path, *, strict: bool = True) -> None:
        self.files, self.folder, self.strict = files, folder, strict
        self.problems: list[CountersignError] = []

    def policies(self) -> Policies:
        """The policies. Raises `Problems`."""
        rules, bases = self._file("policy.yaml", Rules), self._file("bases.yaml", Bases)
        evaluation = self._file("evaluation.yaml", EvaluationPolicy)
        pii = self._file("pii.yaml", PiiPolicy)
        datacards, quality = self.each("datacards", Datacard), self._suites()
        imports = self.each("imports", Declaration)
        constitutions = self.each("constitutions", Constitution)
        clocks = self._file(CLOCKS, Clocks) if CLOCKS in self.files else None
        if rules:
            self._check_tiers(rules)
            self._check_principals(rules.principals)
        if rules and evaluation:
            self._check_required(rules, evaluation)
        self._check_suites(datacards, quality)
        self._check_imports(imports, rules.principals if rules else [])
        self._check_names(quality)
        if self.problems or rules is None or bases is None or evaluation is None or pii is None:
            raise Problems(self.problems)
        digest, files = files_digest(self.files), dict(self.files)
        return Policies(
            digest, rules, bases.bases, evaluation, datacards, pii, quality, files, imports,
            constitutions, clocks or Clocks(),
        )  # fmt: skip

    def note(self, found: str, where: Path | str, *, expected: str = "", fix: str = "") -> None:
        """Notes a mistake."""
        self.problems.append(ConfigError(found, where=str(where), expected=expected, fix=fix))

    def _file(self, name: str, model: type[M]) -> M | None:
        try:
            if name in self.files:
                path = self.folder / name
                return parse_model(self.files[name], path, model, plain=self.strict)
            self.note("no such file", self.folder / name, fix="restore it")
        except Problems as error:
            self.problems.extend(error.problems)
        except ConfigError as error:
            self.problems.append(error)
        return None

    def each(self, folder: str, model: type[M]) -> dict[str, M]:
        """The files of a folder, by name without `.yaml`."""
        names = [name for name in self.files if re.fullmatch(rf"{folder}/[^/]+\.yaml", name)]
        loaded = {Path(name).stem: self._file(name, model) for name in names}
        return {name: value for name, value in loaded.items() if value is not None}

    def _suites(self) -> dict[str, QualitySuite]:
        """The quality suites, each with the expectations of the JSON file that it names."""
        return {
            name: self._with_file(name, suite)
            for name, suite in self.each("quality", QualitySuite).items()
        }

    def _with_file(self, name: str, suite: QualitySuite) -> QualitySuite:
        named = suite.great_expectations
        if named is None:
            return suite
        file, where = f"quality/{named.file}", ("great_expectations", "sha256")
        text = self.files.get(file)
        if text is None:
            self.note("no such file", self.folder / file, fix="restore it")
            return suite
        if (found := sha256_bytes(text.encode())) != named.sha256:
            place, fix = self._place(f"quality/{name}.yaml", *where), f"if it is meant: {found}"
            self.note(f"{file} has sha256 {found}", place, expected=named.sha256, fix=fix)
            return suite
        try:
            checks = with_file(suite.expectations, text, str(self.folder / file))
        except ConfigError as error:
            self.problems.append(error)
            return suite
        return suite.model_copy(update={"expectations": checks})

    def _place(self, file: str, *field: str | int) -> str:
        return place(self.folder / file, *field, text=self.files[file])

    def _check_tiers(self, rules: Rules) -> None:
        for name, model in rules.models.items():
            if model.tier not in rules.tiers:
                found = f"{model.tier!r} is no tier{_near(model.tier, rules.tiers)}"
                self.note(found, self._place("policy.yaml", "models", name, "tier"))

    def _check_required(self, rules: Rules, evaluation: EvaluationPolicy) -> None:
        """Suites are required of models that policy names."""
        for name, suite in evaluation.suites.items():
            for position, model in enumerate(suite.required_of):
                if model not in rules.models:
                    found = f"{model!r} is no model{_near(model, rules.models)}"
                    place = ("suites", name, "required_of", position)
                    self.note(found, self._place("evaluation.yaml", *place))

    def _check_principals(self, principals: Sequence[Principal]) -> None:
        """No name is given twice, no key is that of two principals, and every key is of an accepted
        kind.
        """
        names: set[str] = set()
        keys: dict[str, str] = {}
        for position, principal in enumerate(principals):
            place = ("policy.yaml", "principals", position)
            if principal.name in names:
                self.note(f"{principal.name!r} is named twice", self._place(*place, "name"))
            names.add(principal.name)
            for number, text in enumerate(principal.keys):
                keyid = earlier_key(text).keyid
                if self.strict:
                    self._check_key(text, *place, "keys", number)
                if keyid in keys:
                    found = f"this key is named twice: it is {keys[keyid]}'s"
                    self.note(found, self._place(*place, "keys", number))
                keys[keyid] = principal.name

    def _check_key(self, text: str, file: str, *field: str | int) -> None:
        try:
            public_key(text)
        except ConfigError as error:
            where = self._place(file, *field)
            self.note(error.found, where, expected=error.expected, fix=error.fix)

    def _check_suites(
        self, cards: Mapping[str, Datacard], suites: Mapping[str, QualitySuite]
    ) -> None:
        """No datacard names an unknown quality suite."""
        for name, card in cards.items():
            if card.suite is not None and card.suite not in suites:
                found = f"no quality suite {card.suite!r}{_near(card.suite, suites)}"
                self.note(found, self._place(f"datacards/{name}.yaml", "suite"))

    def _check_imports(
        self, imports: Mapping[str, Declaration], principals: Sequence[Principal]
    ) -> None:
        """No two declarations are about the same bytes. Whoever declared is a person whom the
        policy names, where it names any: under another name they could approve their own.
        """
        about: dict[str, str] = {}
        people = sorted(each.name for each in principals if each.kind == "person")
        for name, declaration in imports.items():
            if principals and declaration.declared_by not in people:
                found = f"no person is called {declaration.declared_by!r}"
                where = self._place(f"imports/{name}.yaml", "declared_by")
                self.note(found, where, expected=f"one of: {', '.join(people)}")
            other = about.setdefault(declaration.digest, name)
            if other != name:
                found = f"{other!r} and {name!r} are about the same bytes"
                self.note(found, self._place(f"imports/{name}.yaml", "digest"), fix="keep one")

    def _check_names(self, suites: Mapping[str, QualitySuite]) -> None:
        """No file is there that nothing reads, most likely with a wrong name."""
        named = {one.great_expectations.file for one in suites.values() if one.great_expectations}
        folders = [*FOLDERS, UNDECIDING]
        known = [*FILES, CLOCKS, *(f"{name}/NAME.yaml" for name in sorted(folders))]
        for name in self.files:
            if name.endswith(".json"):
                if name.removeprefix("quality/") not in named:
                    fix = f"great_expectations: {{file: {Path(name).name}, sha256: ...}} in a suite"
                    self.note("no quality suite names this file", self.folder / name, fix=fix)
                continue
            in_folder = name.partition("/")[0] in folders and _POLICY_PATH.fullmatch(name)
            if name not in (*FILES, CLOCKS) and not in_folder:
                other = "move it elsewhere, or give it the name it is read under"
                fix = did_you_mean(name, known) or other
                found, expected = "no policy is read from this file", ", ".join(known)
                self.note(found, self.folder / name, expected=expected, fix=fix)


def _typed_digest(value: Model) -> str:
    return sha256_bytes(canonical.dumps(value.model_dump(mode="json")))


def _near(name: str, known: Mapping[str, object]) -> str:
    similar = did_you_mean(name, known)
    return f"; {similar}" if similar else f" (known: {', '.join(sorted(known)) or 'none'})"
