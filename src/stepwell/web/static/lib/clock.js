// The clock of the service, by which durations and countdowns are computed because the browser's may be wrong, and a timer.

const COARSE_MS = 2_000; // the header Date has whole seconds: a smaller difference says nothing
const SECOND_MS = 1_000;
let aheadMs = 0; // by how much the service's clock is ahead of the browser's

/** Notes the time of the service that *headers*, those of a response, have. */
export function noteServiceTime(headers) {
  const difference = Date.parse(headers.get("Date") ?? "") - Date.now();
  aheadMs = Math.abs(difference) > COARSE_MS ? difference : 0;
}

/** Calls *call* every second while the page is visible: for what depends on the time. */
export function everySecond(call) {
  setInterval(() => document.hidden || call(), SECOND_MS);
}

/** The time by the service's clock, in milliseconds since 1970. */
export function serviceNow() {
  return Date.now() + aheadMs;
}
