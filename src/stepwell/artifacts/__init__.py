"""The store of output files. `storage` says where it is, by the settings; `store` keeps files, by the paths of `paths`.

In a folder `disk` makes them last; in a bucket, see `s3`; on the way from one to the other, `moving`.
"""
