"""A model folder against its manifest: whatever is other than registered is refused, and the file
is named.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.attest import digests
from governance.attest.predicates import ModelFile
from governance.base.errors import InputError, StorageError, VerificationError
from governance.models import files as modelfiles
from governance.models import folder as modelfolder
from governance.models import weights
from tests.governance.story import safetensors

SIX = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


GOOD = safetensors({"a.weight": SIX, "__metadata__": {"format": "pt"}})


def make(folder: Path) -> Path:
    """A model as it is registered."""
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(GOOD)
    (folder / "config.json").write_text(
        '{"model_type": "qwen2", "time_step_limit": [0.0, Infinity]}'
    )
    (folder / "tokenizer" / "vocab.json").write_text('{"auto_map": 7, "größe": 8}')
    (folder / "README.md").write_text("a model\n")
    (folder / "LICENSE").write_text("MIT")
    (folder / "tokenizer.model").write_bytes(b"\x0a\x03abc\x12\x01x")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "model")


def told(folder: Path, files: Sequence[ModelFile], digest: str | None = None) -> list[str]:
    return [
        str(fault)
        for fault in modelfolder.check(folder, files, digest or digests.manifest_digest(files))
    ]


def test_a_model_as_registered_has_no_fault(folder: Path, tmp_path: Path) -> None:
    files = digests.manifest(folder)
    assert told(folder, files) == []
    modelfolder.copied(folder, files, digests.tree_digest(folder), tmp_path / "private")
    assert digests.tree_digest(tmp_path / "private") == digests.tree_digest(folder)
    assert {
        path.stat().st_mode & 0o777 for path in (tmp_path / "private").rglob("*") if path.is_file()
    } == {0o400}
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o700


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _git(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("x")


def _replaced_by_link(folder: Path) -> None:
    outside = folder.parent / "outside.json"
    shutil.move(folder / "config.json", outside)
    (folder / "config.json").symlink_to(outside)


def _linked_folder(folder: Path) -> None:
    outside = folder.parent / "outside"
    shutil.move(folder / "tokenizer", outside)
    (folder / "tokenizer").symlink_to(outside)


def _replaced_by_fifo(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


CHANGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file more": (lambda f: (f / "extra.txt").write_text(""), "extra.txt: not in the manifest"),
    "code more": (lambda f: (f / "modeling.py").write_text(""), "modeling.py: not in the manifest"),
    "a hidden file more": (
        lambda f: (f / ".hidden.json").write_text("{}"),
        ".hidden.json: not in the manifest",
    ),
    "git": (_git, ".git/config: not in the manifest"),
    "a file less": (lambda f: (f / "LICENSE").unlink(), "LICENSE: missing"),
    "a byte": (lambda f: (f / "README.md").write_text("b model\n"), "README.md: content changed"),
    "a longer file": (
        lambda f: (f / "README.md").write_text("a model\n\n"),
        "README.md: content changed",
    ),
    "a file with holes, which takes hours to hash": (
        lambda f: os.truncate(f / "README.md", 1 << 40),
        "README.md: content changed: 1099511627776 bytes",
    ),
    "renamed": (lambda f: (f / "LICENSE").rename(f / "LICENCE"), "LICENSE: missing"),
    "an empty folder": (lambda f: (f / "empty").mkdir(), "empty: empty folder"),
    "a symbolic link": (_replaced_by_link, "config.json: symbolic link"),
    "a linked folder": (_linked_folder, "tokenizer: symbolic link"),
    "a broken link": (lambda f: (f / "x.json").symlink_to("nowhere"), "x.json: symbolic link"),
    "a hard link to outside": (
        lambda f: os.link(f / "config.json", f.parent / "c.json"),
        "config.json: a hard link",
    ),
    "a FIFO": (lambda f: _fifo(f / "x.json"), "x.json: neither file nor folder"),
    "a FIFO in place": (_replaced_by_fifo, "config.json: neither file nor folder"),
    "case": (lambda f: (f / "Config.json").write_text("{}"), "are one name on some systems"),
    "normal form": (
        lambda f: [(f / "ä.txt").write_text(""), (f / "a\u0308.txt").write_text("")],
        "are one name on some systems",
    ),
    "zero width": (
        lambda f: (f / "config\u200b.json").write_text("{}"),
        "odd character in a file name: U+200B",
    ),
    "backslash": (
        lambda f: (f / "a\\b.json").write_text("{}"),
        "odd character in a file name: U+005C",
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_folder_that_changed_is_refused(name: str, folder: Path, tmp_path: Path) -> None:
    files, digest = digests.manifest(folder), digests.tree_digest(folder)
    change, expected = CHANGED[name]
    change(folder)
    assert any(expected in line for line in told(folder, files, digest)), told(
        folder, files, digest
    )
    with pytest.raises(VerificationError, match="not the registered model's files"):
        modelfolder.copied(folder, files, digest, tmp_path / "private")
    assert not (tmp_path / "private").exists()


def test_an_index_with_holes_is_not_read_into_memory(folder: Path) -> None:
    """Registered with an index; somebody makes it a terabyte long."""
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a.weight": "model.safetensors"}}')
    files = digests.manifest(folder)
    assert told(folder, files) == []
    os.truncate(index, 1 << 40)
    assert any("content changed: 1099511627776 bytes" in line for line in told(folder, files))


def test_a_device_is_refused(folder: Path) -> None:
    files = digests.manifest(folder)
    (folder / "LICENSE").unlink()
    try:
        os.mknod(folder / "LICENSE", 0o20644, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this account may not make devices")
    assert "LICENSE: neither file nor folder" in told(folder, files)[0]


PATHS: dict[str, str] = {
    "../config.json": "leaves the folder",
    "a/../../x.json": "leaves the folder",
    "/etc/x.json": "absolute",
    "C:/x.json": "absolute",
    "a\\x.json": "backslash",
    "..\\x.json": "leaves the folder",
    "%2e%2e/x.json": "encoded",
    "%252e%252e%252fx.json": "encoded",
    "a//x.json": "empty part",
    "./x.json": "empty part",
    "": "empty part",
    ".git/config.json": "hidden",
    ".x.json": "hidden",
    "a\u0308.json": "odd on some system",
    "champi\u043en.json": "odd on some system",
    "x\n.json": "odd on some system",
    "x .json": "odd on some system",
    "x\0.json": "odd on some system",
    "-rf.json": "odd on some system",
    "nul.json": "no file's",
    "a./x.json": "no file's",
    "code/config.json": "code is loaded from",
    "Code/config.json": "code is loaded from",
    "custom_generate/x.json": "code is loaded from",
    "adapter_config.json": "names another model",
    "x.safetensors.index.json": "an index of weights under another name",
    "a/model.safetensors.index.json": "an index of weights under another name",
    "modeling_x.py": "can run code",
    "pytorch_model.bin": "can run code",
    "training_args.pt": "can run code",
    "model.safetensors.py": "can run code",
    "x.so": "can run code",
    "x": "can run code",
    "X.JSON": "can run code",
}


@pytest.mark.parametrize("path", PATHS, ids=ascii)
def test_a_manifest_that_names_such_a_path_is_refused(
    path: str, folder: Path, tmp_path: Path
) -> None:
    files = [
        *digests.manifest(folder),
        ModelFile(path=path, size=2, sha256=digests.sha256_bytes(b"{}")),
    ]
    faults = modelfolder.check_manifest(files, digests.manifest_digest(files))
    assert [(fault.path, PATHS[path] in fault.reason) for fault in faults] == [(path, True)]
    with pytest.raises(VerificationError, match="not the registered model's files"):
        modelfolder.take(
            files,
            digests.manifest_digest(files),
            modelfolder.from_folder(folder),
            tmp_path / "private",
        )


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("a.json", "A.json"),
        ("a/x.json", "A/y.json"),
        ("x.json", "x.json"),
        ("a.json/b.txt", "a.json"),
    ],
)
def test_a_manifest_whose_paths_collide_is_refused(one: str, two: str) -> None:
    files = [ModelFile(path=path, size=0, sha256="0" * 64) for path in (one, two)]
    faults = modelfolder.check_manifest(files, digests.manifest_digest(files))
    assert len(faults) == 1 and "is one path with" in faults[0].reason


def test_a_manifest_of_another_model_or_of_nothing_is_refused(folder: Path) -> None:
    assert told(folder, digests.manifest(folder), "0" * 64) == [
        ".: the manifest is not the one of model 000000000000"
    ]
    assert told(folder, []) == [".: the manifest names no file"]


class Evil:
    """Would run on loading."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("true",)


CONTENT: dict[str, tuple[str, bytes, str]] = {
    # what is wrong: the file, its bytes, what is said; all of it registered like that
    **{
        f"pickle {protocol} as {name}": (name, pickle.dumps(Evil(), protocol), said)
        for protocol in range(6)
        for name, said in {
            "notes.txt": "a pickle under another name",
            "config.json": "a pickle under another name",
            "model.safetensors": "header",
            "tokenizer.model": "not a SentencePiece model",
        }.items()
    },
    "zip": ("notes.txt", b"PK\x03\x04\x14\x00\x00", "it holds NUL"),
    "elf": ("notes.txt", b"\x7fELF\x02\x01\x01\x00", "it holds NUL"),
    "latin": ("notes.txt", "größe".encode("latin-1"), "no UTF-8"),
    "auto_map": (
        "config.json",
        b'{"auto_map": {"AutoModel": "x.Y"}}',
        "asks for code to be loaded",
    ),
    "auto_map deep": (
        "tokenizer/x.json",
        b'[{"a": [{"auto_map": {"A": "b--c.D"}}]}]',
        "(auto_map)",
    ),
    "escaped auto_map": ("config.json", rb'{"auto\u005fmap": {"AutoModel": "x.Y"}}', "(auto_map)"),
    "trust": ("config.json", b'{"trust_remote_code": true}', "(trust_remote_code)"),
    "pipelines": (
        "config.json",
        b'{"custom_pipelines": {"x": {"impl": "a.b"}}}',
        "(custom_pipelines)",
    ),
    "kernel": (
        "config.json",
        b'{"attn_implementation": "someone/kernel"}',
        "(attn_implementation)",
    ),
    "kernel by part": (
        "config.json",
        b'{"_attn_implementation": {"text": "a/b"}}',
        "(_attn_implementation)",
    ),
    "kernel, deep": (
        "config.json",
        b'{"attn_implementation": [{"x": ["a/b"]}]}',
        "(attn_implementation)",
    ),
    "other weights": (
        "config.json",
        b'{"transformers_weights": "x.safetensors"}',
        "(transformers_weights)",
    ),
    "duplicate key": ("config.json", b'{"a": 1, "a": 2}', "a key stands twice"),
    "broken JSON": ("config.json", b"{", "line 1, column 2"),
    "deep JSON": ("config.json", b"[" * 200_000, "nested too deep"),
    "two readings": ("config.json", "{}".encode("utf-16"), "no UTF-8"),
    "no index": ("more.safetensors", GOOD, "2 weight files and no index"),
    "index": (
        "model.safetensors.index.json",
        b'{"weight_map": {"a": "../x.safetensors"}}',
        "differ: ",
    ),
    **{
        f"weights: {name}": ("model.safetensors", data, said)
        for name, (data, said) in {
            "empty": (b"", "header of -1 bytes"),
            "huge header": (struct.pack("<Q", 1 << 40) + b"{}", "header of 1099511627776 bytes"),
            "header beyond the file": (struct.pack("<Q", 30) + b"{}", "header of 30 bytes"),
            "duplicate": (
                safetensors('{"a":%s,"a":%s}' % ((json.dumps(SIX),) * 2)),
                "a key stands twice",
            ),
            "traversal": (safetensors({"../../x": SIX}), "no parameter's name"),
            "absolute": (safetensors({"/x": SIX}), "no parameter's name"),
            "newline": (safetensors({"a\n": SIX}), "no parameter's name"),
            "overlap": (
                safetensors({"a": SIX, "b": {**SIX, "data_offsets": [0, 24]}}),
                "overlapping",
            ),
            "hole": (safetensors({"a": {**SIX, "data_offsets": [8, 32]}}, 32), "a hole"),
            "trailing": (GOOD + b"tail", "28 bytes of numbers, 24 described"),
            "truncated": (GOOD[:-1], "23 bytes of numbers, 24 described"),
            "type": (safetensors({"a": {**SIX, "dtype": ["F32"]}}), "do not agree"),
            "unknown type": (safetensors({"a": {**SIX, "dtype": "PICKLE"}}), "do not agree"),
            "a shape that takes hours": (
                safetensors({"a": {**SIX, "shape": [2**53 - 1] * 100_000}}),
                "do not agree",
            ),
            "negative": (safetensors({"a": {**SIX, "shape": [-2, -3]}}), "do not agree"),
            "more keys": (
                safetensors({"a": {**SIX, "code": "x"}}),
                "not dtype, shape and data_offsets",
            ),
            "list": (safetensors([1, 2]), "no JSON object"),
            "metadata": (safetensors({"a": SIX, "__metadata__": {"x": {"y": 1}}}), "metadata"),
            "NaN": (
                safetensors('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,24]}}'),
                "NaN",
            ),
            "not UTF-8": (struct.pack("<Q", 4) + b'{"\xff"', "not UTF-8"),
        }.items()
    },
}


@pytest.mark.parametrize("name", CONTENT)
def test_bytes_that_no_model_may_have_are_refused_though_registered(
    name: str, folder: Path, tmp_path: Path
) -> None:
    path, data, said = CONTENT[name]
    (folder / path).write_bytes(data)
    files, digest = digests.manifest(folder), digests.tree_digest(folder)
    faults = told(folder, files, digest)
    assert any(said in line for line in faults), faults
    assert any(line.startswith((path, ".")) for line in faults), faults
    with pytest.raises(VerificationError, match="not the registered model's files"):
        modelfolder.copied(folder, files, digest, tmp_path / "private")


def test_what_transformers_and_sentencepiece_write_has_no_fault(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": int(1e30), "x": None})
    )
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nthe\n##s\n.\n")
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ t\n")
    (tmp_path / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    assert [modelfiles.content_fault(path) for path in sorted(tmp_path.iterdir())] == [None] * 4


@given(data=st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mutation_is_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One byte, one name or one line of the manifest: whatever it is, it is found."""
    folder = make(tmp_path_factory.mktemp("m") / "model")
    files, digest = digests.manifest(folder), digests.tree_digest(folder)
    at = data.draw(st.integers(0, len(files) - 1))
    path = folder / files[at].path
    match data.draw(
        st.sampled_from(
            ["byte", "insert", "cut", "rename", "sha256", "size", "path", "drop", "double"]
        )
    ):
        case "byte":
            content = bytearray(path.read_bytes())
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
            path.write_bytes(content)
        case "insert":
            content, where = path.read_bytes(), data.draw(st.integers(0, path.stat().st_size))
            path.write_bytes(
                content[:where] + data.draw(st.binary(min_size=1, max_size=4)) + content[where:]
            )
        case "cut":
            path.write_bytes(path.read_bytes()[:-1])
        case "rename":
            names = st.text(min_size=1, max_size=20).filter(
                lambda n: "/" not in n and "\0" not in n
            )
            name = data.draw(
                names.filter(
                    lambda n: (
                        n not in (".", "..", path.name) and len(n.encode("utf-8", "ignore")) > 0
                    )
                )
            )
            try:
                path.rename(path.with_name(name))
            except (UnicodeEncodeError, IsADirectoryError):
                return
        case "sha256":
            files[at] = files[at].model_copy(
                update={"sha256": data.draw(st.text("0123456789abcdef", min_size=64, max_size=64))}
            )
        case "size":
            files[at] = files[at].model_copy(
                update={"size": files[at].size + data.draw(st.integers(1, 9))}
            )
        case "path":
            files[at] = files[at].model_copy(
                update={"path": files[at].path + data.draw(st.text(min_size=1, max_size=5))}
            )
        case "drop":
            del files[at]
        case "double":
            files.append(files[at])
    assert told(folder, files, digest)


@given(
    content=st.binary(max_size=200),
    name=st.sampled_from(["x.safetensors", "x.json", "x.txt", "x.model"]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_crash_the_checks(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert isinstance(modelfiles.content_fault(tmp_path / name), str | None)


KEYS = st.sampled_from(["dtype", "shape", "data_offsets", "a", "__metadata__"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.lists(st.integers(), max_size=3)
)
HEADERS = st.recursive(
    LEAVES, lambda inner: st.dictionaries(KEYS, inner) | st.lists(inner, max_size=3), max_leaves=12
)


@given(header=HEADERS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_header_crashes_the_checks(header: Any, tmp_path: Path) -> None:
    """What is accepted, safetensors itself accepts."""
    from safetensors import SafetensorError, safe_open

    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(header, 8))
    if modelfiles.content_fault(path) is None:
        try:
            safe_open(path, framework="numpy")
        except SafetensorError as error:
            pytest.fail(str(error))


def test_no_writer_gets_a_byte_in_between(folder: Path, tmp_path: Path) -> None:
    """Somebody writes, truncates and swaps all the time: what is taken is the registered bytes, or
    nothing is.
    """
    files, digest = digests.manifest(folder), digests.tree_digest(folder)
    good, bad = GOOD, safetensors({"a.weight": SIX}, 24).replace(b"\0" * 24, b"\1" * 24)
    path, over, taken, refused = folder / "model.safetensors", threading.Event(), 0, 0

    def write() -> None:
        swapped = folder.parent / "swapped"
        while not over.is_set():
            path.write_bytes(bad)
            path.write_bytes(good)
            swapped.write_bytes(bad)
            swapped.replace(path)
            path.unlink()
            path.symlink_to("/etc/hostname")
            swapped.write_bytes(good)
            swapped.replace(path)
            time.sleep(
                0.003
            )  # a moment in which a reader can win, however the machine shares its cores out

    writer, private = threading.Thread(target=write), tmp_path / "private"
    writer.start()
    until = time.monotonic() + 300
    try:
        while taken + refused < 300 or (0 in (taken, refused) and time.monotonic() < until):
            try:
                modelfolder.copied(folder, files, digest, private)
            except VerificationError:
                assert not private.exists()
                refused += 1
                continue
            taken += 1
            assert (private / "model.safetensors").read_bytes() == good
            shutil.rmtree(private)
    finally:
        over.set()
        writer.join()
    path.unlink(missing_ok=True)
    path.write_bytes(good)
    modelfolder.copied(folder, files, digest, tmp_path / "afterwards")
    assert taken and refused, "the race was never lost, or never won"


@pytest.mark.parametrize("protocol", range(2, 6))
def test_the_mark_of_a_pickle_is_enough(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(bytes([0x80, protocol]) + b"].")
    fault = modelfiles.content_fault(tmp_path / "vocab.txt")
    assert fault is not None and fault.startswith("a pickle")


def test_what_became_a_link_or_a_pipe_after_it_was_listed_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text("{}")
    (tmp_path / "link.json").symlink_to("there.json")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.json").write_text("{}")
    (tmp_path / "linked").symlink_to("sub")
    os.mkfifo(tmp_path / "pipe.json")
    os.close(modelfolder._open_below(tmp_path, "there.json"))
    os.close(modelfolder._open_below(tmp_path, "sub/x.json"))
    for path in ("link.json", "linked/x.json", "pipe.json", "sub", "gone.json"):
        with pytest.raises(VerificationError):
            modelfolder._open_below(tmp_path, path)


def test_the_sizes_of_types_are_those_of_the_format() -> None:
    """`Dtype::bitsize` of safetensors 0.6 (safetensors/src/tensor.rs)."""
    bits = {
        **dict.fromkeys(["F4"], 4),
        **dict.fromkeys(["F6_E2M3", "F6_E3M2"], 6),
        **dict.fromkeys(["BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"], 8),
        **dict.fromkeys(["I16", "U16", "F16", "BF16"], 16),
        **dict.fromkeys(["I32", "U32", "F32"], 32),
        **dict.fromkeys(["I64", "U64", "F64"], 64),
    }
    assert bits == weights.BITS


@pytest.mark.parametrize(
    ("count", "more"), [(1, ""), (20, ""), (21, "and 1 more"), (25, "and 5 more")]
)
def test_a_refusal_lists_twenty_faults(count: int, more: str) -> None:
    faults = [modelfolder.Fault(f"{number}.bin", "missing") for number in range(count)]
    with pytest.raises(VerificationError) as error:
        modelfolder.refuse(faults, "models/x")
    lines = error.value.found.splitlines()
    assert (
        lines[1 : 1 + min(count, 20)]
        == [f"  {number}.bin: missing" for number in range(count)][:20]
    )
    assert [line.strip() for line in lines[21:]] == ([more] if more else [])
    modelfolder.refuse([], "models/x")


def test_an_empty_file_may_be_registered(folder: Path) -> None:
    (folder / "NOTICE").write_bytes(b"")
    files = digests.manifest(folder)
    assert [file.size for file in files if file.path == "NOTICE"] == [0]
    assert told(folder, files) == []
    negative = [file.model_copy(update={"size": -1}) for file in files[:1]]
    assert "a size of -1 bytes" in told(folder, negative)[0]


def test_an_error_in_json_names_its_place_and_not_its_text(folder: Path) -> None:
    (folder / "config.json").write_text('{"a": 1,\n "secret"}')
    fault = modelfiles.content_fault(folder / "config.json")
    assert fault == "not JSON that has one reading (line 2, column 10)"
    (folder / "config.json").write_text('{"secret": 1, "secret": 2}')
    fault = modelfiles.content_fault(folder / "config.json")
    assert fault == "not JSON that has one reading (a key stands twice in one object)"


def test_an_index_that_differs_names_five_files_at_most(folder: Path) -> None:
    names = {f"w{number}": f"part-{number}.safetensors" for number in range(9)}
    (folder / weights.INDEX).write_text(json.dumps({"weight_map": names}))
    with pytest.raises(InputError) as error:
        weights.check_index(folder)
    assert error.value.found.count(".safetensors") == 5


def test_a_fault_of_the_folder_itself_is_told_of_the_folder(folder: Path) -> None:
    assert modelfolder._within(folder, str(folder)) == "."
    assert modelfolder._within(folder, f"{folder}/a/b") == "a/b"
    files = digests.manifest(folder)
    shutil.rmtree(folder)
    assert told(folder, files) == [".: no such folder"]


def test_a_model_is_taken_into_a_new_folder_below_one_that_is_there(
    folder: Path, tmp_path: Path
) -> None:
    files, digest = digests.manifest(folder), digests.tree_digest(folder)
    with pytest.raises(StorageError, match="cannot be written"):
        modelfolder.copied(folder, files, digest, tmp_path / "none" / "private")
    assert not (tmp_path / "none").exists()
    modelfolder.discard(tmp_path / "none")
    modelfolder.copied(folder, files, digest, tmp_path / "private")
    assert (tmp_path / "private" / "tokenizer").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"a\x02b", None),
        (b"\x02\x03", None),
        (b"\x80\x01.", "not text (no UTF-8)"),
        (b"\x80", "not text (no UTF-8)"),
        (b"\x80\x02.", "a pickle under another name: loading it runs code"),
        (b"\x80\x05.", "a pickle under another name: loading it runs code"),
        (b"\x80\x06.", "not text (no UTF-8)"),
    ],
)
def test_the_mark_of_a_pickle_has_two_bytes(data: bytes, fault: str | None, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(data)
    assert modelfiles.content_fault(tmp_path / "vocab.txt") == fault


def test_files_of_deep_folders_are_taken(folder: Path, tmp_path: Path) -> None:
    deep = folder / "a" / "b" / "c"
    deep.mkdir(parents=True)
    for name in ("x.txt", "y.txt"):
        (deep / name).write_text(name)
    files, digest = digests.manifest(folder), digests.tree_digest(folder)
    modelfolder.copied(folder, files, digest, tmp_path / "private")
    assert digests.tree_digest(tmp_path / "private") == digest


@pytest.mark.parametrize(
    ("size", "fault"), [(10, None), (11, "11 bytes, which no text of a model has")]
)
def test_a_text_has_a_largest_size(
    size: int, fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modelfiles, "MAX_TEXT", 10)
    (tmp_path / "vocab.txt").write_text("x" * size)
    assert modelfiles.content_fault(tmp_path / "vocab.txt") == fault


@pytest.mark.parametrize(
    ("data", "holds"),
    [
        (b"\x0a\x03abc", True),
        (b"\x2a\x01x\x12\x00", True),
        (b"\x0a\x80\x01" + b"x" * 128, True),
        (b"\x0a\x80\x01" + b"x" * 127, False),
        (b"\x0a\x83\x80\x80\x80\x00abc", True),
        (b"", False),
        (b"\x0a", False),
        (b"\x0a\x80", False),
        (b"\x0a\x04abc", False),
        (b"\x0a\x02abc", False),
        (b"\x08\x01a", False),
        (b"\x02\x01a", False),
        (b"\x32\x01a", False),
    ],
)
def test_a_sentencepiece_model_is_a_row_of_its_five_fields(data: bytes, holds: bool) -> None:
    """Protocol buffers, wire type 2: tag (field << 3 | 2), length as a varint, so many bytes."""
    assert modelfiles._sentencepiece(data) is holds
