"""Training checkpoints: everything that the next step depends on, in one file that is either old or new, never half written."""
import pathlib

import torch

from svconv.models._weights import write_atomically

FORMAT = 1


def save_checkpoint(path, kind, state):
    """Write the dict `state` (tensors, numbers, strings, lists and dicts of them) of a training run of this kind; atomic."""
    write_atomically(path, {"svconv_training": FORMAT, "kind": kind, "state": state})


def load_checkpoint(path, kind):
    """The dict of `save_checkpoint`. ValueError naming the file: missing, damaged, foreign, or of another kind or format."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler and the archive reader raise many types
        raise ValueError(f"{path}: not a readable checkpoint ({type(error).__name__})") from error
    if not isinstance(stored, dict) or "svconv_training" not in stored:
        raise ValueError(f"{path}: not a training checkpoint of svconv")
    if stored["svconv_training"] != FORMAT or stored.get("kind") != kind:
        raise ValueError(f"{path}: checkpoint of kind {stored.get('kind')!r}, format {stored['svconv_training']}; expected {kind!r}, {FORMAT}")
    return stored["state"]
