"""Webhooks: the schedule of deliveries, the deliverer, and the use cases of the API."""
