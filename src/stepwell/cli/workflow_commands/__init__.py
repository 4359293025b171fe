"""The commands over the API of a service: submit, ls, show and the others.

`service_command` declares one. It adds what all of them have: the options of the connection, `--json`, and the exit
code of each error. `command_context` is what their implementations work with.
"""
