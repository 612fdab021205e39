"""The stages of the job: orchestration alone, one function a stage."""
