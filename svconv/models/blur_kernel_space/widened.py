"""The weights of a plain blur kernel space as the start of a variational one."""
import torch


@torch.no_grad()
def variational_state(plain, variational):
    """The state of a variational space whose mean code is the code of a plain one; both are state dicts.

    Where a layer of the extractor has grown, the plain weights are those between its first channels; its further inputs do not reach its
    first outputs. Everything else is that of the plain space, the deviation stays as it is.
    """
    found = {}
    for name, wide in variational.items():
        narrow = plain[name]
        if narrow.shape == wide.shape:
            found[name] = narrow
            continue
        part = tuple(slice(0, side) for side in narrow.shape)
        grown = wide.clone()
        if wide.dim() > 1:
            grown[:narrow.shape[0], narrow.shape[1]:] = 0
        grown[part] = narrow.to(grown)
        found[name] = grown
    return found
