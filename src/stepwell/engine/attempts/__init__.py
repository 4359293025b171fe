"""The execution of one attempt: in process, or as a job at a remote provider."""
