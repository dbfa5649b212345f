"""One kernel launch as a value: what the op runs, and what the ahead-of-time tests compile, are the same thing."""
import dataclasses
import functools

import torch

_OTHER_MAKER = bool(torch.version.hip or getattr(torch.version, "xpu", None))     # their compilers do not know "maxnreg"


def cdiv(a, b):
    """a / b rounded up; `triton.cdiv` costs the host a microsecond."""
    return -(-a // b)


def strides(t):
    """A kernel's argument for the strides of t: None where it is contiguous, since the kernel knows them from the sizes."""
    return None if t.is_contiguous() else t.stride()


@dataclasses.dataclass(slots=True)
class Launch:
    """`kernel` on a grid of `programs` x 1 x 1 (grid y and z stop at 65535, x does not); warps of 32 threads.

    registers: NVIDIA's assembler may use so many for a thread; where it chooses for itself it rather spills a few than give up occupancy.
    """
    kernel: object
    programs: int
    arguments: dict
    num_warps: int = 8
    registers: int | None = None

    def options(self, warp):
        """Compile options where a warp has so many threads. The default of fused multiply-add differs between versions of Triton."""
        given = {"num_warps": max(1, 32 * self.num_warps // warp), "enable_fp_fusion": True}
        return given if self.registers is None or warp != 32 or _OTHER_MAKER else given | {"maxnreg": self.registers}

    def __call__(self, device):
        """Triton launches on the current device, which need not be the tensors' own; to make a device current costs microseconds."""
        if self.programs == 0:
            return
        module = None if device.type == "cpu" else torch.get_device_module(device)
        if module is None or module.current_device() == device.index:
            self._run(device)
        else:
            with module.device(device):
                self._run(device)

    def _run(self, device):
        # by position, and without `kernel[grid]`: names and one more call cost the host microseconds
        arguments = map(self.arguments.__getitem__, self.kernel.arg_names)
        self.kernel.run(*arguments, grid=(self.programs,), warmup=False, **self.options(_warp(device)))


@functools.cache
def _warp(device):
    """Threads of a warp."""
    return torch.cuda.get_device_properties(device).warp_size if torch.version.hip and device.type == "cuda" else 32
