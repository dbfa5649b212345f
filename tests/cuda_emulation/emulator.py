"""Builds the kernels of a file for the host, and runs launches with them."""
import ctypes
import hashlib
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import torch

from svconv.backends.cuda.source import folder as sources

HERE = Path(__file__).resolve().parent
MODES = {"plain": [], "sanitized": ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"],
         "threads": ["-fsanitize=thread", "-DSVCONV_EMULATION_THREADS", "-pthread"]}
ORDERS = ("ascending", "descending", "shuffled")
DENSE = 1 << 26         # bytes: of longer storages only the elements of a tensor travel


class Finding(RuntimeError):
    """What the emulation or a sanitizer found."""


def why_not():
    """None, or why this machine cannot build the emulation."""
    return None if shutil.which("g++") and sys.platform.startswith("linux") else "needs g++ on Linux"


class Emulator:
    """The kernels `names` (as NVRTC is given them) of a .cuh file, in one of MODES."""

    def __init__(self, path, names, mode, workplace):
        self.path, self.names, self.mode, self.workplace = Path(path), tuple(names), mode, Path(workplace)
        self.program = None

    def build(self):
        entries = "".join(f'      {{"{name}", emulation::entry({name})}},\n' for name in self.names)
        text = (f'#include "emulation.h"\n#include "{self.path}"\n#include "program.h"\n\nint main(int, char** arguments) {{\n'
                f"  return emulation::main(arguments[1], arguments[2], {{\n{entries}  }});\n}}\n")
        stem = f"{self.path.stem}-{self.mode}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        source, program = self.workplace / f"{stem}.cpp", self.workplace / stem
        source.write_text(text)
        command = ["g++", "-std=c++20", "-O1", "-g1", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-unused-function", *MODES[self.mode],
                   f"-I{HERE}", f"-I{sources()}", str(source), "-o", str(program)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{self.path.name} does not compile for the host:\n{done.stderr[:4000]}")
        if done.stderr:
            raise RuntimeError(f"{self.path.name} compiles with warnings:\n{done.stderr[:4000]}")
        return program

    def run(self, launch, order="ascending"):
        """Runs a launch on tensors of the CPU, in place. Finding: what went wrong, in the words of the program."""
        if self.program is None:
            self.program = self.build()
        job, result = (self.workplace / f"{self.program.name}.{kind}" for kind in ("job", "result"))
        buffers = write_job(job, launch, order)
        done = subprocess.run([self.program, job, result], capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise Finding(f"{launch.kernel} ({self.mode}, {order}), status {done.returncode}:\n{done.stderr[:6000]}")
        data = memoryview(result.read_bytes())
        for part in (part for buffer in buffers for part in buffer.parts):
            ctypes.memmove(part.address, bytes(data[:part.length]), part.length)
            data = data[part.length:]


class Part:
    def __init__(self, storage, offset, length):
        self.address, self.offset, self.length = storage + offset, offset, length

    def bytes(self):
        return ctypes.string_at(self.address, self.length)


class Buffer:
    """The memory of a storage: all of it, or of a very long one the elements of the tensors alone."""

    def __init__(self, storage):
        self.start, self.size = storage.data_ptr(), storage.nbytes()
        self.parts = [Part(self.start, 0, self.size)] if self.size <= DENSE else []

    def add(self, tensor):
        if self.size > DENSE:
            places = torch.zeros(1, dtype=torch.int64)
            for size, stride in zip(tensor.shape, tensor.stride()):
                places = (places[:, None] + torch.arange(size) * stride).flatten()
            known, bytes_each = {part.offset for part in self.parts}, tensor.element_size()
            found = {(tensor.storage_offset() + place) * bytes_each for place in places.tolist()}
            self.parts += [Part(self.start, offset, bytes_each) for offset in sorted(found - known)]


def write_job(path, launch, order):
    """Writes what `program.h` reads; the buffers, whose parts it writes back."""
    buffers, words = {}, []
    for value in launch.arguments:
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            buffer = buffers.setdefault(storage.data_ptr(), Buffer(storage))
            buffer.add(value)
            words.append(f"p {list(buffers).index(storage.data_ptr())} {value.data_ptr() - buffer.start}")
        elif value is None:
            words.append("p -1 0")
        else:
            bits = struct.unpack("<q", struct.pack("<d", value))[0] if isinstance(value, float) else int(value)
            words.append(f"i {bits}")
    described = [f"{b.size} {len(b.parts)} " + " ".join(f"{part.offset} {part.length}" for part in b.parts) for b in buffers.values()]
    header = [launch.kernel, f"{launch.blocks} 1 1 {launch.threads} 1 1 {launch.shared} {order}",
              str(len(buffers)), *described, str(len(words)), *words]
    with open(path, "wb") as file:
        file.write(("\n".join(header) + "\n").encode())
        for buffer in buffers.values():
            for part in buffer.parts:
                file.write(part.bytes())
    return list(buffers.values())


