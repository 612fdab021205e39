"""The job's peers, each a process that prints one line of JSON: its seconds and the address of its features."""
