"""What spark-submit starts: a zip cannot be Spark's entry point, so this file lies beside job.zip."""

import runpy

runpy.run_module("job", run_name="__main__")
