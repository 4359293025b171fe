"""FAL: jobs on fal's queue."""
