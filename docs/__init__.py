"""The documentation: pages by task, the generator of the reference pages, and the check of the site's links."""
