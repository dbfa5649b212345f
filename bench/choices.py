"""Which of cuda and triton was faster: from a result file of `python bench/gpu.py` to the table that svconv ships and chooses by."""
import json
import pathlib

from bench import pages

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "svconv" / "backends" / "measured"
BACKENDS = ("cuda", "triton")


def rows(data):
    """A row for each case that both backends served alone, with right results, in one call of one op."""
    found = {}
    for entry in data["records"]:
        usable = not entry.get("variant") and entry.get("verified", {}).get("passed") and len(entry.get("calls", ())) == 1
        if usable and entry["backend"] in BACKENDS:
            found.setdefault(entry["name"], {})[entry["backend"]] = entry
    for both in found.values():
        if len(both) == len(BACKENDS):
            call, = both["cuda"]["calls"]
            if both["triton"]["calls"] == [call]:
                yield call | {"seconds": {name: entry["times"]["svconv"]["median"] for name, entry in both.items()}}


def tables(folder):
    """{file name: text} of all result files of GPUs in a folder that have such cases."""
    found = {}
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        data = json.loads(path.read_text())
        if data.get("kind") == "gpu" and (kept := list(rows(data))):
            table = {"gpu": data["gpu"]["name"], "source": f"bench/results/{path.name}", "commit": data.get("commit", "unknown"),
                     "rows": kept}
            found[path.name] = json.dumps(table, indent=1) + "\n"
    return found


def outdated(folder, target=FOLDER):
    """Names of the tables in `target` that are not what the result files say."""
    wanted = tables(folder)
    there = {path.name: path.read_text() for path in pathlib.Path(target).glob("*.json")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write(folder, target=FOLDER):
    """Writes the tables of the result files, and takes away those of files that are gone; the names of what changed."""
    wanted, changed = tables(folder), outdated(folder, target)
    for name in changed:
        if name in wanted:
            pages.write(pathlib.Path(target) / name, wanted[name])
        else:
            (pathlib.Path(target) / name).unlink()
    return changed
