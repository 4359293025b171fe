// The buttons of a run's verbs. Each opens a dialog that says what the verb would do, and does it after a second click.
//
// What must hold:
// - Nothing happens before the user has seen the dry run.
// - Start, resume and cleanup are sent with the version that the dry run describes. If the run has changed since, nothing
//   happens, and the dialog shows the new dry run.
// - Pause and cancel are sent without a version: anybody can stop a busy run.
// - A request in flight belongs to the dialog that sent it. If that is closed, its response doesn't change another dialog.
import { request, send } from "../../lib/api.js";
import { announce, errorNotice, html, icon, loading, nothing, notice, render } from "../../lib/dom.js";
import { plural } from "../../lib/format.js";
import { family, nameSteps, sentencesOf, verbsOf } from "./verb_words.js";

export const VERBS = {
  start: { text: "Start", title: "Start this run?", icon: "play", primary: true, method: "POST", path: "/start", versioned: true },
  resume: { text: "Resume", title: "Resume this run?", icon: "play", primary: true, method: "POST", path: "/resume", versioned: true },
  pause: { text: "Pause", title: "Pause this run?", icon: "pause", method: "POST", path: "/pause" },
  cancel: { text: "Cancel", act: "Cancel the run", title: "Cancel this run?", icon: "stop", danger: true, method: "DELETE", path: "" },
  cleanup: { text: "Clean up", title: "Clean up this run?", danger: true, method: "POST", path: "/cleanup", versioned: true },
  delete: { text: "Delete data", act: "Delete for good", title: "Delete all data of this run?", danger: true, method: "DELETE", path: "/data" },
};

const NO_VERSION = {
  title: "Nothing was done",
  detail: "The response of the service has no ETag, so a change of the run would go unnoticed. A proxy may have removed it.",
};

/** The buttons of a run, the one that is needed first: the verb that lets the run go on, or *wait* {text, act}, which ends a wait for a
 *  person; then a new run like this one, and the other verbs that the status allows. *open* is called with the name of a verb. Without
 *  *canWrite* there is only that of the wait. */
export function verbButtons(run, { canWrite, wait, open }) {
  const verbs = canWrite ? verbsOf(run) : [];
  if (!canWrite && !wait) return nothing;
  const needed = verbs.filter((name) => VERBS[name].primary);
  const button = (name) => {
    const verb = VERBS[name];
    return html`<button type="button" class="button ${verb.primary ? "button-primary" : ""} ${name === "cancel" ? "button-danger" : ""}"
      data-verb=${name} @click=${() => open(name)}>${verb.icon ? icon(verb.icon) : nothing}${verb.text}</button>`;
  };
  return html`<div class="actions" role="group" aria-label="Actions">
    ${needed.map(button)}
    ${wait ? html`<button type="button" class="button ${needed.length ? "" : "button-primary"}" @click=${wait.act}>${wait.text}</button>` : nothing}
    ${canWrite ? html`<a class="button" href=${`/ui/new?${new URLSearchParams({ from: run.id })}`}>Run again…</a>` : nothing}
    ${verbs.filter((name) => !needed.includes(name)).map(button)}</div>`;
}

/** The dialog of one verb at a time. */
export class VerbDialog {
  /** @param onDone called after a verb took effect, with its name */
  constructor(element, path, onDone) {
    this.element = element;
    this.path = path;
    this.onDone = onDone;
    this.element.setAttribute("aria-labelledby", "verb-title");
    this.element.addEventListener("close", () => this.requests?.abort());
  }

  async open(name) {
    this.name = name;
    this.verb = VERBS[name];
    this.changed = false;
    this.busy = false;
    this.error = null;
    const { signal } = (this.requests = new AbortController());
    this.dry = null;
    this.draw();
    this.element.showModal();
    await this.readDryRun();
    if (signal.aborted) return;
    this.element.querySelector(this.verb.danger ? "[data-close]" : "[data-act]")?.focus();
  }

  async readDryRun() {
    const { signal } = this.requests;
    this.dry = null;
    this.version = null;
    this.draw();
    // Deletion has no dry run: that of cleanup counts the files.
    const { method, path } = this.name === "delete" ? VERBS.cleanup : this.verb;
    try {
      const { data, headers } = await request(this.path + path, { method, query: { dry_run: true }, signal });
      if (signal.aborted) return;
      this.dry = data;
      this.version = headers.get("ETag");
      announce(`${this.verb.title} ${this.sentences().map((each) => each.text).join(". ")}`);
    } catch (error) {
      if (signal.aborted) return;
      this.error = error;
    }
    this.draw();
  }

  sentences() {
    if (this.name !== "delete") return sentencesOf(this.dry);
    const all = family(this.dry);
    const [toDelete, toKeep] = [all.flatMap((each) => each.files_to_delete), all.flatMap((each) => each.files_kept)];
    const tasks = all.reduce((sum, each) => sum + each.tasks, 0);
    const waits = this.dry.status_now === "PENDING" || this.dry.status_now === "PAUSED";
    return [
      ...(waits ? [{ text: "The run is cancelled first", steps: [] }] : []),
      { text: `The run, its events, its webhooks and ${plural(tasks, "attempt")} are deleted for good`, steps: [] },
      { text: toDelete.length ? `${plural(toDelete.length, "file")} ${toDelete.length === 1 ? "is" : "are"} deleted` : "No file is deleted", steps: [] },
      ...(toKeep.length ? [{ text: `${plural(toKeep.length, "file")} stay until the runs that name them are deleted`, steps: [] }] : []),
      { text: "Nobody can undo this", steps: [] },
    ];
  }

  act = async () => {
    if (this.busy || !this.dry) return;
    const { name, verb, version } = this;
    const { signal } = this.requests; // it is aborted when this dialog is closed; the verb is sent nevertheless
    if (verb.versioned && !version) {
      this.error = NO_VERSION;
      this.draw();
      return;
    }
    this.busy = true;
    this.error = null;
    this.draw();
    try {
      await send(verb.method, this.path + verb.path, { headers: verb.versioned ? { "If-Match": version } : {} });
      if (!signal.aborted) this.element.close();
      announce(`${verb.text}: done.`);
      this.onDone(name);
    } catch (error) {
      if (signal.aborted) announce(`${verb.text}: ${error.title ?? error.message}`);
      else await this.onFailure(error);
    }
  };

  async onFailure(error) {
    this.busy = false;
    this.changed = error.status === 412;
    if (this.changed) await this.readDryRun();
    else this.error = error;
    this.draw();
  }

  draw() {
    const { verb, dry, error, busy } = this;
    render(html`
      <h2 id="verb-title">${verb.title}</h2>
      ${this.changed ? notice("warning", "The run has changed meanwhile, so nothing was done.",
        html`<p>This is what would happen now:</p>`) : nothing}
      ${error ? errorNotice(error) : nothing}
      ${dry ? html`<ul class="verb-effects">${this.sentences().map(({ text, steps }) => html`<li>${text}${steps.length
        ? html`<span class="dim verb-steps break">${nameSteps(steps)}</span>` : nothing}</li>`)}</ul>`
        : error ? nothing : loading("Asking the service what would happen…")}
      <div class="actions">
        <button type="button" class="button" data-close @click=${() => this.element.close()}>Don't ${verb.text.toLowerCase()}</button>
        <button type="button" class="button ${verb.danger ? "button-danger" : "button-primary"}" data-act ?disabled=${!dry || busy}
          @click=${this.act}>${busy ? "Working…" : verb.act ?? verb.text}</button>
      </div>`, this.element);
  }
}
