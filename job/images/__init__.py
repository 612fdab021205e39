"""Images to pixels: listed, fetched, decoded under limits; what their pixels are counted into."""
