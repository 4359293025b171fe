"""URLs of a bucket to which anyone can PUT one file of a given size.

obstore signs no headers. So this signs again what obstore has signed, with the header Content-Length. S3 refuses a
request with another size. https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

import hashlib
import hmac
from urllib.parse import parse_qsl, quote, urlencode

from stepwell.basics.urls import split_url

_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGNED_HEADERS = "content-length;host"
_UNSIGNED = "UNSIGNED-PAYLOAD"


def presigned_put(get_url: str, size: int, secret_access_key: str) -> str:
    """Return a URL to PUT *size* bytes to.

    *get_url* is a signed URL to GET the same file, by the key of *secret_access_key*. It has the address of the
    bucket, the time, and how long the URL is valid.
    """
    parameters = dict(parse_qsl(split_url(get_url).query))
    del parameters["X-Amz-Signature"]
    parameters["X-Amz-SignedHeaders"] = _SIGNED_HEADERS
    query = urlencode(sorted(parameters.items()), quote_via=quote, safe="-_.~")
    address = get_url.partition("?")[0]
    host, slash, path = address.partition("://")[2].partition("/")
    headers = f"content-length:{size}\nhost:{host}\n"
    request = "\n".join(["PUT", slash + path, query, headers, _SIGNED_HEADERS, _UNSIGNED])
    scope = parameters["X-Amz-Credential"].partition("/")[2]
    text = "\n".join([_ALGORITHM, parameters["X-Amz-Date"], scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{secret_access_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    signature = hmac.digest(key, text.encode(), hashlib.sha256).hex()
    return f"{address}?{query}&X-Amz-Signature={signature}"
