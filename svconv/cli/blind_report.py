"""What a blind run found, as a file: a page with pictures, or JSON."""
import base64
import html
import io
import os

import numpy as np

from svconv.cli.errors import InputError

SIDE, KERNEL_SIDE = 720, 240    # pixels of the pictures on the page


def check_name(path):
    """InputError unless the name ends as one of the two kinds does."""
    if os.path.splitext(path)[1].lower() not in (".html", ".json"):
        raise InputError(f"--report: expected a name that ends in .html or .json, got {path}")


def write(path, arguments, finding, before, after, seconds):
    """The report of one photograph and its BlurFinding; before, after: Pictures."""
    values = as_values(arguments, finding, seconds)
    _write(path, values, lambda: page(values, facts_of_one(values, finding), _kernel(finding.kernel.numpy()), before, after))


def write_grid(path, arguments, found, before, after, seconds):
    """The same of a photograph with a kernel for every patch; found: a `shake.GridFinding`."""
    from svconv.cli import psf

    values = {**_files(arguments), "verdict": "grid", "text": "a kernel for every patch",
              "score": found.score, "candidates": {"a kernel for every patch": found.score, "one kernel for all": found.common},
              "kernels": {"grid": list(found.grid.grid), "values": found.kernels[0].tolist()},
              "photograph": _photograph(found.signs), "seconds": round(seconds, 2)}
    facts = {**_facts(values), "score": found.in_words(), "seconds": f"{values['seconds']:g}"}
    drawn = psf.drawn(found.kernels.numpy(), found.grid.grid)[..., 0]
    _write(path, values, lambda: page(values, facts, _grey(drawn), before, after))


def _write(path, values, as_page):
    import json

    from svconv.files.outputs import write_text

    write_text(path, json.dumps(values, indent=1) + "\n" if os.path.splitext(path)[1].lower() == ".json" else as_page())


def _files(arguments):
    return {"image": str(arguments.image), "output": str(arguments.output)}


def _photograph(signs):
    from svconv.models.find_blur.verdict import finite

    return {"noise": signs.noise, "edge_spread": [finite(value) for value in signs.spread], "agreement": finite(signs.agreement),
            "disk": {"radius": signs.disk[0], "score": signs.disk[1]}}


def as_values(arguments, finding, seconds):
    """What JSON can hold of a finding."""
    from svconv.cli.blind import extent
    from svconv.models.find_blur import VERDICTS

    height, width = extent(finding.kernel)
    return {
        **_files(arguments), "verdict": finding.verdict, "text": VERDICTS[finding.verdict],
        "score": finding.explained, "candidates": finding.candidates,
        "kernel": {"method": finding.method, "window": list(finding.kernel.shape), "extent": [height, width],
                   "reaches_edge": finding.reaches_edge, "values": finding.kernel.tolist()},
        "photograph": _photograph(finding.signs),
        "seconds": round(seconds, 2),
    }


def _facts(values):
    """{name: text} of the photograph."""
    photograph = values["photograph"]
    return {"noise": f"{100 * photograph['noise']:.2f} %",
            "edges spread by": " to ".join("?" if v is None else f"{v:.2f}" for v in photograph["edge_spread"]) + " pixels",
            "agreement of the parts": "?" if photograph["agreement"] is None else f"{photograph['agreement']:.2f}",
            "best disk": f"radius {photograph['disk']['radius']:g}, score {photograph['disk']['score']:.2f}"}


def facts_of_one(values, finding):
    """{name: text} of the photograph and its kernel."""
    from svconv.cli.blind import kernel_in_words, score_in_words

    return {**_facts(values), "kernel": kernel_in_words(finding), "score": score_in_words(finding), "seconds": f"{values['seconds']:g}"}


def page(values, facts, kernel, before, after):
    """One HTML page that loads nothing from elsewhere; kernel: its picture as an address."""
    title = html.escape(f"{os.path.basename(values['image'])}: {values['verdict']}")
    rows = "".join(f"<tr><td>{html.escape(name)}</td><td>{value:.2f}</td></tr>"
                   for name, value in sorted(values["candidates"].items(), key=lambda item: -item[1]))
    told = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(text)}</td></tr>" for name, text in facts.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1500px;padding:0 1em}}
figure{{display:inline-block;margin:0 1em 1em 0}}
img{{max-width:100%}} td{{padding:0 1.5em 0 0}} .kernel{{image-rendering:pixelated}}</style></head><body>
<h1>{title}</h1><p>{html.escape(values['text'])}</p>
<figure><img alt="the photograph" src="{_picture(before)}"><figcaption>{html.escape(values['image'])}</figcaption></figure>
<figure><img alt="the result" src="{_picture(after)}"><figcaption>{html.escape(values['output'])}</figcaption></figure>
<figure><img class="kernel" alt="the kernel" src="{kernel}"><figcaption>the kernel</figcaption></figure>
<table>{told}</table><h2>Candidates</h2><table>{rows}</table>
</body></html>
"""


def _embedded(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _picture(picture):
    from PIL import Image

    planes = [picture.plane(c)[0, 0].numpy() for c in range(picture.channels)]
    pixels = np.rint(np.clip(np.stack(planes, 2), 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :3])
    image.thumbnail((SIDE, SIDE))
    return _embedded(image)


def _kernel(kernel):
    zoom = max(1, KERNEL_SIDE // kernel.shape[0])
    return _grey(np.rint(kernel / kernel.max() * 255).astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1))


def _grey(pixels):
    from PIL import Image

    return _embedded(Image.fromarray(pixels))
