"""`svconv deblur --kernel --method auto`: the method that measures best for a photograph of its size and noise."""

LARGE = 8e6             # pixels from which the fastest method is taken
TRAINED = 0.008, 0.013  # noise that the shipped SVMAP was made for (docs/models/svmap.md)


def large(picture):
    """Words for the size of a photograph that the fastest method restores, else None."""
    height, width = picture.size
    return f"{height * width / 1e6:.0f} megapixels" if height * width >= LARGE else None


def method_for(picture, kernel_size):
    """(method, why in words). SVMAP where its weights are shipped, the noise is that of its training and the memory is enough; it is 1.3 dB
    ahead of the others there, and far behind elsewhere."""
    from svconv.cli import strength, svmap
    from svconv.files.limits import free_memory
    from svconv.models import SVMAP

    if why := large(picture):
        return "hyper", why
    noise = strength.noise_of(picture)
    if not TRAINED[0] <= noise <= TRAINED[1]:
        return "irls", f"noise {100 * noise:.1f} %"
    if not SVMAP.known_weights():
        return "irls", "no weights of svmap"
    free = free_memory()
    if free is not None and svmap.needed(picture, kernel_size) > free:
        return "irls", "too little memory for svmap"
    return "svmap", f"noise {100 * noise:.1f} %"
