"""The secrets of services that run in tests. They protect nothing."""

SECRET = "the secret of a service that runs in a test"  # noqa: S105
WEBHOOK_SECRET = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cyBvZiBhIHByb2plY3Q="  # noqa: S105
