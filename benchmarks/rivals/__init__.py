"""The parts of ``benchmarks/grid.py``: the problem, its runners, their processes, the report.

`problem` says what is computed, `reference` computes it in float64, the modules ``*_runner`` let
each library compute it, `worker` gives each of them a process, `rounds` measures them in turn,
`report` and `picture` show the figures. No module imports a library before a runner needs it.
"""
