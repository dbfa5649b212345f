"""One kernel launch as a value: what the op runs, and what the ahead-of-time tests compile, are the same thing."""
import contextlib
import dataclasses

import torch


def cdiv(a, b):
    """a / b rounded up; `triton.cdiv` costs the host a microsecond."""
    return -(-a // b)


def strides(t):
    """A kernel's argument for the strides of t: None where it is contiguous, since the kernel knows them from the sizes."""
    return None if t.is_contiguous() else t.stride()


@dataclasses.dataclass(frozen=True)
class Launch:
    """`kernel` on a grid of `programs` x 1 x 1 (grid y and z stop at 65535, x does not); warps of 32 threads."""
    kernel: object
    programs: int
    arguments: dict
    num_warps: int = 8

    def options(self, warp):
        """Compile options where a warp has so many threads. The default of fused multiply-add differs between versions of Triton."""
        return {"num_warps": max(1, 32 * self.num_warps // warp), "enable_fp_fusion": True}

    def __call__(self, device):
        if self.programs > 0:
            with _current(device):
                self.kernel[(self.programs,)](**self.arguments, **self.options(64 if torch.version.hip else 32))


def _current(device):
    """Triton launches on the current device, which need not be the tensors' own."""
    return contextlib.nullcontext() if device.type == "cpu" else torch.get_device_module(device).device(device)
