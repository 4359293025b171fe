"""FAL: jobs in fal's queue."""
