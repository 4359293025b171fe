"""LOCAL: honest image processing on this machine, with Pillow and numpy, in worker processes.

`provider` is what the engine sees, `pool` runs a function in a worker, `work` is the table of what can be done there;
the other modules are pure functions on pictures. Same inputs and same seed give the same bytes.
"""
