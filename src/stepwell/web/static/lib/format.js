// Numbers, durations, sizes, amounts and times as text. All functions accept null, which is "–".
import { serviceNow } from "./clock.js";

const NONE = "–";
const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const DATE_TIME = new Intl.DateTimeFormat("en", {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const SHORT_DATE = new Intl.DateTimeFormat("en", { month: "short", day: "numeric" });
const TIME = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const RFC_3339 = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;
const NAMED_RUN = /(?<=\b(?:sub-workflow|run) )([0-9a-f-]{36})\b/;
const ID_CHARS = 8; // they are random: the first ones are the time
const isNone = (value) => value === null || value === undefined || Number.isNaN(value);

/** 1234567 is "1,234,567". */
export function number(value) {
  return isNone(value) ? NONE : NUMBER.format(value);
}

/** 1234567 is "1.2M". */
export function compact(value) {
  return isNone(value) ? NONE : value < 10_000 ? NUMBER.format(value) : COMPACT.format(value);
}

/** 41.67 is "42%". Less than all is never "100%". */
export function percent(value) {
  if (isNone(value)) return NONE;
  return `${value < 100 ? Math.min(99, Math.round(value)) : 100}%`;
}

/** Milliseconds as "340 ms", "4.2 s", "3 min 20 s", "2 h 5 min" or "3 d 4 h". */
export function duration(ms) {
  if (isNone(ms)) return NONE;
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  const [minutes, hours] = [Math.floor(s / 60), Math.floor(s / 3600)];
  if (minutes < 60) return pair(minutes, "min", Math.floor(s % 60), "s");
  if (hours < 24) return pair(hours, "h", minutes % 60, "min");
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

function pair(first, unit, second, smaller) {
  return second ? `${first} ${unit} ${second} ${smaller}` : `${first} ${unit}`;
}

/** The time between two RFC 3339 times; until now if *end* is null. */
export function durationBetween(start, end, now = serviceNow()) {
  if (!start) return NONE;
  return duration((end ? Date.parse(end) : now) - Date.parse(start));
}

/** 1536 is "1.5 KiB". */
export function bytes(value) {
  if (isNone(value)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [size, unit] = [value, 0];
  while (size >= 1024 && unit < units.length - 1) [size, unit] = [size / 1024, unit + 1];
  return `${unit ? size.toFixed(size < 10 ? 1 : 0) : size} ${units[unit]}`;
}

/** An amount with its currency: (0.0425, "USD") is "$0.0425". Small amounts keep four significant digits. */
export function amount(value, currency) {
  if (isNone(value)) return NONE;
  const small = value !== 0 && Math.abs(value) < 1;
  const digits = small ? { maximumSignificantDigits: 4, minimumFractionDigits: 2 } : { maximumFractionDigits: 2 };
  try {
    const style = { style: "currency", currency, currencyDisplay: "narrowSymbol" };
    return new Intl.NumberFormat("en", { ...style, ...digits }).format(value);
  } catch {
    return `${NUMBER.format(value)} ${currency}`; // no ISO 4217 code, such as "credits"
  }
}

/** The API's CostSums as text: one amount for each currency, and "+ 2 unknown". "–" if there are none. */
export function money(cost) {
  if (!cost) return NONE;
  const parts = cost.amounts.map((each) => amount(each.amount, each.currency));
  if (cost.unknown_attempts) parts.push(`${cost.unknown_attempts} unknown`);
  return parts.join(" + ") || NONE;
}

/** "Nov 27, 2026, 08:15:00" in the browser's time zone. */
export function dateTime(text) {
  return text ? DATE_TIME.format(new Date(text)) : NONE;
}

/** A sentence with its RFC 3339 times as `dateTime` has them. */
export function withLocalTimes(sentence) {
  return sentence.replace(RFC_3339, (time) => (isNone(Date.parse(time)) ? time : dateTime(time)));
}

/** A sentence split at the ids of runs that it names: these have odd indexes. */
export function splitAtRuns(sentence) {
  return sentence.split(NAMED_RUN);
}

/** The end of an id, as the command line prints and accepts it. */
export function shortId(id) {
  return id.slice(-ID_CHARS);
}

/** "08:15:00" today, "Nov 26" on another day. */
export function shortTime(text, now = new Date()) {
  if (!text) return NONE;
  const date = new Date(text);
  return date.toDateString() === now.toDateString() ? TIME.format(date) : SHORT_DATE.format(date);
}

/** "just now", "3 min ago", "2 h ago", "Nov 26". */
export function ago(text, now = serviceNow()) {
  if (!text) return NONE;
  const s = (now - Date.parse(text)) / 1000;
  if (s < 10) return "just now";
  if (s < 60) return `${Math.floor(s / 10) * 10} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  return SHORT_DATE.format(new Date(text));
}

/** "1 step", "3 steps": *count* with its noun. */
export function plural(count, noun, plural = `${noun}s`) {
  return `${number(count)} ${count === 1 ? noun : plural}`;
}
