"""Where and in which number format the network runs, decided once and with its reason; ranks of a joint run."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from fansr.errors import DataError


@dataclass(frozen=True)
class Device:
    """device: where tensors live; dtype: of the matrix products while training; reason: why that dtype."""

    device: torch.device
    dtype: torch.dtype
    reason: str

    @property
    def autocast(self) -> bool:
        return self.dtype != torch.float32

    def __str__(self) -> str:
        return f"{self.device}, {str(self.dtype).removeprefix('torch.')} ({self.reason})"


def choose(name: str = "auto", dtype: str = "auto") -> Device:
    """Pick the device ("auto", "cpu", "cuda", "cuda:1") and the dtype ("auto" or one of configuration.DTYPES)."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise DataError(f"device {name}: this machine or this build of torch has no CUDA; --device cpu runs here")
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DataError(f"device {name!r} is unknown; wanted auto, cpu, cuda or cuda:N") from None
    if dtype != "auto":
        return Device(device, getattr(torch, dtype), "asked for")
    return Device(device, *_dtype_for(device))


def _dtype_for(device: torch.device) -> tuple[torch.dtype, str]:
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "the GPU has bfloat16 units"
        return torch.float32, "the GPU has no bfloat16 units"
    if device.type == "cpu" and cpu_has_bfloat16():
        return torch.bfloat16, "this CPU multiplies bfloat16 natively, 2.4 times as fast as float32 where measured"
    return torch.float32, "no native bfloat16 on this device"


def cpu_has_bfloat16() -> bool:
    """True when the CPU has bfloat16 dot products (AVX512-BF16 or AMX), as its kernel reports them."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("flags"):
                    return bool({"avx512_bf16", "amx_bf16"} & set(line.split()))
    except OSError:
        pass
    return False


# -------------------------------------------------------------------------------------------- joint runs


def rank() -> int:
    """This process's number in a joint run started by torchrun, else 0."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """Processes in the joint run, else 1."""
    return int(os.environ.get("WORLD_SIZE", 1))


def join_group(device: torch.device) -> None:
    """Meet the other processes of torchrun's joint run; does nothing in a run of one process."""
    if world() > 1 and not torch.distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def leave_group() -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
