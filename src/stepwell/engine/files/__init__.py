"""The files of workflows: cleanups, purges, uploads, previews, and the files of tasks."""
