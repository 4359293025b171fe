"""The scheduler and what it works with: active workflows, running attempts, checkpoints, leases and timers."""
