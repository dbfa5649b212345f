"""One kernel launch as a value: what the op runs, and what the ahead-of-time tests compile, are the same thing."""
import contextlib
import dataclasses

import torch


@dataclasses.dataclass(frozen=True)
class Launch:
    """`kernel` on a grid of `programs` x 1 x 1 (grid y and z stop at 65535, x does not), `threads` in a program."""
    kernel: object
    programs: int
    arguments: dict
    threads: int = 256

    def options(self, warp):
        """Compile options for warps of so many threads. The default of fused multiply-add differs between versions of Triton."""
        return {"num_warps": self.threads // warp, "enable_fp_fusion": True}

    def __call__(self, device):
        if self.programs > 0:
            with _current(device):
                self.kernel[(self.programs,)](**self.arguments, **self.options(64 if torch.version.hip else 32))


def _current(device):
    """Triton launches on the current device, which need not be the tensors' own."""
    return contextlib.nullcontext() if device.type == "cpu" else torch.get_device_module(device).device(device)
