"""Read-only diagnostics: explanations, plans, dry runs, and the status of providers. `service` is their entry."""
