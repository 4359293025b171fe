"""The style sheet of the service's HTML pages, and the response that serves a page.

A page runs no script, and fits a screen of 360 pixels. Images of this service are all that it may load.
"""

from typing import Final

from litestar import Response

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --dim: #5f6b7a; --paper: #fbfaf7; --card: #fff; --line: #e3ded3;
  --accent: #0b6e69; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e3dc; --dim: #9aa4b1; --paper: #14181d; --card: #1b2027;
  --line: #2e353f; --accent: #4fc3bb; } }
* { box-sizing: border-box } html { scroll-behavior: smooth; scroll-padding-top: 1rem }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; display: grid;
  grid-template-columns: minmax(13rem, 17rem) minmax(0, 1fr) }
nav { border-right: 1px solid var(--line); padding: 2rem 1.25rem; position: sticky; top: 0; height: 100vh;
  overflow: auto; font-size: .875rem } nav a { display: block; padding: .12rem 0; color: inherit;
  text-decoration: none } nav a:hover { color: var(--accent) }
nav strong { display: block; margin: 1.1rem 0 .2rem; color: var(--dim); font-size: .75rem; letter-spacing: .06em;
  text-transform: uppercase } main { padding: 2rem 2.5rem 5rem; max-width: 62rem }
h1 { margin: 0; font-size: 1.9rem } h2 { margin: 3rem 0 .25rem; border-bottom: 1px solid var(--line) }
h3 { margin: 0; font-size: 1rem; font-weight: 600 } p { margin: .4rem 0 } .dim { color: var(--dim) }
code, pre { font: .85rem/1.5 ui-monospace, Menlo, Consolas, monospace }
pre { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem;
  overflow: auto }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-size: .9rem } td { padding: .35rem 0;
  border-top: 1px solid var(--line); vertical-align: top } td:first-child { width: 17rem; padding-right: .8rem }
a { color: var(--accent) } summary { cursor: pointer; color: var(--dim); padding: .5rem 0 } .menu { display: none }
@media (max-width: 50rem) { body, .menu { display: block } nav { border: 0; padding: 0; position: static; height: auto;
  font-size: 1rem } nav a { padding: .3rem 0 } main { padding: 1.25rem } .side { display: none }
  .menu { margin: 1rem 0 } td:first-child { width: 40% } }
@media (max-width: 40rem) { main { padding: 1rem } h2 { margin-top: 2rem }
  tr, td, td:first-child { display: block; width: auto; padding: 0 }
  tr { border-top: 1px solid var(--line); padding: .5rem 0 } td { border: 0 }
  td:first-child code { font-weight: 600 } pre { padding: .6rem .7rem } }
"""


def page_response(html: bytes, *, images: bool = False) -> Response[bytes]:
    """Return the response with a page, which must not run anything, and may load *images* of this service at most."""
    policy = f"{_POLICY}; img-src 'self'" if images else _POLICY
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
    return Response(html, media_type="text/html", headers=headers)
