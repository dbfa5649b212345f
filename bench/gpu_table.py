"""The one table that a GPU run ends with: steps, cases, failed tests by name, losses. The end of a log is enough to know what happened.

Everything else is printed in full; the cases get what is left of the characters, those that are wrong or lose first.
"""
from bench.gpu_session import label

CHARACTERS = 11_500    # logs are often cut to their last twelve thousand
NAMES, WIDTH = 25, 150


def microseconds(found):
    return f"{found['median'] * 1e6:7.0f}" if found and "median" in found else "      -"


def percent(record):
    value = record["metrics"].get("percent of roofline", record["metrics"].get("percent of copy"))
    return f"{value:4.0f}" if isinstance(value, (int, float)) and record["flops"] else "   -"


def against(record):
    """(lowest speed-up, baseline) or None."""
    found = [(value, name[3:]) for name, value in record["metrics"].items() if name.startswith("vs ") and isinstance(value, (int, float))]
    return min(found) if found else None


def is_wrong(record):
    return record["verified"]["passed"] is False


def case_line(record):
    lowest = against(record)
    worst = "" if lowest is None else f"{lowest[0]:.2f}x" if lowest[0] < 10 else f"{lowest[0]:.0f}x"
    mark = " WRONG" if is_wrong(record) else " (not verified)" if record["verified"]["passed"] is None else ""
    dtype = "" if record["dtype"] == "float32" else f", {record['dtype']}"
    step = record["step"].replace("forward + backward", "fwd + bwd")
    return (f"{microseconds(record['times']['svconv'])}{microseconds(record['host'])}{microseconds(record['graph'])} {percent(record)} "
            f"{worst:>6} {record['stem']} {step}, {record['size']}{dtype} [{label(record)}]{mark}")


def cases(records, room):
    """As many lines as fit: what is wrong first, then what is slower than a baseline, then the automatic choice before other backends."""
    if not records:
        return ["no case was measured"]
    head = " device   host  graph roof lowest    (microseconds, percent of roofline, lowest speed-up over a baseline)"
    order = sorted(records, key=lambda r: (not is_wrong(r), (against(r) or (2,))[0] >= 1, r["forced"] is not None))
    chosen, used = [], len(head) + 60
    for record in order:
        used += len(case_line(record)) + 1
        if used > room:
            break
        chosen.append(record)
    kept = [case_line(record) for record in records if any(record is one for one in chosen)]
    left = len(records) - len(kept)
    return [head, *kept, *([f"and {left} more cases in the file"] if left else [])]


def steps(data):
    for step in data["steps"]:
        words = step["error"] or step["note"] or ""
        yield f"{'FAILED' if step['error'] else 'ok':6} {step['seconds']:6.1f} s  {step['name']}: {words}"[:WIDTH]


def named(entries, total):
    if total > len(entries):
        yield f"  and {total - len(entries)} more in the file"


def failed_tests(data):
    found = data.get("tests")
    if not found:
        return ["tests: not run"]
    lines = [f"tests: {found['summary']}"]
    lines += [f"  FAILED {one['test']}: {one['error']}"[:WIDTH] for one in found["failed"][:NAMES]]
    lines += [f"  RUNNING when stopped {test}"[:WIDTH] for test in found["running"][:NAMES]]
    return [*lines, *named(found["failed"][:NAMES], len(found["failed"]))]


def losses(records):
    lines = [f"  {record['name']} [{label(record)}]: {value:.2f}x {name}"[:WIDTH]
             for record in records for value, name in [against(record) or (1, "")] if value < 0.995]
    return [f"losses: {len(lines)} cases where a baseline is faster", *lines[:NAMES]]


def wrong(records):
    lines = [f"  WRONG {record['name']} [{label(record)}]: deviates by {record['verified']['deviation']} from float64, "
             f"allowed {record['verified']['limit']}"[:WIDTH] for record in records if is_wrong(record)]
    return [f"wrong results: {len(lines)}", *lines[:NAMES]]


def failures(data):
    found = data["failures"]
    return [f"failures: {len(found)}", *(f"  {one['phase']}: {one['name']}: {one['error']}"[:WIDTH] for one in found[:NAMES]),
            *named(found[:NAMES], len(found))]


def tools(data):
    """What the sanitizer and the profiler found, in a line each."""
    for name in ("sanitizer", "profile"):
        found = data.get(name)
        if found:
            kinds = ", ".join(f"{kind} {one['errors']} errors" for kind, one in found.items() if isinstance(one, dict))
            yield f"{name}: {found.get('reason') or kinds or str(len(found.get('kernels', ()))) + ' kernels'}"


def table(data):
    """The text of the table, at most CHARACTERS long."""
    gpu = data.get("gpu", {}).get("name", "no GPU")
    head = f"=== {gpu}, torch {data.get('torch')}, commit {data['commit']}, {data['state']} ==="
    rates = data.get("ceilings")
    roofs = "ceilings: " + (", ".join(f"{name} {rate / 1e9:.0f} G/s" for name, rate in rates.items()) if rates else "not measured")
    rest = ["", *steps(data), "", *failed_tests(data), *tools(data), "", *failures(data), *wrong(data["records"]), *losses(data["records"])]
    rest = rest if sum(len(line) + 1 for line in rest) < CHARACTERS * 3 // 4 else shortened(rest, CHARACTERS * 3 // 4)
    room = CHARACTERS - sum(len(line) + 1 for line in [head, roofs, *rest])
    return "\n".join([head, roofs, *cases(data["records"], room), *rest])


def shortened(lines, room):
    """Each line cut so far that all of them fit."""
    width = room // max(1, len(lines)) - 1
    return [line[:width] for line in lines]
