"""Requests: descriptions of operations, query parameters, headers, bodies, and the resources that a request uses."""
