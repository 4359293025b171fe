// The shared worker of all tabs of a browser: it has the one connection to the feed of events.
//
// Messages from a tab: {kind: "visible", visible}, again every PING_MS while it is visible, and {kind: "bye"}.
import { StreamHub } from "./stream_hub.js";

const SILENT_MS = 60_000; // a visible tab that is silent for so long has crashed
const tabs = new Map(); // of each port: when its tab was last visible, as a time; 0 if it is hidden
const hub = new StreamHub(new URL(self.name.split("|")[0], location.origin).pathname, (message) => {
  for (const port of tabs.keys()) port.postMessage(message);
});

function update() {
  const now = Date.now();
  if ([...tabs.values()].some((seen) => now - seen < SILENT_MS)) hub.resume();
  else hub.pause();
}

self.onconnect = ({ ports: [port] }) => {
  tabs.set(port, 0);
  if (hub.state === "signed-out") hub.state = "paused"; // a new page may belong to a new session
  port.onmessage = ({ data }) => {
    const missesSome = hub.isRunning && data.visible && !tabs.get(port); // the tab is new, or was hidden
    if (data.kind === "bye") tabs.delete(port);
    else tabs.set(port, data.visible ? Date.now() : 0);
    if (missesSome) port.postMessage({ kind: "gap" });
    update();
  };
  port.postMessage({ kind: "state", state: hub.state });
};
setInterval(update, SILENT_MS / 2);
