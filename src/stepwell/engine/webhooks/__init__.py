"""Webhooks: the deliverer, its schedule, the size of its backlog, and the use cases of the API (`service`)."""
