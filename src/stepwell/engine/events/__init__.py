"""Events: the bus inside the process, notifications between processes, and the streams that clients read."""
