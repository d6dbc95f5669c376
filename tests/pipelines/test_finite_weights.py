"""Numbers that are not finite are found in the bytes of every type, as torch finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.failures import StoppedError
from pipelines.finite_weights import EXPONENTS, require_finite_weights, tensors
from pipelines.stages import import_base

TYPES = {
    "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
    "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn",
}  # fmt: skip


@pytest.mark.parametrize("kind", EXPONENTS)
def test_every_type_is_read_as_torch_reads_it(kind: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    made = {}
    for name, value in {
        "fine": 1.5,
        "nan": float("nan"),
        "up": float("inf"),
        "down": -float("inf"),
    }.items():
        tensor = torch.zeros(3, 5)
        tensor[1, 2] = value
        made[name] = tensor.to(getattr(torch, TYPES[kind]))
    made["largest"] = torch.full((7,), torch.finfo(made["fine"].dtype).max, dtype=torch.float64).to(
        made["fine"].dtype
    )
    made["whole"] = torch.full((2,), 2**31 - 1, dtype=torch.int32)
    save_file(made, tmp_path / "model.safetensors")
    found = {one.name: one for one in tensors(tmp_path)}
    for name, tensor in made.items():
        plain = tensor.double() if tensor.is_floating_point() else tensor
        assert found[name].nan == bool(plain.isnan().any()), name
        assert found[name].infinite == bool(plain.isinf().any()), name


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        ("model.embed.weight", "nan", True),
        ("model.embed.weight", "inf", True),
        ("h.0.attn.masked_bias", "inf", False),
        ("h.0.attn.masked_bias", "nan", True),
        ("model.embed.weight", "1", False),
    ],
)
def test_a_base_has_finite_weights(name: str, value: str, refused: bool, tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    from safetensors.numpy import save_file

    save_file({name: np.array([0, float(value)], dtype=np.float32)}, tmp_path / "model.safetensors")
    if not refused:
        import_base.require_finite("import_base@x", tmp_path)
        return
    with pytest.raises(StoppedError, match=f"the first is {name}") as caught:
        import_base.require_finite("import_base@x", tmp_path)
    assert caught.value.exit_code == 9
    assert caught.value.stopped.counts == {"tensors": 1, "tensors_not_finite": 1}
    with pytest.raises(StoppedError):
        require_finite_weights(tmp_path, "train@x")
