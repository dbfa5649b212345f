"""`svconv bench`: the ops on this machine, against what people write today."""
import importlib.util
import time

SECONDS, LEAST, MOST = 285.0, 0.5, 12.0     # for everything; for one case
CEILING_MIB = 1024                          # of the tensors that are read and copied beside every case


def add_parser(subparsers):
    parser = subparsers.add_parser(
        "bench", help="time every op on this machine, against plain torch",
        description="Times the ops on a GPU if torch sees one, else on the CPU, in turn with what people write today (unfold, shift loops, "
                    "grouped convolutions, torch.fft, ...); every baseline is first checked to compute the same. Less than five minutes.")
    parser.add_argument("--stem", action="append", metavar="STEM", help="only this op family; may be given again (default: all)")
    parser.add_argument("-o", "--output", metavar="FILE", help="write everything that was measured as JSON")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, seconds: whether it works, not how fast it is")
    parser.set_defaults(run=run)


def run(args):
    from svconv.cli.errors import InputError
    from svconv.files import outputs

    if importlib.util.find_spec("svconv._bench.record") is None:
        raise InputError("bench: this installation of svconv came without its benchmark")
    import torch

    from svconv._bench import measure
    from svconv._bench.cases import cases

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = cases(args.stem, smoke=args.smoke, device=device)
    except ValueError as error:
        raise InputError(f"--{error}") from None
    if args.output:
        outputs.check_folder(args.output)
    data = {"kind": "user", "command": "svconv bench", **measure.metadata(device)}
    print(described(data, device))
    data["records"], data["skipped"] = records(chosen, device, args.smoke)
    if args.output:
        measure.write_json(args.output, data)
        print(f"written: {args.output}")
    return 0


def described(data, device):
    """One line about the machine."""
    import torch

    import svconv

    machine = data["gpu"]["name"] if device == "cuda" else f"{data['cpu']['name']}, {torch.get_num_threads()} threads"
    return f"svconv {svconv.__version__}, torch {torch.__version__}, {machine}"


def records(chosen, device, smoke):
    """([record], {case: reason}) of all cases, each printed as it comes; what is left when the time is over is named."""
    from svconv._bench import measure, record

    begun = time.monotonic()
    ceilings = measure.Ceilings(device, 16 if smoke else CEILING_MIB)
    stopwatch = measure.CUDAStopwatch() if device == "cuda" else measure.CPUStopwatch()
    found, skipped = [], {}
    for number, case in enumerate(chosen):
        left = SECONDS - (time.monotonic() - begun)
        if left < LEAST:
            skipped[case.name] = "out of time"
            continue
        budget = 0.3 if smoke else min(MOST, max(LEAST, 0.6 * left / (len(chosen) - number)))     # the rest is for inputs and checks
        try:
            found.append(record.measure_case(case, device, stopwatch, ceilings, rounds=3 if smoke else 9, budget=budget))
        except measure.Skip as skip:
            skipped[case.name] = str(skip)
            continue
        print(*lines(found[-1]), sep="\n", flush=True)
    for name, reason in skipped.items():
        print(f"{name}: not measured: {reason}")
    return found, skipped


def lines(entry):
    """What a person reads of a record: time, share of the memory's speed, each baseline with its speed-up; losses say so."""
    own, values = entry["times"]["svconv"]["median"], entry["metrics"]
    yield (f"{entry['name']} [{entry['backend']}]: {own * 1e3:.3g} ms, {values['gigabytes per second']:.3g} GB/s, "
           f"{values['percent of read']:.0f} % of reading")
    for name, value in values.items():
        if name.startswith("vs "):
            yield f"    {value:6.2f}x {name[3:]}{'' if value >= 0.995 else '   (svconv is slower)'}"
    for name, reason in entry["skipped"].items():
        yield f"    {'-':>6}  {name}: {reason}"
