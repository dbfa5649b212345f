"""Training checkpoints: everything that the next step depends on, in one file that is either old or new, never half written."""
from svconv.files import FileError
from svconv.files.archives import read_archive, write_archive

FORMAT = 2


def save_checkpoint(path, kind, state):
    """Write the dict `state` (tensors, numbers, strings, lists and dicts of them) of a training run of this kind; atomic."""
    write_archive(path, {"svconv_training": FORMAT, "kind": kind, "state": state})


def load_checkpoint(path, kind):
    """The dict of `save_checkpoint`. FileError naming the file: missing, damaged, foreign, or of another kind or format."""
    stored = read_archive(path, "checkpoint")
    if not isinstance(stored, dict) or "svconv_training" not in stored:
        raise FileError(f"{path}: not a training checkpoint of svconv")
    if stored["svconv_training"] != FORMAT or stored.get("kind") != kind:
        raise FileError(
            f"{path}: checkpoint of kind {stored.get('kind')!r}, format {stored['svconv_training']}; expected {kind!r}, {FORMAT}"
        )
    return stored["state"]
