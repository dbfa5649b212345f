"""What every model has: weight files that hold the constructor's arguments too, some of them shipped with the package."""
import pathlib
from textwrap import shorten

import torch

from svconv.files import FileError
from svconv.files.archives import read_archive, write_archive

FOLDER = pathlib.Path(__file__).parent / "weights"


class Pretrained:
    """Mixin of a `torch.nn.Module`: `save`, `load`, `from_pretrained`, and the constructor's arguments in its repr.

    A model keeps its constructor's arguments as the dict `arguments` and says in its class how its shipped files begin (`weights_prefix`)
    and which of them is the default (`default_weights`).
    """

    weights_prefix: str | None = None
    default_weights: str | None = None

    def save(self, path, dtype=torch.float32):
        """Write the constructor's arguments and the weights (floating tensors as `dtype`) to a file that `load` reads."""
        state = {k: v.detach().cpu().to(dtype) if v.is_floating_point() else v.detach().cpu() for k, v in self.state_dict().items()}
        write_archive(path, {"model": type(self).__name__, "arguments": dict(self.arguments), "state": state})

    @classmethod
    def load(cls, path):
        """A model in eval mode, float32, from a file of `save`. FileError (a ValueError) naming the file: missing, damaged, or not of
        this model."""
        arguments, state = read_weights(path, cls.__name__)
        try:
            model = cls(**arguments)
            model.load_state_dict(state)
        except (TypeError, ValueError, RuntimeError) as error:
            said = str(error).strip().splitlines()      # of weights that do not fit, the first line names only the class
            raise FileError(f"{path}: does not fit {cls.__name__}: {shorten(said[min(1, len(said) - 1)], 180)}") from error
        return model.eval()

    @classmethod
    def from_pretrained(cls, name=None):
        """The model with the shipped weights `name` (None: the default ones), with or without the prefix of its files. ValueError naming
        the known ones if there are no such weights."""
        name = str(cls.default_weights if name is None else name)
        known, prefix = cls.known_weights(), cls.weights_prefix or ""
        stem = name if name.startswith(prefix) else prefix + name
        if stem not in known:
            raise ValueError(f"name: no weights {name!r} are shipped; known: {', '.join(known) or 'none'}")
        return cls.load(FOLDER / f"{stem}.pt")

    @classmethod
    def known_weights(cls):
        """The names of the shipped weights of this model."""
        return sorted(path.stem for path in FOLDER.glob(f"{cls.weights_prefix}*.pt"))

    def extra_repr(self):
        """The constructor's arguments."""
        return ", ".join(f"{k}={v!r}" for k, v in self.arguments.items())


def model_in(path):
    """The name of the model whose weights a file of `Pretrained.save` holds; FileError as in `read_weights`."""
    return _stored(path)["model"]


def read_weights(path, model_name):
    """(arguments, state) of a file of `Pretrained.save`, float32; FileError naming the file if it is damaged or belongs to something
    else."""
    stored = _stored(path)
    if stored["model"] != model_name:
        raise FileError(f"{path}: holds weights of {stored['model']}, expected {model_name}")
    return stored["arguments"], {k: v.float() if v.is_floating_point() else v for k, v in stored["state"].items()}


def _stored(path):
    stored = read_archive(path, "weight file")
    if not isinstance(stored, dict) or not {"model", "arguments", "state"} <= stored.keys() or not isinstance(stored["state"], dict):
        raise FileError(f"{path}: not a weight file of svconv")
    return stored
