"""`svconv train`: train the models that ship with the package."""
import argparse
import dataclasses
import importlib
import pathlib
import sys
import typing

from svconv.cli import progress
from svconv.training.settings import checked, kind_of


class Model(typing.NamedTuple):
    """A model that can be trained; the options are made of its settings, which need no torch."""

    title: str
    settings: str
    task: str
    pictures: str = ""  # the module whose `write_pictures` draws what the model has learned


MODELS = {
    "ebks": Model("encoded blur kernel space: codes of blur, from sharp photographs or pairs",
                  "svconv.training.ebks_settings.EBKSSettings", "svconv.training.ebks.EBKSTask"),
    "ldr": Model("learned degradation representations: a map of the blur that drives reblurring and deblurring, from sharp photographs or "
                 "pairs", "svconv.training.ldr_settings.LDRSettings", "svconv.training.ldr.LDRTask"),
    "ltd": Model("Learning to Deblur: blind kernel estimation from sharp photographs",
                 "svconv.training.learning_to_deblur_settings.LtDSettings", "svconv.training.learning_to_deblur.LearningToDeblurTask",
                 "svconv.training.learning_to_deblur_pictures"),
    "simap": Model("SIMAP: deblurring with a known kernel, MAP steps with uniform filters and pixel weights, from sharp photographs",
                   "svconv.training.svmap_settings.SIMAPSettings", "svconv.training.svmap.SIMAPTask"),
    "svbr": Model("SVBR-Net: defocus removal with a radius map, from sharp photographs",
                  "svconv.training.svbr_net_settings.SVBRSettings", "svconv.training.svbr_net.SVBRNetTask"),
    "svmap": Model("SVMAP: deblurring with a known kernel, MAP steps with filters for every pixel, from sharp photographs",
                   "svconv.training.svmap_settings.SVMAPSettings", "svconv.training.svmap.SVMAPTask"),
}


def add_parser(subparsers):
    """Add `train` with one sub-command per model."""
    parser = subparsers.add_parser("train", help="train a model on a folder of photographs", description=__doc__)
    models = parser.add_subparsers(dest="model", required=True, metavar="MODEL")
    for name in MODELS:
        _add_model(models, name, MODELS[name])
    return parser


def load(path):
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def _add_model(models, name, model):
    p = models.add_parser(
        name, help=model.title, description=f"{model.title}. Writes last.pt (checkpoint), the best weights and metrics.jsonl to --out."
    )
    p.add_argument(
        "--data",
        required=True,
        metavar="FOLDER",
        help="folder of sharp photographs, searched recursively; every 20th is held out for validation",
    )
    p.add_argument("--out", required=True, metavar="DIR", help="folder for checkpoints, weights and the log; it must not hold another run")
    p.add_argument("--resume", metavar="FILE", help="go on from this checkpoint; options that are not given keep its values")
    p.add_argument("--weights", metavar="FILE", help="begin with these weights, e.g. the best ones of another run; not beside --resume")
    p.add_argument("--max-steps", type=_at_least(0, int), metavar="N", help="stop (and save) after this many steps of this run")
    p.add_argument(
        "--minutes", type=_at_least(0, float), metavar="MINUTES", help="stop (and save) after this much processor time of this run"
    )
    p.add_argument(
        "--threads",
        type=_at_least(1, int),
        metavar="N",
        default=1,
        help="threads of torch; results are bit-identical for the same number (default: 1)",
    )
    if model.pictures:
        p.add_argument("--pictures", metavar="FOLDER", help="write there, when the run ends, pictures of the learned filters and of the "
                       "features of four blurred disks; beside --weights FILE --max-steps 0 those of FILE")
    progress.add_option(p)
    for field in dataclasses.fields(load(model.settings)):
        _add_setting(p, field)
    p.set_defaults(run=run)


def _add_setting(parser, field):
    kind, optional = kind_of(field)
    shown = ",".join(map(str, field.default)) if kind is tuple else field.default
    common = {"default": argparse.SUPPRESS, "help": f"{field.metadata['help']} (default: {shown})"}
    if kind is bool:
        parser.add_argument(_option(field.name), action=argparse.BooleanOptionalAction, **common)
        return
    choices = field.metadata["limits"]["choices"]
    form = f"{{{','.join(choices)}}}" if choices else {int: "N", float: "X", str: "PATH", tuple: "N,N,..."}[kind]
    metavar = f"{form}|none" if optional else form
    parser.add_argument(_option(field.name), type=_reader(field, kind, optional), metavar=metavar, **common)


def _option(name):
    return "--" + name.replace("_", "-")


def _at_least(least, kind):
    def read(text):
        value = kind(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"expected a number >= {least}, got {text}")
        return value

    read.__name__ = kind.__name__  # argparse names it in its error
    return read


def _reader(field, kind, optional):
    """Reads the value of a setting, within its limits."""

    def read(text):
        value = None if optional and text == "none" else _numbers(text) if kind is tuple else kind(text)
        try:
            return checked(field, value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix(f"{field.name}: ")) from None

    read.__name__ = kind.__name__
    return read


def _numbers(text):
    try:
        return tuple(int(t) for t in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers separated by commas, got {text!r}") from None


def run(args):
    """Train; 0 when done or out of budget, 130 after an interrupt."""
    import torch

    from svconv.training.distributed import processes

    pictures = _pictures(args)
    torch.set_num_threads(args.threads)
    with processes() as group:
        say = print if group.rank == 0 else lambda text: None
        trainer = _trainer(args, load(MODELS[args.model].task), group)
        shown = not args.quiet and group.rank == 0 and sys.stderr.isatty()
        try:
            done = trainer.run(max_steps=args.max_steps, cpu_minutes=args.minutes, progress=shown)
        except KeyboardInterrupt:
            say(f"interrupted; go on with --resume {pathlib.Path(args.out) / 'last.pt'}")
            return 130
        if pictures and group.rank == 0:
            pictures.write_pictures(trainer.averaged_model(), args.pictures)
    say(f"{'done' if done else 'budget used'} at step {trainer.step}; best held-out score {trainer.best}; weights in {args.out}")
    return 0


def _pictures(args):
    """The module that draws the pictures asked for, once it is sure that they can be written; else None."""
    folder = getattr(args, "pictures", None)
    if folder is None:
        return None
    module = importlib.import_module(MODELS[args.model].pictures)
    module.check_folder(folder)
    return module


def _trainer(args, task, group):
    """The run that the options describe; whatever is wrong with them, the photographs or the checkpoint is the user's to mend."""
    from svconv.cli.errors import InputError
    from svconv.files import FileError
    from svconv.training.checkpoint import load_checkpoint
    from svconv.training.loop import Trainer, stored_settings

    names = [field.name for field in dataclasses.fields(task.settings_class)]
    given = {name: getattr(args, name) for name in names if hasattr(args, name)}
    try:
        former = stored_settings(task, load_checkpoint(args.resume, task.kind), args.resume) if args.resume else task.settings_class()
        return Trainer(task, args.data, args.out, dataclasses.replace(former, **given), resume=args.resume, weights=args.weights,
                       processes=group)
    except FileError:
        raise
    except ValueError as error:
        name, _, text = str(error).partition(":")
        raise InputError(f"{_option(name)}:{text}" if name in (*names, "weights") else str(error)) from error
