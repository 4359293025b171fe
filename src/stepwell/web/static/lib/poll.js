// Reads something again and again while the page is visible: for what has no event stream.

/** Returns a function that calls *read* at once, and again *pauseMs* after each call has ended: call it for the first read.
 *  A hidden page doesn't read; it does once it is visible. *read* handles its own errors. */
export function poll(read, pauseMs) {
  let timer = 0;
  let running = null;
  const next = () => {
    clearTimeout(timer);
    running ??= read().finally(() => {
      running = null;
      timer = setTimeout(() => !document.hidden && next(), pauseMs);
    });
    return running;
  };
  document.addEventListener("visibilitychange", () => !document.hidden && next());
  return next;
}
