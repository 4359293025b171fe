"""`stepwell` as a real process, started, watched and killed from outside."""
