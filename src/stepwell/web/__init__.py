"""The web page at `/ui`: its HTML shells, its static files, and what its scripts need to start.

Python serves only. The scripts below `static` use the public API and its event streams, like every other client, so
nothing is possible only in the page.

How a view is mounted: `pages` renders `base.html` with the name of the view, `static/app.js` loads
`static/views/NAME.js` and calls its default export, `mount(element, context)`. `app.js` describes the context. The
modules below `static/lib` are shared by all views; each says at its top what it offers. `vendor` contains the libraries
that aren't ours; `poe generate libraries` renews them.
"""
