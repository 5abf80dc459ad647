"""The GPU of this process: its name, and whether it computes. On a CPU there is nothing to ask."""

import os
import shutil
import socket
import subprocess
from contextlib import suppress

from carft.core.errors import DeviceFailed

#: side of the matrices that a probe multiplies
SIDE = 64
#: the environment variable of cuBLAS that decides whether equal products have equal bits
CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
#: seconds that nvidia-smi may take to name the GPUs
NAMING_S = 20
#: environment variables by which MKL, oneDNN and cuBLAS compute other bits on the same processor; torch does not use
#: OpenBLAS where it has MKL
BIT_VARIABLES = (
    *("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "NVIDIA_TF32_OVERRIDE"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
)


def clear_bit_variables() -> None:
    """Remove the variables of :data:`BIT_VARIABLES` from the environment of this process.

    The libraries read them at their first product, so call this before.
    """
    for name in BIT_VARIABLES:
        os.environ.pop(name, None)


def bit_variables() -> dict[str, str]:
    """Those of :data:`BIT_VARIABLES` that are set in this process, for the record."""
    return {name: os.environ[name] for name in BIT_VARIABLES if name in os.environ}


def use_repeatable_cublas() -> None:
    """Make cuBLAS use a workspace with which equal products have equal bits, unless the environment names another.

    cuBLAS and PyTorch read the variable at the first product of a process, so call this before.
    """
    os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")


def gpu_name(number: int = 0) -> str:
    """UUID of a GPU that this process may use; its number and host where nvidia-smi does not tell.

    number: position among the GPUs of this process, from 0. Neither torch nor CUDA is asked, since a broken GPU may
    bring either down.
    """
    given = [one.strip() for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one.strip()]
    chosen = given[number] if number < len(given) else str(number)
    if chosen.startswith(("GPU-", "MIG-")):
        return chosen
    for line in nvidia_smi("index,uuid"):
        index, _, uuid = line.partition(",")
        if index.strip() == chosen and uuid:
            return uuid.strip()
    return f"GPU {chosen} of {socket.gethostname()}"


def nvidia_smi(fields: str) -> list[str]:
    """One line per GPU of this machine: the values of the fields, separated by commas, without units.

    Empty where nvidia-smi is missing, fails or does not know a field. fields: of ``nvidia-smi --help-query-gpu``.
    """
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return []
    command = [smi, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        printed = subprocess.run(command, capture_output=True, text=True, timeout=NAMING_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line for line in printed.splitlines() if line.strip()]


def gpus_here() -> int:
    """The number of GPUs that this process may use, by nvidia-smi and CUDA_VISIBLE_DEVICES; torch is not asked."""
    listed, shown = len(nvidia_smi("index")), os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None or not listed:
        return listed
    usable = 0
    for name in shown.split(","):
        if not name.strip() or name.strip() == "-1":  # CUDA reads no further
            break
        usable += 1
    return usable


def busy_gpus() -> dict[str, float]:
    """GPU, such as ``GPU 0`` -> its busy share now, in [0, 1]; of this machine, without what nvidia-smi cannot tell."""
    shares = {}
    for line in nvidia_smi("index,utilization.gpu"):
        with suppress(ValueError):  # such as [N/A], or a sentence in place of numbers
            index, percent = line.split(",")
            shares[f"GPU {int(index)}"] = float(percent) / 100
    return shares


def probe_gpu(device: str, gpu: str) -> None:
    """Compute a small product on the GPU of this process; does nothing when ``device`` is cpu.

    gpu: the name of the GPU for the error. Raises ``DeviceFailed`` when it cannot be computed or is wrong, also where
    an earlier job of this process left its CUDA context unusable. Memory that is full is no failure of the GPU.
    """
    if device == "cpu":
        return
    import torch

    # PyTorch reads the variable once, at the first product: set later, every cell would be refused
    assert CUBLAS_WORKSPACE in os.environ, "call use_repeatable_cublas() before the first product of the process"
    try:
        ones = torch.ones(SIDE, SIDE, device=device)
        product = float((ones @ ones).sum())
    except torch.OutOfMemoryError:
        return
    except RuntimeError as error:
        raise DeviceFailed(f"a small product could not be computed: {str(error).splitlines()[0]}", gpu) from error
    if product != SIDE**3:
        raise DeviceFailed(f"a small product is wrong: {product} instead of {SIDE**3}", gpu)
