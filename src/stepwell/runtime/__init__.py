"""The process: its event loop, threads, child processes, batches, memory, logs and metrics."""
