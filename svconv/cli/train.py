"""`svconv train`: train the models that ship with the package."""
import argparse
import pathlib


def add_parser(subparsers):
    """Add `train` with one sub-command per model."""
    parser = subparsers.add_parser("train", help="train a model on a folder of photographs", description=__doc__)
    models = parser.add_subparsers(dest="model", required=True, metavar="MODEL")
    _add_ltd(models)
    return parser


def _add_ltd(models):
    from svconv.training.settings import LtDSettings

    d = LtDSettings()
    p = models.add_parser("ltd", help="Learning to Deblur: blind kernel estimation", formatter_class=argparse.ArgumentDefaultsHelpFormatter,
                          description="Staged training of Learning to Deblur. Writes last.pt (checkpoint), best-<stages>.pt (weights) and metrics.jsonl to --out.")
    p.add_argument("--data", required=True, metavar="FOLDER", help="folder of sharp photographs, searched recursively; every 20th is held out for validation")
    p.add_argument("--out", required=True, metavar="DIR", help="folder for checkpoints, weights and the log")
    p.add_argument("--resume", metavar="FILE", help="go on from this checkpoint; options that are not given keep its values")
    p.add_argument("--max-steps", type=int, metavar="N", default=argparse.SUPPRESS, help="stop (and save) after this many steps of this run")
    p.add_argument("--minutes", type=float, metavar="M", default=argparse.SUPPRESS, help="stop (and save) after this much processor time of this run")
    p.add_argument("--threads", type=int, default=1, help="threads of torch; results are bit-identical for the same number")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    p.add_argument("--steps", type=_numbers, default=argparse.SUPPRESS, metavar="A,B,..", help=f"steps of stage 1, 2, ...: {','.join(map(str, d.steps))}")
    for name, kind, text in (
        ("kernel_size", int, "side of the kernels in pixels"), ("frozen_steps", int, "steps with the old stages frozen after a stage was added"),
        ("batch", int, "pairs per step"), ("size", int, "side of the training crops"), ("noise", float, "Gaussian noise, images 0..1"),
        ("smallest", int, "smallest box of the training kernels"), ("optimiser", str, "soap, adam, or adadelta as in the paper"),
        ("rate", float, "learning rate"), ("warmup", int, "steps of rising learning rate in each phase"),
        ("decay", float, "share of each phase with falling learning rate"), ("loss", str, "squared (paper) or relative kernel error"),
        ("rejection", float, "leave out samples with more than this multiple of the running error"), ("average", float, "decay of the averaged weights"),
        ("seed", int, "seed of data and weights"), ("validation_pairs", int, "held-out pairs"), ("validation_size", int, "side of the held-out crops"),
        ("validate_every", int, "steps between validations"), ("save_every", int, "steps between checkpoints"),
    ):
        p.add_argument("--" + name.replace("_", "-"), type=kind, default=argparse.SUPPRESS, help=f"{text}: {getattr(d, name)}")
    p.set_defaults(run=run_ltd)


def _numbers(text):
    try:
        return tuple(int(t) for t in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers separated by commas, got {text!r}") from None


def run_ltd(args):
    """Train; 0 when done or out of budget, 130 after an interrupt."""
    import torch

    torch.set_num_threads(max(1, args.threads))
    trainer = _trainer(args)
    try:
        done = trainer.run(max_steps=getattr(args, "max_steps", None), cpu_minutes=getattr(args, "minutes", None), progress=not args.quiet)
    except KeyboardInterrupt:
        print(f"interrupted; go on with --resume {pathlib.Path(args.out) / 'last.pt'}")
        return 130
    last = trainer.log.read()[-1:] or [{}]
    print(f"{'done' if done else 'budget used'} at step {trainer.step}; held-out kernel error {last[0].get('error')}; weights in {args.out}")
    return 0


def _trainer(args):
    """The run that the options describe; whatever is wrong with them, the photographs or the checkpoint is the user's to mend."""
    import dataclasses

    from svconv.cli.errors import InputError
    from svconv.training.checkpoint import load_checkpoint
    from svconv.training.learning_to_deblur import KIND, LtDTrainer
    from svconv.training.settings import LtDSettings

    try:
        stored = dict(load_checkpoint(args.resume, KIND)["settings"]) if args.resume else {}
        given = {f.name: getattr(args, f.name) for f in dataclasses.fields(LtDSettings) if hasattr(args, f.name)}
        return LtDTrainer(args.data, args.out, LtDSettings(**{**stored, **given}), resume=args.resume)
    except (ValueError, OSError) as error:
        raise InputError(str(error)) from error
