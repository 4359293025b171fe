// The other tabs of the browser, which share the session: once somebody signs out or somebody else signs in, they are
// loaded again. Else they would show the data of one user, and act as another.

const CHANNEL = "stepwell-session";

/** Tells the other tabs who is signed in, and loads this page again once that is somebody else, or nobody. */
export function followSession() {
  const { session, subject, tenant, everyTenant, scopes } = document.body.dataset;
  if (session !== "true" || typeof BroadcastChannel !== "function") return; // by a token, or in an old browser
  const viewer = JSON.stringify([subject, tenant, everyTenant, scopes]);
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = async ({ data }) => {
    if (data.kind === "signed-in" ? data.viewer !== viewer : await isSignedOut()) reload();
  };
  channel.postMessage({ kind: "signed-in", viewer });
}

/** Tells the other tabs that the session has ended. */
export function tellSignedOut() {
  if (typeof BroadcastChannel === "function") new BroadcastChannel(CHANNEL).postMessage({ kind: "signed-out" });
}

/** Loads the page again, without a dialog about unsaved changes: their user is signed out. */
function reload() {
  addEventListener("beforeunload", (event) => event.stopImmediatePropagation(), { capture: true });
  location.reload();
}

/** A link of another page may lead to the page that says "signed out", so ask the service, which redirects to sign-in. */
async function isSignedOut() {
  try {
    return (await fetch(location.pathname, { method: "HEAD", redirect: "manual" })).type === "opaqueredirect";
  } catch {
    return false;
  }
}
