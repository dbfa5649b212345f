"""The result file of a GPU run while it grows: steps, records, failures; written after every step and every case."""
import time

import torch

from bench import measure

LIMIT = 470.0          # seconds for everything


class Session:
    """What all steps share: the options, the clock and the data of the file.

    reserve: seconds that are kept back for the end of the run. start_up: seconds that a child may take before its first line.
    test_limit, test_silence: seconds for the GPU tests, and without a line of their journal. tools: a folder that is searched first for
    programs; more_tests, marks: what the rehearsal adds to the tests.
    """
    reserve, start_up = 6.0, 60.0
    test_limit, test_silence = 130.0, 75.0
    tools, more_tests, marks = None, (), "gpu"

    def __init__(self, options, limit=LIMIT):
        self.options = options
        self.device = "cpu" if options.rehearse else "cuda"
        self.limit = limit
        self.deadline = time.monotonic() + limit
        known = measure.commit()
        self.data = {"kind": "rehearsal" if options.rehearse else "gpu", "command": "python bench/gpu.py", "state": "running",
                     "commit": options.commit if known.startswith("unknown") and options.commit else known,
                     "steps": [], "records": [], "failures": [], "crashes": []}
        name = "rehearsal" if options.rehearse else measure.slug(torch.cuda.get_device_name(0))
        self.path = options.out or measure.RESULTS / f"{name}.json"

    def left(self):
        return self.deadline - time.monotonic()

    def write(self):
        measure.write_json(self.path, self.data)

    def fail(self, phase, name, error):
        self.data["failures"].append({"phase": phase, "name": name, "error": error})
        self.say(f"{phase}: {name}: {error}")
        self.write()

    def lose(self, phase, unit, how):
        """A unit that crashed or hung."""
        self.fail(phase, unit["name"], how)
        if unit.get("peer"):
            self.record(unit["case"])["skipped"][unit["peer"]] = how
            self.write()

    @staticmethod
    def say(text):
        print(f"          {text}", flush=True)

    def run(self, name, step):
        """Runs one step; whatever it raises is kept in the file, and the next step runs."""
        print(f"[{self.limit - self.left():5.0f} s] {name}", flush=True)
        entry = {"name": name, "error": None, "note": None}
        start = time.monotonic()
        try:
            if self.left() < self.reserve:
                raise RuntimeError("out of time")
            entry["note"] = step(self)
        except Exception as error:
            entry["error"] = measure.reason(error)
            self.say(f"failed: {entry['error']}")
        entry["seconds"] = round(time.monotonic() - start, 1)
        self.data["steps"].append(entry)
        self.write()

    def record(self, name, forced=None, variant=None):
        """The record of a case with that backend and setting, or None."""
        key = name, forced, variant
        return next((r for r in self.data["records"] if (r["name"], r["forced"], r["variant"]) == key), None)

    def keep(self, unit, entry):
        """Takes over what a child found about a unit; without anything to keep nothing is written."""
        where = unit["case"], unit.get("backend"), unit.get("variant")
        if "record" in entry:
            self.data["records"].append(entry["record"])
            self.show(entry["record"])
        elif "amend" in entry:
            self.record(*where).update(entry["amend"])
        elif "peer" in entry:
            self._keep_peer(self.record(unit["case"]), entry["peer"])
        elif "skip" in entry and unit.get("peer"):
            self.record(unit["case"])["skipped"][unit["peer"]] = entry["skip"]
        elif "skip" in entry:
            self.data.setdefault("not_run", []).append({"name": unit["name"], "reason": entry["skip"]})
        elif "ceilings" in entry:
            self.data["ceilings"] = entry["ceilings"]
        elif "error" in entry and unit.get("peer"):        # a baseline that fails is a line of the table
            self.record(unit["case"])["skipped"][unit["peer"]] = entry["error"]
        elif "error" in entry:
            self.fail("svconv", unit["name"], entry["error"])
        self.write()

    def _keep_peer(self, record, found):
        name = found["peer"]
        record["times"][name] = found["seconds"]
        if found["reference"]:
            record["metrics"][f"times {name}"] = 1 / found["ratio"]
            return
        record["deviations"][name] = found["deviation"]
        record["metrics"][f"vs {name}"] = found["ratio"]
        self.say(f"{record['name']}: {found['ratio']:.2f}x {name}")

    def show(self, record):
        values, found = record["metrics"], record["verified"]
        wrong = "" if found["passed"] else f"; {found.get('reason') or 'WRONG, deviates by ' + str(found['deviation'])}"
        self.say(f"{record['name']} [{label(record)}] {record['times']['svconv']['median'] * 1e3:.3f} ms, host "
                 f"{record['host']['median'] * 1e3:.3f} ms, {values['gigabytes per second']:.0f} GB/s{wrong}")


def label(record):
    """Backend and setting of a record."""
    return ", ".join(filter(None, (record["backend"], record.get("variant"))))
