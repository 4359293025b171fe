"""Orchestration over the ports: `service` is what the API calls, `scheduler` feeds each workflow's `lifecycle.Run`,
`admission` hands out slots, `checkpointer` makes transitions durable, `runner` does one attempt.

The order is always the same: an input changes the run in memory; its rows are committed; only then is anything done
that the world can see.
"""
