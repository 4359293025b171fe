"""The artifact store: the output files of tasks, in a folder or in a bucket.

`store_setup` opens the store that the settings name. `store` reads and writes the files, by obstore. `disk` adds what a
folder needs, and `s3` describes a bucket.
"""
