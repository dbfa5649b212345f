"""One run by several processes, as torchrun starts them: every process learns from its share of each batch, the gradients are averaged."""
import contextlib
import importlib

import torch


class Alone:
    """A run by one process: what `Processes` does for several, without any work."""

    rank, count = 0, 1

    def share(self, batch):
        """(offset of the first item of this process, number of its items) in a batch; ValueError if it cannot be shared equally."""
        if batch % self.count:
            raise ValueError(f"batch: expected a multiple of the {self.count} processes, got {batch}")
        return self.rank * (batch // self.count), batch // self.count

    def device(self, chosen):
        """The device of this process where the run has chosen one for all."""
        return chosen

    def gathered(self, values):
        """The values [n, ...] of all processes in their order, and the slice of this process's own."""
        return values, slice(0, len(values))

    def any(self, *flags):
        """For each flag, whether it is set in any of the processes."""
        return tuple(map(bool, flags))

    def mean(self, number):
        """The mean of a number over the processes."""
        return number

    def average(self, tensors):
        """Replaces each tensor by its mean over the processes."""

    def align(self, module):
        """Gives all processes the parameters and buffers of the first one."""


class Processes(Alone):
    """The processes of a group of torch.distributed; the same calls in the same order in each of them.

    All of them hold the same weights and make the same decisions. The first one alone writes: log, checkpoints, best weights; it validates
    while the others wait.
    """

    def __init__(self):
        self.rank, self.count = torch.distributed.get_rank(), torch.distributed.get_world_size()

    def device(self, chosen):
        return torch.device("cuda", torch.distributed.get_node_local_rank()) if chosen.type == "cuda" else chosen

    def gathered(self, values):
        parts = [torch.empty_like(values) for _ in range(self.count)]
        torch.distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts), slice(self.rank * len(values), (self.rank + 1) * len(values))

    def any(self, *flags):
        return tuple(value > 0 for value in self._sum(*flags))

    def mean(self, number):
        return self._sum(number)[0] / self.count

    def _sum(self, *numbers):
        values = torch.tensor(numbers, dtype=torch.float64)
        torch.distributed.all_reduce(values)
        return values.tolist()

    @torch.no_grad()
    def average(self, tensors):
        tensors = [t for t in tensors if t.is_floating_point()]
        if tensors:
            flat = torch.cat([t.flatten() for t in tensors])
            torch.distributed.all_reduce(flat)
            for t, mean in zip(tensors, flat.div_(self.count).split([t.numel() for t in tensors])):
                t.copy_(mean.view_as(t))

    @torch.no_grad()
    def align(self, module):
        for t in (*module.parameters(), *module.buffers()):
            torch.distributed.broadcast(t.data, 0)


@contextlib.contextmanager
def processes():
    """Yields the `Processes` that torchrun has started, joined by gloo for tensors on a CPU and nccl on GPUs; `Alone` without torchrun."""
    if not (torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()):
        yield Alone()
        return
    # Its functions keep the group that exists when they are first imported, which optimisers do, as a default argument. A group that
    # outlives its destruction leaves a gloo thread that may abort the interpreter at its end, so the import comes before the group.
    importlib.import_module("torch.distributed.nn.functional")
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Processes()
    finally:
        torch.distributed.destroy_process_group()
