// Events as they happen, from the public feed. All tabs of a browser with shared workers share one
// connection.
//
//   const stop = follow({ onEvents(events) {…}, onGap() {…}, onState(state) {…} });
//
// onEvents gets lists of the API's feed events, at most ten times a second. onGap: events may have been missed, so read
// again what is shown; it is called once after the start, too. Follow first and then read, so that no event is lost between
// the two. onState: see stream_hub.js. All three are optional. The header of the page shows the state by itself. The stream
// pauses while all tabs are hidden.
import { API } from "./api.js";
import { parseJson } from "./json.js";
import { StreamHub } from "./stream_hub.js";

const URL_OF_FEED = `${API}/events`;
const PING_MS = 20_000;
const TEXTS = {
  connecting: ["Connecting…", "The live updates are being connected."],
  open: ["Live", "Changes show up by themselves."],
  waiting: ["Reconnecting…", "The connection to the service is lost. It is tried again. What you see may be old."],
  paused: ["Paused", "No live updates while the page is hidden."],
  "signed-out": ["Not live", "The session has ended: sign in again."],
};
const followers = new Set();
let state = null;

/** Calls the functions of *follower* until the function that it returns is called. */
export function follow(follower) {
  followers.add(follower);
  if (followers.size === 1 && state === null) start();
  else if (state) follower.onState?.(state);
  return () => followers.delete(follower);
}

function receive(message) {
  if (message.kind === "state") {
    state = message.state;
    showState();
    for (const each of followers) each.onState?.(state);
  } else if (message.kind === "gap") {
    for (const each of followers) each.onGap?.();
  } else if (message.kind === "events") {
    const events = message.texts.map(parseJson);
    for (const each of followers) each.onEvents?.(events);
  }
}

function showState() {
  const element = document.getElementById("stream-state");
  if (!element) return;
  const [text, explanation] = TEXTS[state];
  element.dataset.state = state;
  element.textContent = text;
  element.title = explanation;
}

function start() {
  state = "connecting";
  showState();
  if (typeof SharedWorker === "function") startWorker();
  else startAlone();
}

function startWorker() {
  const url = new URL("./stream_worker.js", import.meta.url);
  const { subject = "", tenant = "", scopes = "" } = document.body.dataset;
  const name = [URL_OF_FEED, subject, tenant, scopes].join("|"); // tabs of two users don't share a stream
  const { port } = new SharedWorker(url, { type: "module", name });
  const reportVisibility = () => port.postMessage({ kind: "visible", visible: !document.hidden });
  port.onmessage = ({ data }) => receive(data);
  document.addEventListener("visibilitychange", reportVisibility);
  addEventListener("pageshow", reportVisibility); // also from the cache of pages, after a "bye"
  addEventListener("pagehide", () => port.postMessage({ kind: "bye" }));
  setInterval(() => document.hidden || reportVisibility(), PING_MS);
  reportVisibility();
}

/** Without shared workers, as on a phone: each visible tab has a connection of its own. */
function startAlone() {
  const hub = new StreamHub(URL_OF_FEED, receive);
  const update = () => (document.hidden ? hub.pause() : hub.resume());
  document.addEventListener("visibilitychange", update);
  update();
}
