"""Counters of energy: a folder as Linux's powercap has it, and a library with NVML's functions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.energy import Meter

LIMIT = 262_143_328_850


class NvmlError(Exception):
    pass


def powercap(folder: Path, **zones: tuple[str, int]) -> Path:
    """Zones, by their number with `_` for `:`, with name and counter."""
    for number, (name, value) in zones.items():
        zone = folder / f"intel-rapl:{number.strip('z').replace('_', ':')}"
        zone.mkdir(parents=True, exist_ok=True)
        for file, text in (("name", name), ("max_energy_range_uj", LIMIT), ("energy_uj", value)):
            (zone / "new").write_text(f"{text}\n")
            (zone / "new").replace(zone / file)  # in one step: another thread reads it
    return folder


def no_library() -> Any:
    raise ImportError


def nvml(*counters: list[int]) -> SimpleNamespace:
    """NVML with these GPUs; each answers one value after the other, and then no more."""

    def energy(gpu: list[int]) -> int:
        if not gpu:
            raise NvmlError("the GPU is lost")
        return gpu.pop(0)

    return SimpleNamespace(
        NVMLError=NvmlError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(counters),
        nvmlDeviceGetHandleByIndex=lambda at: counters[at],
        nvmlDeviceGetHandleByUUID=lambda name: counters[int(name.removeprefix("GPU-"))],
        nvmlDeviceGetTotalEnergyConsumption=energy,
    )


def test_packages_and_memory_count_and_their_parts_do_not(tmp_path: Path) -> None:
    powercap(tmp_path, z0=("package-0", 1_000_000), z0_0=("core", 5), z0_1=("dram", 0))
    powercap(tmp_path, z1=("psys", 7))
    with Meter({}, tmp_path, no_library) as meter:
        powercap(tmp_path, z0=("package-0", 3_500_000), z0_0=("core", 900_000), z1=("psys", 10**9))
        powercap(tmp_path, z0_1=("dram", 250_000))
    found = meter.used("cpu", 2)
    assert found.joules == 2.75
    assert found.counters == ["package-0", "dram of intel-rapl:0"]
    assert found.not_measured == ""


@pytest.mark.parametrize(
    ("readings", "joules"),
    [
        ([0, 5_000_000], 5.0),
        ([LIMIT - 1_000_000, 2_000_000], 3.0),
        ([LIMIT - 1_000_000, LIMIT, 500_000, 400_000], 1.5 + (LIMIT - 100_000) / 1e6),
        ([7, 7], 0.0),
    ],
)
def test_a_counter_starts_again_at_its_limit(
    tmp_path: Path, readings: list[int], joules: float
) -> None:
    meter = Meter({}, powercap(tmp_path, z0=("package-0", 0)), no_library)
    for reading in readings:
        powercap(tmp_path, z0=("package-0", reading))
        meter.sample()
    assert meter.used("cpu", 1).joules == pytest.approx(joules)


def test_samples_are_taken_meanwhile(tmp_path: Path) -> None:
    meter = Meter({}, powercap(tmp_path, z0=("package-0", 0)), no_library, every=0.001)
    with meter:
        for reading in (200_000_000_000, 100):  # one turn
            count = meter.samples
            powercap(tmp_path, z0=("package-0", reading))
            while meter.samples < count + 2:
                pass
    assert meter.used("cpu", 1).joules == pytest.approx((LIMIT + 100) / 1e6)


def test_without_counters_nothing_is_invented(tmp_path: Path) -> None:
    with Meter({}, tmp_path / "none", no_library) as meter:
        pass
    assert meter.used("cpu", 1).joules is None
    assert "processors" in meter.used("cpu", 1).not_measured
    assert "nvidia-ml-py" in meter.used("cuda", 1).not_measured
    assert "mps" in meter.used("mps", 1).not_measured


def test_a_counter_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    powercap(tmp_path, z0=("package-0", 0), z1=("package-1", 0))
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    with Meter({}, tmp_path, no_library) as meter:
        powercap(tmp_path, z0=("package-0", 1_000_000))
    found = meter.used("cpu", 1)
    assert (found.joules, found.counters) == (1.0, ["package-0"])
    assert found.not_measured.startswith("package-1: ")


def test_only_the_gpus_of_the_training_count(tmp_path: Path) -> None:
    powercap(tmp_path, z0=("package-0", 0))
    with Meter({}, tmp_path, lambda: nvml([10, 2_010], [0, 9_000])) as meter:
        pass
    assert meter.used("cuda", 1).joules == 2.0
    assert meter.used("cuda", 2).joules == 11.0
    assert meter.used("cpu", 1).joules == 0.0
    assert "2 of 3" in meter.used("cuda", 3).not_measured


def test_gpus_are_those_that_the_environment_shows(tmp_path: Path) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "GPU-1, 0"}
    with Meter(environ, tmp_path, lambda: nvml([0, 1_000], [0, 9_000])) as meter:
        pass
    assert meter.used("cuda", 1).joules == 9.0
    assert meter.used("cuda", 1).counters == ["gpu GPU-1"]


def test_a_gpu_that_is_lost_is_named(tmp_path: Path) -> None:
    with Meter({}, tmp_path, lambda: nvml([0])) as meter:
        pass
    found = meter.used("cuda", 1)
    assert found.joules is None
    assert "gpu 0: the GPU is lost" in found.not_measured
