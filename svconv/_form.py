"""The two forms of a blur that changes over the image."""

FORMS = ("scatter", "gather")


def check_form(form):
    """Raises unless the form is "scatter" (a kernel belongs to the input pixel) or "gather" (to the output pixel)."""
    if form not in FORMS:
        raise ValueError(f'form: expected "scatter" or "gather", got {form!r}')
