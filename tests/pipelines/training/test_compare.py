"""Two model folders compared: the same bytes, one number changed, a shape, a name, NaN, and what is
no weight.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from governance.base.errors import InputError
from pipelines.training import compare
from pipelines.training.compare import Comparison

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A model of two files, with weights of several types."""
    folder = tmp_path / "reference"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    generator = torch.Generator().manual_seed(1)
    one: Tensors = {
        "a": torch.randn(7, 5, generator=generator),
        "b": torch.ones(3, dtype=torch.bfloat16),
    }
    two: Tensors = {"c": torch.arange(4), "scale": torch.tensor(2.0)}
    save_file(one, folder / "model-1.safetensors")
    save_file(two, folder / "model-2.safetensors")
    where = {
        **dict.fromkeys(one, "model-1.safetensors"),
        **dict.fromkeys(two, "model-2.safetensors"),
    }
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def changed(reference: Path, change: Callable[[Tensors], object], file: str = "model-1") -> Path:
    """A copy in which one file's tensors were changed."""
    copy = reference.parent / "copy"
    shutil.copytree(reference, copy)
    path = copy / f"{file}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return copy


def test_the_same_bytes(reference: Path) -> None:
    copy = shutil.copytree(reference, reference.parent / "copy")
    assert compare.compare(reference, copy) == Comparison(True, 0.0, 0, 4, ())


@pytest.mark.parametrize("part", [1 << 22, 3], ids=["at once", "in parts"])
def test_one_weight_that_differs_is_found_and_measured(
    reference: Path, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "PART", part)

    def change(tensors: Tensors) -> None:
        tensors["a"][6, 4] += 0.25
        tensors["a"][0, 0] -= 0.125

    found = compare.compare(reference, changed(reference, change))
    assert found.largest_difference == pytest.approx(0.25, abs=1e-6)
    assert (found.same_bytes, found.differing, found.tensors) == (False, 1, 4)
    assert found.files == ("model-1.safetensors: content changed",)


def test_every_type_is_compared(reference: Path) -> None:
    def change(tensors: Tensors) -> None:
        tensors["c"][1] = 9
        tensors["scale"] += 1

    found = compare.compare(reference, changed(reference, change, "model-2"))
    assert (found.largest_difference, found.differing) == (8.0, 2)
    (reference.parent / "copy" / "model-2.safetensors").write_bytes(
        (reference / "model-2.safetensors").read_bytes()
    )
    half = changed_in_place(reference.parent / "copy", lambda tensors: tensors["b"].mul_(1.5))
    assert compare.compare(reference, half).largest_difference == 0.5


def changed_in_place(copy: Path, change: Callable[[Tensors], object]) -> Path:
    tensors = load_file(copy / "model-1.safetensors")
    change(tensors)
    save_file(tensors, copy / "model-1.safetensors")
    return copy


@pytest.mark.parametrize(
    ("change", "differing", "tensors"),
    [
        (lambda tensors: tensors.update(a=tensors["a"].reshape(5, 7)), 1, 4),
        (lambda tensors: tensors.update(b=tensors["b"].float()), 1, 4),
        (lambda tensors: tensors.pop("b"), 1, 4),
        (lambda tensors: tensors.update(more=tensors.pop("b")), 2, 5),
        (lambda tensors: tensors["a"].fill_(float("nan")), 1, 4),
        (lambda tensors: tensors["a"].fill_(float("inf")), 1, 4),
    ],
    ids=["shape", "type", "gone", "renamed", "NaN", "infinite"],
)
def test_what_no_number_tells(
    reference: Path, change: Callable[[Tensors], object], differing: int, tensors: int
) -> None:
    found = compare.compare(reference, changed(reference, change))
    assert (found.largest_difference, found.differing, found.tensors) == (None, differing, tensors)


def test_other_files_are_compared_too(reference: Path) -> None:
    copy = shutil.copytree(reference, reference.parent / "copy")
    (copy / "config.json").write_text('{"other": 1}', encoding="utf-8")
    found = compare.compare(reference, copy)
    assert found == Comparison(False, 0.0, 0, 4, ("config.json: content changed",))


def test_zeros_of_another_sign_are_other_bytes(reference: Path) -> None:
    shutil.copytree(reference, reference.parent / "first")
    changed_in_place(reference.parent / "first", lambda tensors: tensors["a"].zero_())
    copy = changed(reference, lambda tensors: tensors["a"].zero_().neg_())
    found = compare.compare(reference.parent / "first", copy)
    assert (found.largest_difference, found.differing) == (0.0, 1)


def test_weights_that_are_not_well_formed_are_refused(reference: Path) -> None:
    copy = shutil.copytree(reference, reference.parent / "copy")
    (copy / "model-1.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(InputError, match="header"):
        compare.compare(reference, copy)
