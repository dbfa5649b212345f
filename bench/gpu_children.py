"""Children of the GPU run: whatever may crash, hang or break the device runs in one, under a limit, and is started again behind it.

A child gets a list of units (a case with a backend, a case with a baseline, ...) and appends one JSON line to a file when it begins a
unit, for everything it finds, and when it ends it. The parent follows the file and keeps each line as it comes: a unit that crashes or
hangs costs itself and nothing else.
"""
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from bench import measure

CHILD = measure.ROOT / "bench" / "gpu_child.py"


@dataclasses.dataclass(frozen=True)
class Phase:
    """limit: seconds for all units together. silence: seconds without a line after which a child is taken for hung."""
    name: str
    limit: float
    silence: float


def run_limited(command, seconds, watched=None, silence=None, **environment):
    """(return code or None after the limit, output) of a command that is killed with all its children at the limit.

    watched, silence: it is also killed when that file, once it is there, has not grown for so many seconds.
    """
    end = time.monotonic() + max(1.0, seconds)
    with tempfile.TemporaryFile("w+") as file:
        child = subprocess.Popen(list(map(str, command)), cwd=measure.ROOT, env=measure.environment_for_children(**environment),
                                 stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        size, grown = None, time.monotonic()
        try:
            while child.poll() is None and time.monotonic() < end:
                now = watched.stat().st_size if watched is not None and watched.exists() else None
                size, grown = (size, grown) if now == size else (now, time.monotonic())
                if size is not None and time.monotonic() - grown > silence:
                    break
                time.sleep(0.05)
            code = child.poll()
        finally:
            if child.poll() is None:
                stop(child)
        file.seek(0)
        return code, file.read()


def stop(child):
    """Kills the session that `child` leads."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def ending(code):
    """How a child ended, in words."""
    if code is None:
        return "stopped at its limit"
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"


def command(session, phase, folder, first, lines):
    rehearse = ["--rehearse"] if session.options.rehearse else []
    return measure.python(CHILD, "--phase", phase.name, "--units", folder / "units.json", "--first", first, "--lines", lines, *rehearse)


def run_units(session, phase, units, keep):
    """Runs the units in children until they are done or the time is up.

    keep(unit, entry) takes every line over, "begin" and "end" aside. Returns (units that ended by themselves, units that were lost); every
    lost unit and the number of those that were not reached are in the session's failures.
    """
    limit = time.monotonic() + min(phase.limit, session.left() - session.reserve)
    whole = lost = first = attempt = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "units.json").write_text(json.dumps(units))
        while first < len(units) and time.monotonic() < limit:
            lines = folder / f"{attempt}.jsonl"
            last, ended, begun, how = follow(session, phase, units, command(session, phase, folder, first, lines), lines, limit, keep)
            if not begun:
                raise RuntimeError(f"the child {how} before its first unit: {session.data['crashes'][-1]['output'][-200:]}")
            whole += last - first + int(ended)
            if not ended:
                lost += 1
                session.lose(phase.name, units[last], how)
            first, attempt = last + 1, attempt + 1
    if first < len(units):
        session.fail(phase.name, f"{len(units) - first} units, from {units[first]['name']}", "out of time")
    return whole, lost + len(units) - first


def follow(session, phase, units, arguments, lines, limit, keep):
    """(index of the last unit begun, whether it ended, whether any began, how the child ended) of one child."""
    log = lines.with_suffix(".log")
    with open(log, "w") as output:
        child = subprocess.Popen(arguments, cwd=measure.ROOT, env=measure.environment_for_children(), stdout=output,
                                 stderr=subprocess.STDOUT, start_new_session=True)
    seen, last, ended, begun, alive, how = 0, 0, False, False, time.monotonic(), None
    try:
        while True:
            code = child.poll()             # before the lines are read: those of a child that has ended are all there
            found = lines.read_text().split("\n")[:-1] if lines.exists() else []
            for line in found[seen:]:
                entry = json.loads(line)
                last, ended, begun = entry["index"], "end" in entry, True
                if not {"begin", "end"} & entry.keys():
                    keep(units[last], entry)
            now = time.monotonic()
            alive, seen = (now, len(found)) if len(found) > seen else (alive, seen)
            if code is not None:
                how = ending(code)
            elif now - alive > phase.silence + (0 if begun else session.start_up):
                how = f"gave no sign of life for {now - alive:.0f} s"
            elif now > limit:
                how = "was stopped when the time of the phase was up"
            if how:
                break
            time.sleep(0.1)
    finally:
        if child.poll() is None:
            stop(child)
    if not ended or not begun:
        session.data.setdefault("crashes", []).append({"phase": phase.name, "how": how, "output": log.read_text()[-1500:]})
    return last, ended, begun, how


def run_together(session, phase, units, count):
    """Deals the units to `count` children that run at the same time; what they write is thrown away. Returns how many units ended."""
    limit = min(phase.limit, session.left() - session.reserve)
    with tempfile.TemporaryDirectory() as name:
        folders, children = [pathlib.Path(name) / str(i) for i in range(count)], []
        try:
            for i, folder in enumerate(folders):
                folder.mkdir()
                (folder / "units.json").write_text(json.dumps(units[i::count]))
                with open(folder / "log", "w") as output:
                    children.append(subprocess.Popen(command(session, phase, folder, 0, folder / "lines"), cwd=measure.ROOT,
                                                     env=measure.environment_for_children(), stdout=output, stderr=subprocess.STDOUT,
                                                     start_new_session=True))
            end = time.monotonic() + limit
            for child in children:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.1, end - time.monotonic()))
        finally:
            for child in children:
                if child.poll() is None:
                    stop(child)
        files = [folder / "lines" for folder in folders]
        return sum(file.read_text().count('"end"') for file in files if file.exists())
