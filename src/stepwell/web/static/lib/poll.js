// Reads something again and again while the page is visible: for what has no event stream.

/** Calls *read* now, and again *pauseMs* after each call has ended. Hidden pages don't read; they do once visible.
 *  Returns a function that reads at once. *read* handles its own errors. */
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
