"""What papers claim, run again at a small scale, beside a control.

A claim is a module with a `CLAIM` and one row of `table.CLAIMS`. `python -m benchmarks.claims NAME`
runs its arms, `python -m benchmarks.claims --report` says of every claim how it stands.
"""
