"""The benchmark of `stepwell bench`: the workloads, the measurements, and the report."""
