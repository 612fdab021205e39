"""The files of the service's page and of `--html`; the style that all pages share is the report's."""

from importlib import resources

from job.curation.page import page_file as shared_page_file


def page_file(name: str) -> str:
    """Return the text of a file of this folder; a stylesheet follows the base style."""
    text = (resources.files(__name__) / name).read_text(encoding="utf-8")
    return f"{shared_page_file('base.css')}\n{text}" if name.endswith(".css") else text
