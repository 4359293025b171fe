"""Access: signed texts (URLs, links, tickets, cursors), sessions of the web page, and limits on attempts to sign in."""
