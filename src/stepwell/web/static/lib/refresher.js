// Reads something again whenever it has changed, never twice at once, and not so often that it keeps the browser busy.

const PAUSE_MS = 500;
const FACTOR = 5; // the pause after a read is this many times as long as the read was

/** Returns a function that calls *load*, after *soonMs* or after the pause. While it waits, further calls have no effect.
 *  *pauseMs()*: the shortest pause between two reads. */
export function refresher(load, { soonMs = 0, pauseMs = () => PAUSE_MS } = {}) {
  let [busy, again, timer, readyAt] = [false, false, 0, 0];
  const run = async () => {
    const began = performance.now();
    [busy, again] = [true, false];
    try {
      await load();
    } finally {
      const now = performance.now();
      readyAt = now + Math.max(pauseMs(), FACTOR * (now - began));
      busy = false;
      if (again) refresh();
    }
  };
  const refresh = () => {
    if (busy) {
      again = true;
    } else if (!timer) {
      timer = setTimeout(() => {
        timer = 0;
        run();
      }, Math.max(soonMs, readyAt - performance.now()));
    }
  };
  return refresh;
}
