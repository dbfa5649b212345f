"""How much a file may ask for: looked at when its header is known, before anything of its size is allocated."""
import contextlib
import importlib

from svconv.files.errors import FileError

MAX_PIXELS = 500_000_000  # of a photograph
MAX_KERNEL_PIXELS = 4096 * 4096
RAISED = "--max-pixels, in Python max_pixels, raises it"


def check_size(path, size, bytes_per_pixel, max_pixels, what="picture"):
    """FileError naming `path` if a picture of size (height, width) has more than max_pixels, or needs more memory to read than is free."""
    height, width = size
    if height * width > max_pixels:
        raise FileError(f"cannot read {path}: its header claims a {what} of {height} x {width} pixels (rows x columns), "
                        f"more than the limit of {max_pixels:.15g} ({RAISED})")
    check_memory(path, height * width * bytes_per_pixel, f"reading a {what} of {height} x {width} pixels")


def check_memory(path, needed, purpose):
    """FileError naming `path` if more bytes are needed than are free."""
    free = free_memory()
    if free is not None and needed > free:
        raise FileError(f"{path}: {purpose} needs {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free")


def free_memory():
    """The bytes that a process can still get, or None where the system does not say."""
    free = []
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/meminfo", encoding="ascii") as file:
            free += [1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable:")]
    with contextlib.suppress(OSError, ValueError):  # a container's own limit; it reads "max" where there is none
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as limit, open("/sys/fs/cgroup/memory.current", encoding="ascii") as used:
            free.append(int(limit.read()) - int(used.read()) + _file_cache())
    with contextlib.suppress(ImportError, OSError, ValueError):  # what the shell allows this process, `ulimit -v`
        resource = importlib.import_module("resource")
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            with open("/proc/self/statm", encoding="ascii") as file:
                free.append(limit - int(file.read().split()[0]) * resource.getpagesize())
    return max(0, min(free)) if free else None


def _file_cache():
    """Bytes of the container that hold files and can be dropped."""
    with open("/sys/fs/cgroup/memory.stat", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.split()[0] in ("inactive_file", "active_file"))
