"""The steps of a GPU run in their order; each takes the session and returns a note for the table."""
import os

from bench import gpu_children, gpu_profile, gpu_tests, gpu_units, measure
from bench.cases import cases
from bench.gpu_children import run_limited, run_units

BUILD_LIMIT = 90.0
WARMING = 8            # children that compile at the same time, at most


def describe(session):
    """GPU, driver, versions, commit, clocks, tools."""
    commit = session.data["commit"]
    session.data |= measure.metadata(session.device)
    session.data["commit"] = commit
    session.data["tools"] = {name: gpu_tests.find_tool(name, session) or "not installed" for name in ("compute-sanitizer", "ncu")}
    session.data["tools"]["pytest-xdist"] = "installed" if gpu_tests.installed("xdist") else "not installed"
    return f"{session.data.get('gpu', {}).get('name', 'no GPU')}, torch {session.data['torch']}, commit {commit}"


def backends(session):
    """Which backend serves which op, and why not the others (as `svconv info`)."""
    from svconv.backends import table
    from svconv.ops._library import STEMS
    rows = [{"op": op, "device": device, "backend": name, "why_not": why} for op, device, name, why in table(STEMS)]
    session.data["backends"] = rows
    return "; ".join(sorted({f"{row['backend']} on {row['device']}" for row in rows if row["why_not"] is None}))


def ceilings(session):
    """Copying 1 GiB to 1 GiB, reading 1 GiB, and an 8192^3 float32 matrix product."""
    unit = {"name": "ceilings", "case": "ceilings"}
    run_units(session, gpu_units.phase(session, "ceilings"), [unit], session.keep)
    if "ceilings" not in session.data:
        raise RuntimeError("not measured; see failures")
    return ", ".join(f"{name} {rate / 1e9:.0f} G/s" for name, rate in session.data["ceilings"].items())


def warm(session):
    """Every kernel that will be timed or its like is compiled by several processes at the same time."""
    units = gpu_units.warm_units(session, gpu_units.timed_cases(session))
    count = 2 if session.options.rehearse else max(1, min(WARMING, (os.cpu_count() or 1) // 2))
    done = gpu_children.run_together(session, gpu_units.phase(session, "warm"), units, count)
    if done == 0:
        raise RuntimeError("no unit ended")
    return f"{done} of {len(units)} units in {count} processes"


def measured(session, name, units, strict=True):
    """Runs the units of a phase; the note says how many ended. strict: failures are those of the step; of a baseline they are not."""
    before = len(session.data["failures"])
    whole, lost = run_units(session, gpu_units.phase(session, name), units, session.keep)
    failed = len(session.data["failures"]) - before
    note = f"{whole} of {whole + lost} units ended, {failed} failures"
    if failed and strict:
        raise RuntimeError(note)
    return note


def own_timings(session):
    """svconv by itself: compared with float64, then timed beside reading and copying, on every backend that can."""
    return measured_and_right(session, "svconv", gpu_units.timed_cases(session))


def measured_and_right(session, name, chosen):
    """As `measured`; a result that differs from float64 fails the step before anything else does."""
    error = None
    try:
        note = measured(session, name, list(gpu_units.own_units(session, chosen)))
    except RuntimeError as failed:
        note = error = str(failed)
    names = {case.name for case in chosen}
    wrong = [record["name"] for record in session.data["records"] if record["name"] in names and record["verified"]["passed"] is False]
    if wrong:
        raise RuntimeError(f"{len(wrong)} WRONG RESULTS: {'; '.join(wrong[:4])}; {note}")
    if error:
        raise RuntimeError(error)
    return note


def model_timings(session):
    """SVMAP at 800 x 1024, Learning to Deblur at 2048, SVBR-Net on a megapixel, from the shipped weights."""
    return measured_and_right(session, "models", gpu_units.model_cases(session))


def eager_peers(session):
    """What people write today in eager torch, each beside svconv, and the forward pass or transforms it is compared with."""
    models = gpu_units.model_cases(session)
    chosen = gpu_units.timed_cases(session) + (models[-1:] if session.options.rehearse else models)
    return measured(session, "eager", list(gpu_units.peer_units(session, chosen, compiled=False)), strict=False)


def compiled_peers(session):
    """torch.compile of the reference, each beside svconv."""
    return measured(session, "compiled", list(gpu_units.peer_units(session, gpu_units.timed_cases(session), compiled=True)), strict=False)


def build(session):
    """Builds svconv._C in place; without a compiler the cpu backend says why and everything else goes on."""
    more = {"SVCONV_BUILD": "none"} if session.options.rehearse else {}
    code, output = run_limited(measure.python("setup.py", "build_ext", "--inplace"), min(BUILD_LIMIT, session.left() - session.reserve),
                               MAX_JOBS=str(os.cpu_count() or 2), **more)
    if code != 0:
        last = [line for line in output.splitlines() if line.strip()][-3:]
        raise RuntimeError(f"{gpu_children.ending(code)}: {' / '.join(last)}")
    code, output = run_limited(measure.python("-c", "import svconv; from bench import measure; print(measure.extension_details())"), 60)
    session.data["build"] = output.strip()[-600:]
    return "svconv._C says why it is left out" if "'error'" in output else "svconv._C loads"


def test(session):
    """The tests marked `gpu`: all dtypes, gradcheck, opcheck, compile, determinism, streams, graphs, tf32, 64-bit sizes."""
    return gpu_tests.run_tests(session)


def sanitize(session):
    """compute-sanitizer over every op on a few pixels: memory, then races; not run where the program is not installed."""
    return gpu_tests.run_sanitizer(session)


def profile(session):
    """One pass of Nsight Compute over each kernel; not run where the program is not installed."""
    return gpu_profile.profile(session)


STEPS = (("describe the machine", describe), ("list the backends", backends), ("measure copy bandwidth and matrix rate", ceilings),
         ("compile the kernels", warm), ("check and time svconv", own_timings), ("check and time the models", model_timings),
         ("build svconv._C in place", build), ("run the tests marked gpu", test), ("time the eager baselines", eager_peers),
         ("run compute-sanitizer", sanitize), ("profile with Nsight Compute", profile), ("time the compiled baselines", compiled_peers))


def plan(options):
    """The lines of --plan: steps, then cases with what they are measured against."""
    yield from (f"  {number:2}. {name}: {step.__doc__.splitlines()[0]}" for number, (name, step) in enumerate(STEPS, 1))
    for case in gpu_units.in_turn(cases(options.stem, device="cuda")) + gpu_units.gpu_models.cases():
        more = [f"{backend}, {name}" for backend, names in case.variants.items() for name in names]
        yield (f"     {case.name}   against {', '.join(case.peers) or 'nothing'}" + (f"; also {', '.join(more)}" if more else ""))
