"""LOCAL: classical image processing on this machine, with Pillow and numpy, in child processes.

`provider` is the provider, `pool` runs a function in a child process, and `work` is the table of task types. The other
modules are pure functions on images. The same inputs with the same seed give the same bytes.
"""
