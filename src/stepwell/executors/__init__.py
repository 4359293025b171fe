"""The executors: programs that do work for the service on other machines."""
