"""The plain torch backend: always possible."""

MODULE = "svconv.reference.{stem}"


def why_not(device_type):
    return None
