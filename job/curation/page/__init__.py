"""The files that a page is made of: `base.css` for every page of the project, the others for the report."""

from importlib import resources


def page_file(name: str) -> str:
    """Return the text of a file of this folder, which may lie in a zip."""
    return (resources.files(__name__) / name).read_text(encoding="utf-8")
