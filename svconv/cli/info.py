"""`svconv info`: which backend runs each op here, or why not; versions, build, threads, GPU."""
import platform
import textwrap

WIDTH = 100


def add_parser(subparsers):
    parser = subparsers.add_parser("info", help="which backends run here, and why not the others; versions and build")
    parser.set_defaults(run=run)


def run(_):
    for name, value in facts():
        print(*textwrap.wrap(f"{name:<11}{value}", WIDTH, subsequent_indent=" " * 11, break_on_hyphens=False), sep="\n")
    print()
    print(*backend_table(), sep="\n")
    print()
    print(*choices(), sep="\n")
    return 0


def facts():
    """(name, value) lines about the installation."""
    import torch

    import svconv

    yield "svconv", f"{svconv.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield "versions", ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "triton", "pillow", "imagecodecs", "tifffile"))
    yield from compiled_module()
    yield "threads", f"{torch.get_num_threads()} (torch)"
    yield "GPU", gpu()
    forced = svconv.backends.requested_outside()
    yield "backend", f"{forced} (forced by SVCONV_BACKEND)" if forced else "automatic"


def version(name):
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "-"


def compiled_module():
    from svconv.backends import cpu

    module = cpu.extension()
    if isinstance(module, str):
        yield "C++", module
        return
    build = module.build_info()
    yield "C++", f"{build['compiler']}, OpenMP {'yes' if build['openmp'] else 'no'}, {build['flags']}"
    yield "ISA", f"{build['isa']} (built: {' '.join(build['isa_built'])}; this processor: {' '.join(build['isa_supported'])})"


def gpu():
    import torch

    if not torch.cuda.is_available():
        return "none visible" + ("" if torch.version.cuda or torch.version.hip else ", and this torch has no GPU support")
    names = []
    for i in range(torch.cuda.device_count()):
        p = torch.cuda.get_device_properties(i)
        names.append(f"{p.name} ({p.total_memory / 2**30:.0f} GiB, sm_{p.major}{p.minor})")
    return ", ".join(names) + f", torch built for CUDA {torch.version.cuda}"


def backend_table():
    """One line per op: yes, or a number that stands for the reason below the table."""
    from svconv import backends
    from svconv.ops import _library

    rows = backends.table(_library.STEMS)
    columns = [(device, name) for device in ("cpu", "cuda") for name in backends.NAMES if any(possible(r, device, name) for r in rows)]
    cells = {(op, device, name): reason for op, device, name, reason in rows}
    reasons = {}

    def cell(op, device, name):
        reason = cells[op, device, name]
        return "yes" if reason is None else f"no [{reasons.setdefault(reason, len(reasons) + 1)}]"

    widths = [max(len(name), 7) for _, name in columns]
    first = max(len(op) for op in _library.STEMS) + 2
    groups = {device: sum(w + 2 for (d, _), w in zip(columns, widths) if d == device) for device in dict.fromkeys(d for d, _ in columns)}
    yield "op".ljust(first) + "".join(f"{device} tensors".ljust(width) for device, width in groups.items())
    yield " " * first + "".join(name.ljust(w + 2) for (_, name), w in zip(columns, widths))
    for op in _library.STEMS:
        yield op.ljust(first) + "".join(cell(op, *column).ljust(w + 2) for column, w in zip(columns, widths))
    yield "" if reasons else "every backend can run every op"
    for text, number in reasons.items():
        yield from textwrap.wrap(f"[{number}] {text}", WIDTH, subsequent_indent="    ")


def choices():
    """Which of cuda and triton goes first where both can run, and what says so."""
    from svconv.backends import measured

    found = list(measured.summary())
    if not found:
        yield from textwrap.wrap("cuda or triton: triton goes first on every GPU; no measurement is shipped that says otherwise", WIDTH)
        return
    yield "cuda or triton: what was measured to be faster, triton where nothing was"
    for gpu, op, dtype, first, source in found:
        yield from textwrap.wrap(f"{op} {dtype} on {gpu}: {first} ({source})", WIDTH, initial_indent="  ", subsequent_indent="    ")


def possible(row, device, name):
    """Whether the backend serves this kind of device at all."""
    reason = row[3] or ""
    return row[1] == device and row[2] == name and not (reason.startswith("runs on ") and "not on" in reason)
