"""Tables from the result files: `python bench/report.py` rewrites the parts of docs/speed.md and README.md between the bench markers.

    <!-- bench:cpu --> ... <!-- /bench:cpu -->             from bench/results/*.json with "kind": "cpu"
    <!-- bench:gpu --> ... <!-- /bench:gpu -->             from those with "kind": "gpu"; "not measured" until there is one
    <!-- bench:summary --> ... <!-- /bench:summary -->     the rows HEADLINES of the former, for the README

From those of GPUs it also writes svconv/backends/measured/<gpu>.json, by which svconv chooses between cuda and triton on that GPU.

    python bench/report.py --check     only says whether both are up to date (exit status 1 if not)
    python bench/report.py --print     writes the tables to the terminal
    python bench/report.py --targets   writes to the terminal which of the cases' targets are not reached
"""
import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

from bench import choices, pages

RESULTS = ROOT / "bench" / "results"
README, PAGE = ROOT / "README.md", ROOT / "docs" / "speed.md"
COMMANDS = {"cpu": "python bench/cpu.py", "gpu": "python bench/gpu.py"}
HEADLINES = (       # (stem, step, size): what most programs call, at the sizes that most baselines can take
    ("pixel_filter", "forward", "7 x 7, M = 5, C = 1, 1024 x 1024"),
    ("pixel_filter", "forward + backward", "7 x 7, M = 5, C = 1, 1024 x 1024"),
    ("pixel_filter", "gram", "7 x 7, M = 5, C = 1, 1024 x 1024"),
    ("pixel_filter", "forward + backward", "31 x 31, C = 3 shared, 1024 x 1024"),
    ("quotient", "kernel_quotient", "17 x 17, 2 x 1024 x 1024"),
    ("quotient", "image_quotient", "17 x 17, 2 x 1024 x 1024"),
    ("eff", "eff_conv", "64-pixel patches, 31 x 31, 3 x 1024 x 1024"),
    ("eff", "eff_image_quotient", "64-pixel patches, 31 x 31, 3 x 1024 x 1024"),
    ("disk", "forward", "r = 0.5..6, 3 x 512 x 512"),
    ("gaussian", "forward", "sigma = 0.5..3, 3 x 512 x 512"),
)


def load(folder, kind):
    """The result files of a kind, by name."""
    found = [json.loads(path.read_text()) for path in sorted(pathlib.Path(folder).glob("*.json"))]
    return [data for data in found if data.get("kind") == kind]


def seconds(value):
    """Three digits in the fitting unit; numbers that are not finite are strings in the files."""
    if isinstance(value, str):
        return value
    unit, factor = ("s", 1) if value >= 1 else ("ms", 1e3) if value >= 1e-3 else ("µs", 1e6)
    return f"{value * factor:.3g} {unit}"


def comparisons(entry):
    """Every baseline with its speed-up; below one svconv loses, which is printed in bold."""
    texts = []
    for metric, value in entry["metrics"].items():
        if metric.startswith("vs ") and isinstance(value, str):
            texts.append(f"{metric[3:]} {value}")
        elif metric.startswith("vs "):
            texts.append(f"{metric[3:]} {value:.1f}x" if value >= 0.995 else f"**{metric[3:]} {value:.2f}x (slower)**")
    return "; ".join(texts) or "none"


def missed(data):
    """Targets of the design that this file does not reach."""
    lines = []
    for entry in data["records"]:
        for target in entry.get("targets", ()):
            if not target["met"]:
                value = "not measured" if target["value"] is None else f"{target['value']:.3g}"
                lines.append(f"- {entry['step']}, {entry['size']}: {target['metric']} {value}, "
                             f"asked {target['sign']} {target['limit']}")
    return lines


def skipped(data):
    """Reasons why a candidate has no number, each once."""
    reasons = {}
    for entry in data["records"]:
        for name, text in entry.get("skipped", {}).items():
            reasons.setdefault((name, text), f"{entry['step']}, {entry['size']}")
    return [f"- {name} ({where}): {text}" for (name, text), where in reasons.items()]


def memory(data):
    lines = []
    for entry in data["records"]:
        found = entry.get("memory")
        if found and "ratio" in found:
            lines.append(f"- {entry['step']}, {entry['size']}: {found['ratio']:.3f}x inputs + outputs + gradients "
                         f"({(found['inputs'] + found['results']) / 2**30:.2f} GiB)")
    return lines


def table(data):
    """The table of one CPU result file."""
    rows = ["| op | size | median | GB/s | of reading | speed-up over |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for entry in data["records"]:
        if not entry.get("metrics"):
            continue
        values = entry["metrics"]
        rows.append(f"| {entry['stem']} {entry['step']} | {entry['size']} | {seconds(entry['times']['svconv']['median'])} | "
                    f"{values['gigabytes per second']:.0f} | {values['percent of read']:.0f} % | {comparisons(entry)} |")
    return rows


def gpu_table(data):
    """The table of one GPU result file: a row for each case and backend."""
    rows = ["| op | size | dtype | backend | on the device | on the host | replayed | GB/s | of roofline | speed-up over |",
            "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"]
    failed = " ".join(one["test"] for one in data.get("tests", {}).get("failed", ()))
    for entry in data["records"]:
        values = entry["metrics"]
        verified = entry.get("verified", {"passed": None})
        notes = comparisons(entry)
        if verified["passed"] is False:
            notes = f"**wrong: deviates by {verified['deviation']} from float64**"
        elif entry["stem"] in failed:
            notes = "**tests of this family fail**"
        host, graph = (seconds(found["median"]) if found and "median" in found else "-" for found in map(entry.get, ("host", "graph")))
        share = rounded(values.get("percent of roofline", values["percent of copy"])) + " %" if entry.get("flops", 1) else "-"
        backend = ", ".join(filter(None, (entry["backend"], entry.get("variant"))))
        rows.append(f"| {entry['stem']} {entry['step']} | {entry['size']} | {entry['dtype']} | {backend} | "
                    f"{seconds(entry['times']['svconv']['median'])} | {host} | {graph} | {rounded(values['gigabytes per second'])} | "
                    f"{share} | {notes} |")
    return rows


def rounded(value):
    return value if isinstance(value, str) else f"{value:.0f}"


def paragraphs(*sections):
    lines = []
    for heading, found in sections:
        if found:
            lines += ["", heading, "", *found]
    return lines


def commits(data):
    return ", ".join(sorted({entry["commit"] for entry in data["records"] if "commit" in entry})) or data.get("commit", "unknown")


def disturbance(data):
    """A remark if other programs kept the processor busy; the ratios survive that better than the milliseconds."""
    loads = [entry["load_average"] for entry in data["records"] if entry.get("load_average")]
    if not loads or max(loads) <= 1.5 * data["cpu"]["cores"]:
        return ""
    return f"; other programs were running (load average {min(loads):.0f} to {max(loads):.0f}), so trust the ratios, not the milliseconds"


def headlines(data):
    """The same file with the records of HEADLINES alone, in that order."""
    records = {(entry["stem"], entry["step"], entry["size"]): entry for entry in data["records"]}
    return {**data, "records": [records[key] for key in HEADLINES if key in records]}


def summary(data):
    """The table of the README of one CPU result file, and the memory of its rows where it was measured."""
    chosen, cpu = headlines(data), data["cpu"]
    rows = [f"| {entry['stem']} {entry['step']} | {entry['size']} | {seconds(entry['times']['svconv']['median'])} | {comparisons(entry)} |"
            for entry in chosen["records"]]
    head = (f"{cpu['name']} (family {cpu['family']}, model {cpu['model']}), {cpu['cores']} cores, {cpu['isa']}, torch {data['torch']}, "
            f"{data['threads']} threads{disturbance(data)}. Written by `python bench/report.py` from what `{COMMANDS['cpu']}` measured.")
    return [head, "", "| op | size | median | speed-up over |", "| --- | --- | ---: | --- |", *rows,
            *paragraphs(("Peak memory, measured in a process of its own:", memory(chosen)))]


def cpu_section(data):
    cpu = data["cpu"]
    rates = [entry["rates"]["read"] for entry in data["records"] if entry.get("rates")]
    spread = f"{min(rates) / 1e9:.0f} to {max(rates) / 1e9:.0f} GB/s" if rates else "not measured"
    backends = ", ".join(sorted({entry["backend"] for entry in data["records"] if "backend" in entry}))
    head = (f"{cpu['name']} (family {cpu['family']}, model {cpu['model']}), {cpu['cores']} cores, {cpu['isa']}, torch {data['torch']}, "
            f"{data['threads']} threads, backend {backends}, commit {commits(data)}; reading {spread}{disturbance(data)}. "
            f"Measured by `{COMMANDS['cpu']}`.")
    legend = ("GB/s: bytes of all inputs read and all outputs written once, over the median. Of reading: that rate over the rate of a "
              "sum over a 1 GiB float32 tensor, timed in the same rounds (a lower bound of what the memory gives, hence some numbers above "
              "100). Backward passes write more than they read and pay for fresh pages.")
    return [head, "", *table(data), "", legend,
            *paragraphs(("Peak memory, measured in a process of its own:", memory(data)),
                        ("Not measured:", skipped(data)))]


def gpu_section(data):
    gpu = data.get("gpu", {})
    rate = data.get("ceilings", {}).get("copy")
    head = (f"{gpu.get('name', 'GPU')}, driver {gpu.get('driver', 'unknown')}, torch {data.get('torch')}, triton {data.get('triton')}, "
            f"commit {commits(data)}; copying {f'{rate / 1e9:.0f} GB/s' if rate else 'not measured'}. Measured by `{COMMANDS['gpu']}`.")
    if data.get("state") not in (None, "complete"):
        head += f" The run was not finished: {data['state']}."
    tests = data.get("tests")
    legend = ("Device: between two events behind a pause in which the host runs ahead, with a cache that holds nothing of the inputs; "
              "host: until the call returns; replayed: the call as a CUDA graph. Roofline: the larger of the bytes over the rate of a copy "
              "and the operations over the rate of a float32 matrix product, both measured in the same run.")
    errors = [f"- {step['name']}: {step['error']}" for step in data.get("steps", ()) if step.get("error")]
    fails = [f"- {one['test']}: {one['error']}" for one in (tests or {}).get("failed", ())]
    lost = [f"- {one['name']}: {one['error']}" for one in data.get("failures", ())]
    checks = [f"- {name}: {found['reason']}" for name, found in ((name, data.get(name)) for name in ("sanitizer", "profile"))
              if found and found.get("reason")]
    return [head, "", *([f"GPU tests: {tests['summary']}.", ""] if tests else []), *gpu_table(data), "", legend,
            *paragraphs(("Peak memory:", memory(data)), ("Steps that failed:", errors), ("Tests that failed:", fails),
                        ("Lost:", lost), ("Not run:", checks), ("Not measured:", skipped(data)))]


def section(kind, folder=RESULTS):
    """The text between the markers of a kind: cpu, gpu, or summary, which is made of the files of cpu."""
    build = {"cpu": cpu_section, "gpu": gpu_section, "summary": summary}[kind]
    kind = "cpu" if kind == "summary" else kind
    files = load(folder, kind)
    if not files:
        return f"not measured (`{COMMANDS[kind]}` on a machine with {'a GPU' if kind == 'gpu' else 'the compiled module'} writes the table)"
    return "\n\n".join("\n".join(build(data)) for data in files)


def rewrite(text, folder=RESULTS):
    """`text` with its marked parts generated anew; a kind without markers is left out."""
    for kind in (*COMMANDS, "summary"):
        if f"bench:{kind} -->" in text:
            text = pages.replaced(text, f"bench:{kind}", section(kind, folder))
    return text


def main():
    parser = argparse.ArgumentParser(prog="python bench/report.py", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a page is out of date")
    parser.add_argument("--print", action="store_true", help="write the tables to the terminal only")
    parser.add_argument("--targets", action="store_true", help="name the targets that are not reached, write nothing")
    parser.add_argument("--readme", type=pathlib.Path, default=README)
    parser.add_argument("--page", type=pathlib.Path, default=PAGE, help="the page of all rows (default: docs/speed.md)")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    parser.add_argument("--measured", type=pathlib.Path, default=choices.FOLDER, help="folder of the tables that svconv chooses by")
    options = parser.parse_args()
    if options.print:
        print("\n\n".join(section(kind, options.results) for kind in COMMANDS))
        return
    if options.targets:
        print("\n".join(line for data in load(options.results, "cpu") for line in missed(data)) or "all targets are reached")
        return
    try:
        old = {path: path.read_text() for path in (options.readme, options.page)}
        new = {path: rewrite(text, options.results) for path, text in old.items()}
        late = [path.name for path in old if old[path] != new[path]] + choices.outdated(options.results, options.measured)
    except (OSError, ValueError) as error:
        print(f"bench/report.py: {error}", file=sys.stderr)
        sys.exit(2)
    if options.check:
        if late:
            sys.exit(f"{', '.join(late)} out of date: run python bench/report.py")
        return
    for path, text in new.items():
        pages.write(path, text)
    choices.write(options.results, options.measured)


if __name__ == "__main__":
    main()
