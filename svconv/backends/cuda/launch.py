"""One launch of a CUDA kernel as a value: what an op runs, what NVRTC compiles in the tests and what the emulation runs on the CPU."""
import dataclasses
import functools

import torch

from svconv.backends.cuda.source import assembled

TYPES = {torch.float32: "float", torch.float64: "double", torch.float16: "svconv::F16", torch.bfloat16: "svconv::BF16"}
GRANTED = 48 << 10      # bytes of shared memory that a block has without asking


@dataclasses.dataclass(frozen=True, slots=True)
class Resources:
    """What a kernel counts on: so many threads in a block, and so many blocks at once on a multiprocessor.

    shared: most bytes of shared memory of a block; holds_on: where so many blocks find room with as much of it; local: bytes of local
    memory of a thread that are meant, for arrays that no register can hold.
    """
    threads: int
    blocks: int
    shared: int = 0
    holds_on: tuple = ("sm_80", "sm_90", "sm_120")
    local: int = 0

    @property
    def registers(self):
        """Most registers of a thread, of 65,536, in steps of 8."""
        return min(255, 65536 // (self.threads * self.blocks) // 8 * 8)


@dataclasses.dataclass(slots=True)
class Launch:
    """`kernel` of csrc/cuda/`file` on `blocks` x 1 x 1 blocks of `threads` x 1 x 1 threads with `shared` bytes of shared memory.

    arguments: tensors (the kernel gets their address), None (a null pointer), int (long long) and float (double).
    """
    file: str
    kernel: str
    blocks: int
    threads: int
    arguments: tuple
    shared: int = 0

    def __call__(self, device):
        """On torch's current stream of `device`; like any kernel of torch it can be captured in a graph, once it has run.

        torch.OutOfMemoryError: the GPU has no memory left for the code or the launch.
        """
        if self.blocks == 0:
            return
        if torch.cuda.current_device() == device.index:
            self._run(device)
        else:
            with torch.cuda.device(device):
                self._run(device)

    def _run(self, device):
        import cupy
        stream = cupy.cuda.ExternalStream(torch.cuda.current_stream(device).cuda_stream)
        try:
            function = compiled(self.file, self.kernel, self.shared > GRANTED and self.shared, device.index)
            with stream:
                function((self.blocks,), (self.threads,), tuple(map(word, self.arguments)), shared_mem=self.shared)
        except RuntimeError as error:       # CuPy's errors of the driver and of the runtime
            if "out of memory" not in str(error):
                raise
            raise torch.OutOfMemoryError(f"{self.kernel}: {error}") from error


def word(argument):
    """What CuPy passes for an argument: the address of a tensor, a number as it is."""
    return argument.data_ptr() if isinstance(argument, torch.Tensor) else 0 if argument is None else argument


@functools.lru_cache(maxsize=1024)
def compiled(file, kernel, shared, device_index):
    """The function of a device; kept, because looking one up takes longer than to launch it."""
    import cupy
    module = cupy.RawModule(code=assembled(file), options=OPTIONS, name_expressions=(kernel,))
    function = module.get_function(kernel)
    if shared:
        function.max_dynamic_shared_size_bytes = shared
    return function


OPTIONS = ("--std=c++17", "--diag-suppress=177")    # 177: a function of a header that this file does not call
CUPY_OPTIONS = ("-ftz=true", "--device-as-default-execution-space")     # CuPy adds them, behind ours: float32 has no denormals


def shared_limit(device):
    """Most bytes of shared memory that a block of a GPU can have; what a Hopper has where there is no GPU to ask."""
    if device is None or device.type != "cuda":
        return 227 << 10
    return torch.cuda.get_device_properties(device).shared_memory_per_block_optin
