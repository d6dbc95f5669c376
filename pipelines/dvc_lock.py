"""dvc.lock, as DVC 3 writes it: by stage, the files that it read and wrote, with DVC's ids of them.

DVC's id is the MD5 of a file, or of a list of files and their ids, with the ending `.dir`. It says
where an object lies in a cache or remote. It proves nothing: sha256 in evidence does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from governance.attest import canonical
from governance.attest.digests import sha256_bytes
from governance.attest.predicates import DvcObject, DvcState
from governance.base.yaml import read_yaml
from pipelines.paths import RECHECKED

FILE = "dvc.lock"
OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")

Entries = Mapping[str, Mapping[str, Any]]
"""Stage, as DVC names it, to its entry."""


def read(root: Path) -> Entries:
    """The stages of the project at `root`; empty where DVC has made nothing. Raises `ConfigError`
    if the file is no YAML.
    """
    path = root / FILE
    content = read_yaml(path) if path.exists() else None
    stages = content.get("stages") if isinstance(content, dict) else None
    entries = stages.items() if isinstance(stages, dict) else ()
    return {str(name): entry for name, entry in entries if isinstance(entry, dict)}


def behind(root: Path, paths: Iterable[Path]) -> DvcState | None:
    """Everything that these outputs depend on, as dvc.lock has it; None where it does not have
    them.
    """
    entries = read(root)
    makers = {
        item["path"]: name for name, entry in entries.items() for item in items(entry, "outs")
    }
    found: dict[str, DvcObject] = {}
    stages: set[str] = set()
    queue = [path.as_posix() for path in paths]
    while queue:
        path = queue.pop()
        below = [place for place in makers if PurePosixPath(place).is_relative_to(path)]
        if path not in makers and below:  # a folder with outputs of several stages
            queue += below
            continue
        made = next((place for place in _upwards(path) if place in makers), None)
        stage = makers[made] if made else None
        if stage is None or stage in stages:
            continue
        stages.add(stage)
        for item in items(entries[stage], "outs"):
            found[item["path"]] = _object(item, stage)
        for item in items(entries[stage], "deps"):
            if PurePosixPath(item["path"]).is_relative_to(RECHECKED):
                continue  # it says whether a gate runs, and is not kept
            queue.append(item["path"])
            inside = any(PurePosixPath(made).is_relative_to(item["path"]) for made in makers)
            if not inside and not any(place in makers for place in _upwards(item["path"])):
                found[item["path"]] = _object(item, "")
    if not stages:
        return None
    used = {name: entries[name] for name in sorted(stages)}
    digest = sha256_bytes(canonical.dumps(used))
    return DvcState(lock=digest, objects=[found[path] for path in sorted(found)])


def items(entry: Mapping[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    """The `deps` or `outs` of a stage that have an id of DVC 3."""
    listed = entry.get(kind)
    for item in listed if isinstance(listed, list) else ():
        if (
            isinstance(item, dict)
            and isinstance(item.get("path"), str)
            and OBJECT.fullmatch(str(item.get("md5")))
        ):
            yield item


def _upwards(path: str) -> Iterator[str]:
    place = PurePosixPath(path)
    yield from (parent.as_posix() for parent in (place, *place.parents))


def _object(item: Mapping[str, Any], stage: str) -> DvcObject:
    size = item.get("size")
    return DvcObject(
        path=item["path"],
        md5=item["md5"],
        size=size if isinstance(size, int) else 0,
        stage=stage,
    )
