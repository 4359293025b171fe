"""LOCAL: classical image processing on this machine, with Pillow and numpy, in worker processes.

`provider` is the provider, `pool` runs a function in a worker process, and `work` is the table of task types. The other
modules are pure functions on images. The same inputs with the same seed give the same bytes.
"""
