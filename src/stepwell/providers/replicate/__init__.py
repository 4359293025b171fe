"""REPLICATE: predictions on Replicate's API."""
