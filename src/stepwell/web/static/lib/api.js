// Requests to the public API, and its errors.
//
//   const run = await getJson(`/workflows/${id}`, { query: { include_steps: false }, signal });
//   const { data, headers } = await request("/workflows/", { query });      // headers: see nextLink, ETag
//   await send("POST", `/workflows/${id}/start`, { headers: { "If-Match": etag } });
//
// Every failure is an ApiError with `status`, `title`, `detail`, `faults` ([{place, message, type, loc}] of a 422) and
// `retryAfterS`. A read that is refused by a limit (429) is repeated after that time. A request that got no response has status 0. A request that was aborted throws the signal's AbortError.
// After a 401 the event SIGNED_OUT is dispatched on window, and app.js offers to sign in.
import { parseJson } from "./json.js";

export const API = document.body?.dataset.api ?? "/api/v1";
export const SIGNED_OUT = "stepwell:signed-out";
const MOST_REPEATS = 3;
const LONGEST_WAIT_S = 30;

export class ApiError extends Error {
  constructor(status, { title, detail, faults = [], retryAfterS = null }) {
    super(detail || title);
    this.name = "ApiError";
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.faults = faults;
    this.retryAfterS = retryAfterS;
  }
}

/** The URL of *path*, a path of the API without its prefix. *query* may have lists, and members without a value. */
export function apiUrl(path, query = {}) {
  const parameters = query instanceof URLSearchParams ? query : new URLSearchParams();
  if (parameters !== query) {
    for (const [name, value] of Object.entries(query)) {
      for (const each of Array.isArray(value) ? value : [value]) {
        if (each !== null && each !== undefined && each !== "") parameters.append(name, String(each));
      }
    }
  }
  const text = parameters.toString();
  return text ? `${API}${path}?${text}` : `${API}${path}`;
}

/** Sends a request and returns {data, headers, status}. *body*: an object (sent as JSON), a Blob or FormData. *asText*: the
 *  data are the text of the response. *keepalive*: it arrives even if the page is
 *  left. *isSafeToRepeat*: a change that the service refuses with a 429 is repeated like a read. */
export async function request(path, options = {}) {
  for (let repeats = 0; ; repeats += 1) {
    try {
      return await requestOnce(path, options);
    } catch (error) {
      const mayRepeat = (options.method ?? "GET") === "GET" || options.isSafeToRepeat;
      const waitS = error.retryAfterS ?? 1;
      if (error.status !== 429 || !mayRepeat || repeats === MOST_REPEATS || waitS > LONGEST_WAIT_S) throw error;
      await pause(waitS * 1000 * (1 + Math.random() / 4), options.signal);
    }
  }
}

/** Waits *ms*. Throws the AbortError of *signal* once that is aborted. */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

async function requestOnce(path, { method = "GET", query, body, headers = {}, signal, asText = false, keepalive = false }) {
  const plain = body !== undefined && !(body instanceof Blob) && !(body instanceof FormData);
  let response;
  try {
    response = await fetch(apiUrl(path, query), {
      method,
      signal,
      keepalive,
      credentials: "same-origin",
      headers: { Accept: "application/json", ...(plain ? { "Content-Type": "application/json" } : {}), ...headers },
      body: plain ? JSON.stringify(body) : body,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, {
      title: "No response",
      detail: "The service can't be reached. Check that it runs, and the network between.",
    });
  }
  if (!response.ok) throw await readError(response);
  const data = asText ? await response.text() : isJson(response) ? parseJson(await response.text()) : await response.blob();
  return { data, headers: response.headers, status: response.status };
}

/** The JSON at *path*. */
export async function getJson(path, options) {
  return (await request(path, options)).data;
}

/** Sends a request that changes something, and returns {data, headers, status}. */
export function send(method, path, options = {}) {
  return request(path, { ...options, method });
}

/** The path and query of the next page by the header Link (RFC 8288); null on the last page. */
export function nextLink(headers) {
  for (const part of (headers.get("Link") ?? "").split(/,\s*(?=<)/)) {
    const match = /^<([^>]*)>;.*\brel="next"/.exec(part);
    if (match) return match[1];
  }
  return null;
}

/** True if *error* only says that a request was aborted. */
export function isAbort(error) {
  return error?.name === "AbortError";
}

function isJson(response) {
  return /^application\/(?:[\w.-]+\+)?json\b/.test(response.headers.get("Content-Type") ?? "");
}

/** The error that a response (a `Response`) which isn't a success describes. */
export async function readError(response) {
  let content = {};
  try {
    if (isJson(response)) content = await response.json();
  } catch {
    // The response is a proxy's, or it is incomplete: the status says enough.
  }
  if (response.status === 401) dispatchEvent(new Event(SIGNED_OUT));
  const faults = Array.isArray(content.detail) ? content.detail : [];
  return new ApiError(response.status, {
    title: content.title ?? `The service responded with ${response.status}`,
    detail: faults.length ? "" : content.detail ?? "",
    faults: faults.map((fault) => ({
      loc: fault.loc, place: placeOf(fault.loc), message: fault.msg, type: fault.type,
    })),
    retryAfterS: Number(response.headers.get("Retry-After")) || null,
  });
}

/** A fault's place in words: ["body", "steps", 1, "id"] is steps[1].id. */
function placeOf(loc) {
  const [, ...rest] = loc;
  const text = rest.map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`)).join("");
  return text.replace(/^\./, "") || String(loc[0] ?? "");
}
