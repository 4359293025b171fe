"""The benchmark behind `stepwell bench`: loads, and what is measured while they run."""
