"""Which units the phases of a GPU run have: what is measured, in which order, within which limits."""
import itertools

from bench import gpu_models
from bench.cases import cases
from bench.gpu_children import Phase
from bench.record import able_backends

PHASES = {phase.name: phase for phase in (
    Phase("ceilings", 40, 40), Phase("warm", 60, 60), Phase("svconv", 110, 25), Phase("models", 40, 30), Phase("eager", 60, 20),
    Phase("compiled", 120, 60), Phase("profile", 40, 40))}
REHEARSED = {phase.name: phase for phase in (
    Phase("ceilings", 60, 60), Phase("warm", 90, 60), Phase("svconv", 300, 50), Phase("models", 240, 150), Phase("eager", 240, 40),
    Phase("compiled", 120, 20), Phase("profile", 90, 60))}


def phase(session, name):
    return (REHEARSED if session.options.rehearse else PHASES)[name]


def unit(case, backend=None, variant=None, peer=None, reference=False):
    name = case.name + "".join(f" [{word}]" for word in (backend, variant) if word) + (f" | {peer}" if peer else "")
    return {"name": name, "case": case.name, "backend": backend, "variant": variant, "peer": peer, "reference": reference}


def in_turn(chosen):
    """The cases, one of each family after the other: when the time is up, every family has its first sizes."""
    families = {}
    for case in chosen:
        families.setdefault(case.stem, []).append(case)
    return [case for row in itertools.zip_longest(*families.values()) for case in row if case is not None]


def timed_cases(session):
    """The cases of the op families; the faults of a rehearsal come last."""
    options = session.options
    found = in_turn(case for case in cases(options.stem, smoke=options.rehearse, device=session.device) if case.gpu)
    if options.rehearse:
        from bench import gpu_rehearsal
        found += gpu_rehearsal.faulty_cases()
    return found


def forced_backends(case, session):
    """The backends that are tried beside the automatic choice, so that the choice can follow the measurement."""
    if case.stem in ("models", "injected"):
        return []
    able = able_backends(case.stem, session.device)
    if not (session.options.rehearse and case.stem == "pixel_filter"):      # a rehearsal has no other second backend
        able = [name for name in able if name != "reference"]
    return able if len(able) > 1 else []


def own_units(session, chosen):
    """Every case as svconv runs it by itself, then on each backend that can run some op of its family, then with each other setting."""
    for case in chosen:
        yield unit(case)
        for backend in forced_backends(case, session):
            yield unit(case, backend)
        able = able_backends(case.stem, session.device) if case.variants else ()
        for backend, variants in case.variants.items():
            if backend in able:
                yield from (unit(case, backend, variant) for variant in variants)


def warm_units(session, chosen):
    """What compiles kernels, and nothing else; the largest inputs are left out, since several children run at the same time."""
    units = own_units(session, [case for case in chosen if case.stem != "injected"])
    units = [one for one in units if "4096" not in one["case"] and one["backend"] != "reference"]
    return units[:6] if session.options.rehearse else units


def is_compiled(name):
    return name.startswith("torch.compile")


def peer_units(session, chosen, compiled):
    """The baselines and references of the cases that svconv has a record of."""
    rehearsed = {case.stem: case for case in reversed(chosen) if case.stem != "injected"} if session.options.rehearse else {}
    for case in chosen:
        if session.record(case.name) is None or rehearsed.get(case.stem, case) is not case:     # bench/cpu.py --smoke has all of them
            continue
        for name in case.peers:
            if is_compiled(name) == compiled:
                yield unit(case, peer=name)
        if not compiled:
            yield from (unit(case, peer=name, reference=True) for name in case.references)


def profiled_units(session, chosen):
    """One case of every family, step and dtype: that with the largest side up to 1024."""
    found = {}
    for case in chosen:
        if session.record(case.name) is not None and not any(side in case.size for side in ("2048", "4096")):
            key = case.stem, case.step, case.dtype
            found[key] = max(found.get(key, case), case, key=lambda c: "1024" in c.size)
    return [unit(case) for case in found.values()]


def model_cases(session):
    return gpu_models.cases(session.options.rehearse)
