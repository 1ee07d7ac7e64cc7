"""Choice of device and number format: by tables, never by timing, so that two runs give the same numbers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def pick_device(wish: str) -> torch.device:
    """Return the device for "auto", "cpu" or "cuda".

    Raises
    ------
    ValueError
        If "cuda" is requested and there is none.
    """
    if wish == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA device; use --device cpu")
    return torch.device("cuda" if wish == "cuda" or (wish == "auto" and torch.cuda.is_available()) else "cpu")


def autocast(device: torch.device) -> AbstractContextManager:
    """Return bfloat16 autocast where the hardware multiplies bfloat16 natively, else float32.

    GPUs from compute capability 8.0 on; CPUs with AMX or AVX512-BF16. Elsewhere bfloat16 is emulated and slower.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bfloat16(device))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return "AMX" in torch.backends.cpu.get_cpu_capability() or bool(
        getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    )


def images_at_a_time(device: torch.device, *, training: bool = False) -> int:
    """Batch size of a network whose result does not depend on it.

    On a CPU so few that their activations stay in its caches: measured on SqueezeNet at 224 x 224, 4 images take 11 ms each, 32 take 20 ms;
    in bfloat16, half as large, 8 take 10 % less than 4 or 32.
    """
    if device.type == "cpu":
        return 8 if training or has_bfloat16(device) else 4
    return 128


def to_device(network: Network, device: torch.device) -> Network:
    """Move a network to a device, in the memory layout in which convolutions are fast."""
    return network.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch has no overload for it
