"""The HTTP service: a photo in, its label out as JSON, and the page that asks for it."""
