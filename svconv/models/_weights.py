"""Reading and writing of the weight files that ship with the package: constructor arguments and tensors in one file."""
import pathlib

import torch

from svconv.files.archives import read_archive, write_archive

FOLDER = pathlib.Path(__file__).parent / "weights"


def known_weights(prefix):
    """Names of the shipped weight files that start with `prefix`."""
    return sorted(p.stem for p in FOLDER.glob(f"{prefix}*.pt"))


def weights_file(name, prefix, default):
    """The path of a shipped weight file; `name` None means the default. ValueError naming the known ones when there is none."""
    name = default if name is None else str(name)
    path = FOLDER / f"{name}.pt"
    if not name.startswith(prefix) or not path.is_file():
        raise ValueError(f"name: no weights {name!r} are shipped; known: {', '.join(known_weights(prefix)) or 'none'}")
    return path


def save_weights(path, model_name, arguments, state, dtype=torch.float32):
    """Write {model, arguments, state}, floating tensors as `dtype`."""
    state = {k: v.detach().cpu().to(dtype) if v.is_floating_point() else v.detach().cpu() for k, v in state.items()}
    write_archive(path, {"model": model_name, "arguments": dict(arguments), "state": state})


def load_weights(path, model_name):
    """(arguments, state) of a file written by `save_weights`, float32; ValueError naming the file if it is damaged or belongs to something else."""
    stored = read_archive(path, "weight file")
    if not isinstance(stored, dict) or not {"model", "arguments", "state"} <= stored.keys() or not isinstance(stored["state"], dict):
        raise ValueError(f"{path}: not a weight file of svconv")
    if stored["model"] != model_name:
        raise ValueError(f"{path}: holds weights of {stored['model']}, expected {model_name}")
    state = {k: v.float() if v.is_floating_point() else v for k, v in stored["state"].items()}
    return stored["arguments"], state


def build(model_class, path):
    """A model from a weight file: constructed with the stored arguments, filled, in eval mode."""
    arguments, state = load_weights(path, model_class.__name__)
    try:
        model = model_class(**arguments)
        model.load_state_dict(state)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: does not fit {model_class.__name__}: {str(error).splitlines()[0]}") from error
    return model.eval()
