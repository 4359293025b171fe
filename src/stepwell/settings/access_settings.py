"""The settings about tokens and signed URLs."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from stepwell.basics.setting_values import Origins, about


class AccessSettings(Struct, frozen=True, kw_only=True):
    """The settings that decide who may call the service."""

    jwt_secret: Annotated[
        str | None,
        about("The secret that signs tokens with HS256, at least 32 bytes", default="made by `up`, in the data folder"),
    ] = None
    jwt_public_key: Annotated[
        str | None, about("The public key in PEM that checks tokens, with RS256, ES256 or EdDSA")
    ] = None
    jwt_jwks_url: Annotated[
        str | None,
        about(
            "The URL of the key set (JWKS) whose keys check tokens, with RS256, ES256 or EdDSA, instead of a secret or "
            "a public key. It may be in a private network"
        ),
    ] = None
    jwt_algorithm: Annotated[
        Literal["HS256", "RS256", "ES256", "EdDSA"],
        about("The algorithm of tokens, unless they are checked with a key set"),
    ] = "HS256"
    jwt_issuer: Annotated[str, about("The value that `iss` of a token must have")] = "stepwell"
    jwt_audience: Annotated[str, about("The value that `aud` of a token must have")] = "stepwell"
    jwt_max_lifetime_s: Annotated[
        int,
        Meta(ge=60, le=315_360_000),
        about(
            "The longest lifetime of a token (`exp` minus `iat`). Longer ones are refused, and "
            "`stepwell token` makes none",
            default="34560000 (400 days)",
        ),
    ] = 34_560_000
    jwt_default_scope: Annotated[
        str,
        about("The scope of a token without the claim `scope`, like `workflows:read workflows:write`", default="none"),
    ] = ""
    cors_origins: Annotated[
        Origins,
        about(
            "The origins whose web pages may call the API (CORS), like "
            "`https://app.example.com http://localhost:3000`; `*` stands for every origin"
        ),
    ] = Origins()
    url_secret: Annotated[
        str | None,
        about(
            "The secret that signs URLs of artifacts; `serve` with a public key or a key set needs it",
            default="derived from STEPWELL_JWT_SECRET",
        ),
    ] = None
