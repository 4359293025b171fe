// Starts the page: the theme switch, the notice about an ended session, and the view that the body's data names.
//
// A view is a module views/NAME.js with a default export `mount(element, context)`. It renders into *element* (the
// <main>) with lit-html, and returns a promise that resolves once it shows its data. If mount throws, the page shows the
// error.
//
// The context:
//   canWrite     true if the viewer may change workflows: without it a view shows no buttons that do
//   subject, tenant, everyTenant   who is signed in, the tenant ("" if none), true if the token acts for every tenant
//   apiUrl       "/api/v1"
//   workflowId   the id in the path of the run's view, else ""
import { SIGNED_OUT } from "./lib/api.js";
import { showDecisionCount } from "./lib/decision_count.js";
import { errorNotice, html, render } from "./lib/dom.js";
import { followSession } from "./lib/other_tabs.js";
import { hasScope } from "./lib/scopes.js";
import { setUpThemeSwitch } from "./lib/theme_switch.js";

/** @returns what a view gets to know about the page and its viewer. */
function readContext() {
  const data = document.body.dataset;
  return {
    canWrite: hasScope("workflows:write"),
    subject: data.subject ?? "",
    tenant: data.tenant ?? "",
    everyTenant: data.everyTenant === "true",
    apiUrl: data.api,
    workflowId: data.workflowId ?? "",
  };
}

function showSignedOut() {
  const next = encodeURIComponent(location.pathname + location.search);
  const notice = html`<div class="notice notice-warning" role="alert">
    <p><strong>You are signed out.</strong> The session has ended, or there is none.
      <a href=${`/ui/sign-in?next=${next}`}>Sign in</a></p>
  </div>`;
  render(notice, document.getElementById("notices"));
}

async function start() {
  setUpThemeSwitch(document.getElementById("theme-switch"));
  addEventListener(SIGNED_OUT, showSignedOut);
  followSession();
  const main = document.getElementById("main");
  try {
    const view = await import(`./views/${document.body.dataset.view}.js`);
    main.replaceChildren();
    await view.default(main, readContext());
    showDecisionCount();
    requestAnimationFrame(() => setTimeout(() => performance.mark("stepwell:view-shown"))); // after the frame: for the benchmark
  } catch (error) {
    console.error(error);
    render(errorNotice(error, () => location.reload()), main);
  }
}

start();
