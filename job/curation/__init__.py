"""What a sample of the results shows about an archive: neighbors, near-copies, likely label errors."""
