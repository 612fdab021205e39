"""What a sample of the results shows about an archive: neighbors, near-duplicates, outliers, likely label errors."""
