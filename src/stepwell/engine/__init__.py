"""The engine: it runs workflows, through the ports. It knows no HTTP, no SQL and no provider.

`service` has the use cases that the API calls. `execution` has the scheduler, which applies inputs to each workflow's
state machine (`lifecycle.run.Run`), and the checkpointer, which stores the result. `attempts` executes one
attempt of a step. `dispatch` decides which step starts next. `events` publishes what was committed, and
`webhooks` sends webhooks. `files` stores and deletes files. `reads` and `explain` answer requests that change nothing.

The order is always the same: an input changes the run in memory, its rows are committed, and only then does the engine
do anything that others can see.
"""
