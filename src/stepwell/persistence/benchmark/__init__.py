"""The scratch schema and the queries of `stepwell bench`."""
