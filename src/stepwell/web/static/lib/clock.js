// The service's clock. Durations and countdowns are computed with it, because the browser's may be wrong.

const COARSE_MS = 2_000; // the header Date has whole seconds: a smaller difference says nothing
let aheadMs = 0; // by how much the service's clock is ahead of the browser's

/** Notes the time of the service that *headers*, those of an answer, have. */
export function noteServiceTime(headers) {
  const difference = Date.parse(headers.get("Date") ?? "") - Date.now();
  aheadMs = Math.abs(difference) > COARSE_MS ? difference : 0;
}

/** The time by the service's clock, in milliseconds since 1970. */
export function serviceNow() {
  return Date.now() + aheadMs;
}
