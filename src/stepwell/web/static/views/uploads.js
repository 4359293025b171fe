// The view "Uploads": the uploaded files, their paths for definitions, and uploads by dropping or by a file dialog.
import { getJson, isAbort, request, send } from "../lib/api.js";
import { noteServiceTime, serviceNow } from "../lib/clock.js";
import { copyButton } from "../lib/copy.js";
import { confirm } from "../lib/dialog.js";
import { announce, emptyState, errorNotice, html, icon, loading, nothing, render, repeat } from "../lib/dom.js";
import { ago, bytes, dateTime, duration, number, percent, plural } from "../lib/format.js";
import { fileUrl, thumbnail } from "../lib/outputs.js";
import { acceptDrops, upload } from "../lib/upload.js";

const PAGE = 50;

export default async function mount(element, context) {
  await new UploadsView(element, context).start();
}

class UploadsView {
  constructor(element, context) {
    Object.assign(this, { element, context, files: null, total: 0, use: null, error: null, sending: [] });
  }

  async start() {
    if (this.context.canWrite) acceptDrops(document.body, (files) => this.upload(files));
    await this.load();
  }

  /** Reads the first page; with *more*, the one after what is shown. */
  load = async (more = false) => {
    this.draw();
    try {
      const query = { skip: more ? this.files.length : 0, limit: PAGE };
      const [{ data: page, headers }, limits] = await Promise.all([request("/artifacts", { query }), getJson("/limits")]);
      noteServiceTime(headers);
      const known = more ? this.files : [];
      const paths = new Set(known.map((each) => each.path));
      this.files = [...known, ...page.artifacts.filter((each) => !paths.has(each.path))];
      Object.assign(this, { total: page.total, use: limits.uploads, error: null });
    } catch (error) {
      Object.assign(this, { error, retry: () => this.load(more) });
    }
    this.draw();
  };

  async upload(files) {
    const added = files.map((file) => ({ file, progress: 0, error: null, stop: new AbortController() }));
    this.sending.push(...added);
    this.draw();
    for (const each of added) await this.sendOne(each); // one by one: each gets the whole bandwidth
    await this.load();
  }

  async sendOne(each) {
    const onProgress = (progress) => {
      each.progress = progress;
      this.draw();
    };
    try {
      each.stop.signal.throwIfAborted();
      const stored = await upload(each.file, { onProgress, signal: each.stop.signal });
      announce(`${stored.name} is uploaded.`);
      this.forget(each);
    } catch (error) {
      if (isAbort(error)) this.forget(each);
      else each.error = error;
    }
    this.draw();
  }

  forget(each) {
    this.sending = this.sending.filter((other) => other !== each);
    this.draw();
  }

  async remove(file) {
    const sure = await confirm(`Delete ${file.name}?`, html`<p>The file is deleted for good. Its path
      <code class="break">${file.path}</code> names nothing then.</p>`, { action: "Delete", danger: true });
    if (!sure) return;
    try {
      await send("DELETE", `/artifacts/${file.path}`);
      announce(`${file.name} is deleted.`);
      await this.load();
    } catch (error) {
      Object.assign(this, { error, retry: undefined });
      this.draw();
    }
  }

  draw() {
    const { canWrite } = this.context;
    render(html`
      <div class="view-header"><h1>Uploads</h1>${this.use ? html`<span class="dim">${plural(this.use.used, "file")} of
        ${number(this.use.limit)}, ${bytes(this.use.used_bytes)} of ${bytes(this.use.limit_bytes)}</span>` : nothing}</div>
      <div class="stack">
        ${canWrite ? this.dropZone() : html`<p class="dim">Your token may only read. To upload or delete files, it needs
          the scope <code>workflows:write</code>.</p>`}
        ${this.sending.length ? html`<ul class="sending">${repeat(this.sending, (each) => each, (each) => this.sendingRow(each))}</ul>`
          : nothing}
        ${this.error ? errorNotice(this.error, this.retry) : nothing}
        ${this.files === null ? (this.error ? nothing : loading()) : this.files.length ? this.table() : emptyState(
          "There are no uploads yet.", html`<p>A step can read a file of yours once it is uploaded: put its path into an
          input whose name ends in <code>_url</code>.</p>`)}
      </div>`, this.element);
  }

  dropZone() {
    const choose = (event) => {
      this.upload([...event.target.files]);
      event.target.value = "";
    };
    return html`<div class="drop-zone">${icon("upload")}
      <p>Drop files anywhere on this page, or
        <label class="button">Choose files<input type="file" multiple class="visually-hidden" @change=${choose}></label></p>
      <p class="dim">Images, videos, sounds, JSON and text</p></div>`;
  }

  sendingRow(each) {
    const { file, error, progress } = each;
    return html`<li class="card sending-row">
      <span class="break">${file.name} <span class="dim">${bytes(file.size)}</span></span>
      ${error ? html`<span class="field-error break" role="alert">${error.title}: ${error.detail || error.faults[0]?.message}</span>`
        : html`<span class="progress"><progress max="1" .value=${progress} aria-label=${`Upload of ${file.name}`}></progress>
          <span class="progress-text">${percent(100 * progress)}</span></span>`}
      <button type="button" class="icon-button" title=${error ? "Dismiss" : "Stop"}
        aria-label=${`${error ? "Dismiss" : "Stop"} the upload of ${file.name}`}
        @click=${() => (error ? this.forget(each) : each.stop.abort())}>${icon("close")}</button></li>`;
  }

  table() {
    return html`<div class="table-frame" tabindex="0" role="region" aria-label="Uploaded files"><table class="uploads" role="table">
      <thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col"><span class="visually-hidden">Preview</span></th>
        <th role="columnheader" scope="col">Name and path</th><th role="columnheader" scope="col">Type</th>
        <th role="columnheader" scope="col" class="number">Size</th><th role="columnheader" scope="col">Uploaded</th>
        <th role="columnheader" scope="col" title="A file that a workflow names stays">Expires</th>
        ${this.context.canWrite ? html`<th role="columnheader" scope="col"><span class="visually-hidden">Delete</span></th>` : nothing}</tr></thead>
      <tbody role="rowgroup">${repeat(this.files, (each) => each.path, (each) => this.row(each))}</tbody>
    </table></div>
    ${this.files.length < this.total ? html`<p><button type="button" class="button" @click=${() => this.load(true)}>Show more
      (${number(this.total - this.files.length)})</button></p>` : nothing}`;
  }

  row(file) {
    const size = file.width ? `${file.width} × ${file.height}` : "";
    return html`<tr role="row">
      <td role="cell" class="upload-thumb"><a href=${fileUrl(file.path)} target="_blank" rel="noopener" tabindex="-1" aria-hidden="true">${thumbnail({ path: file.path }, "")}</a></td>
      <td role="cell" class="upload-name"><a class="break" href=${fileUrl(file.path)} target="_blank" rel="noopener">${file.name}</a>
        <div class="upload-path"><code class="truncate" title=${file.path}>${file.path}</code>${copyButton(file.path, `Copy the path of ${file.name}`)}</div></td>
      <td role="cell" class="upload-type"><span class="nowrap">${file.media_type}</span>${size ? html`<div class="dim nowrap">${size}</div>` : nothing}</td>
      <td role="cell" class="number">${bytes(file.size)}</td>
      <td role="cell" class="nowrap upload-created"><time datetime=${file.created_at} title=${dateTime(file.created_at)}>${ago(file.created_at)}</time></td>
      <td role="cell" class="nowrap upload-expires"><time datetime=${file.expires_at} title=${dateTime(file.expires_at)}>${expiry(file.expires_at)}</time></td>
      ${this.context.canWrite ? html`<td role="cell" class="upload-delete"><button type="button" class="icon-button" aria-label=${`Delete ${file.name}`} title="Delete"
        @click=${() => this.remove(file)}>${icon("bin")}</button></td>` : nothing}
    </tr>`;
  }
}

function expiry(text) {
  const leftMs = Date.parse(text) - serviceNow();
  return leftMs > 0 ? `in ${duration(leftMs)}` : "once no workflow names it";
}
