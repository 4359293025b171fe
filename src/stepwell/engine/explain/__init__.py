"""Read-only diagnostics: explanations, plans, dry runs, and the status of providers. The API calls `service`."""
