"""The programs that measure: each prints the figures that the documentation quotes, `python -m bench.NAME --help` says how.

Not part of the installed package; run them from a checkout, also as bin/bench-NAME.
"""
