"""What is measured: speed and learning, with the machine it was measured on.

A benchmark is a module with `measure() -> Payload` and one row of `benchmarks.run.BENCHMARKS`. Its
result is benchmarks/results/<name>.json; learning curves are drawn beside it.
"""
