"""The files that a run writes for people and programs: tables, run.json, the index, and their validation."""
