// The period of the view "Costs": {from, to, definition}. The dates are in UTC, as YYYY-MM-DD. `to` is the day after the last
// one, as in the API. In the URL, `through` is the last day. *definition* is the filter, "" for all.

const DATE = /^\d{4}-\d\d-\d\d$/;
const DAY_MS = 86_400_000;
const MAX_DAYS = 3_700;

const asText = (ms) => new Date(ms).toISOString().slice(0, 10);

/** The date *days* days before today, in UTC. */
export function daysAgo(days) {
  return asText(Date.now() - days * DAY_MS);
}

/** The date *days* days before *date*. */
export function dayBefore(date, days) {
  return asText(Date.parse(date) - days * DAY_MS);
}

/** All dates of a period. */
export function dayNames({ from, to }) {
  const count = Math.min(MAX_DAYS, Math.round((Date.parse(to) - Date.parse(from)) / DAY_MS));
  return Array.from({ length: count }, (_, i) => dayBefore(from, -i));
}

/** The period in the query of a URL; the last 30 days if there is none, or one that makes no sense. */
export function readPeriod(search) {
  const parameters = new URLSearchParams(search);
  const [from, through] = [parameters.get("from") ?? "", parameters.get("through") ?? ""];
  const valid = [from, through].every((each) => DATE.test(each) && !Number.isNaN(Date.parse(each)));
  const definition = parameters.get("definition") ?? "";
  return valid && from <= through ? { from, to: dayBefore(through, -1), definition } : { from: daysAgo(29), to: daysAgo(-1), definition };
}

export function writePeriod({ from, to, definition }) {
  return `?${new URLSearchParams({ from, through: dayBefore(to, 1), ...(definition ? { definition } : {}) })}`;
}
