"""Diagnostics, which change nothing: explanations, plans, dry runs, the status of providers, and the limits of tenants.

The API calls `explainer`, `planner`, `dry_run`, `provider_status` and `tenant_limits` by `engine.service`. If another
process runs the workflow, `owner_requests` sends it a request, and `dry_run.outcome_of_request` responds there.
"""
