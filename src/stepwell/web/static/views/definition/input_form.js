// The form of a definition's inputs: a control for each field of form_model.js, with the messages about it.
import { isAbort } from "../../lib/api.js";
import { announce, html, icon, noChange, nothing, ref, repeat } from "../../lib/dom.js";
import { percent } from "../../lib/format.js";
import { pretty } from "../../lib/json.js";
import { isArtifactPath, thumbnail } from "../../lib/outputs.js";
import { acceptDrops, upload } from "../../lib/upload.js";
import { fieldAt } from "./form_model.js";

const TEXT_TYPES = { date: "date", email: "email", uri: "url" }; // by the format of the schema
const NOT_A_NUMBER = "NaN"; // the value of a field whose control has a text that is none

export class InputForm {
  /** *root*: the form of form_model.js. *onChange* is called after each change of a value, *redraw* shows the form again. */
  constructor(root, { canUpload, tenant, onChange, redraw }) {
    Object.assign(this, { root, canUpload, tenant, onChange, redraw, messages: new Map(), sending: new Map(), refused: new Map() });
  }

  /** Shows *faults*, {loc, message} each, at their fields. */
  showFaults(faults) {
    this.messages.clear();
    for (const { loc, message } of faults) {
      const [field, rest] = fieldAt(this.root, loc);
      const all = this.messages.get(field.id) ?? [];
      this.messages.set(field.id, [...all, rest.length ? `${rest.join(".")}: ${message}` : message]);
    }
  }

  /** The form as a template. */
  content() {
    const { root } = this;
    return root.kind === "object" ? html`${this.notes(root)}${root.fields.map((each) => this.field(each))}` : this.field(root);
  }

  field(field, label = field.title) {
    const { id, kind, isRequired } = field;
    const mark = isRequired && field.name ? html` <span class="input-required" aria-hidden="true">required</span>` : nothing;
    if (kind === "object" || kind === "list") {
      return html`<fieldset class="card input-group" aria-describedby=${`notes-${id}`}><legend>${label}${mark}</legend>${this.notes(field)}
        ${kind === "object" ? field.fields.map((each) => this.field(each)) : this.list(field, label)}</fieldset>`;
    }
    const isBox = kind === "yes/no" && typeof field.first === "boolean";
    return html`<div class="field ${isBox ? "input-box" : ""}"><div><label for=${`input-${id}`}>${label}</label>${mark}</div>${
      this.control(field, label, isBox)}${this.notes(field)}</div>`;
  }

  notes(field) {
    const { id, description, hint, kind, schema } = field;
    const text = [description, hint].filter(Boolean).join(" · ");
    const messages = [this.refused.get(id) ?? [], this.messages.get(id) ?? []].flat();
    const hasSchema = kind === "json" && Object.keys(schema ?? {}).length;
    return html`<div id=${`notes-${id}`} class="input-notes">${text ? html`<p class="dim small break">${text}</p>` : nothing}${
      messages.map((each) => html`<p class="field-error break">${each}</p>`)}${
      hasSchema ? html`<details class="small"><summary>Schema</summary><pre>${pretty(schema)}</pre></details>` : nothing}</div>`;
  }

  control(field, label, isBox) {
    const { id, isRequired, kind, schema, value } = field;
    const isNumber = kind === "number" || kind === "integer";
    const [key, notes, isInvalid] = [`input-${id}`, `notes-${id}`, this.messages.has(id)];
    const example = kind === "file" ? "Path or URL" : kind === "json" ? "" : [schema.examples?.[0] ?? ""].flat().join(", ");
    const onInput = ({ target }) => this.set(field, target.validity.badInput ? NOT_A_NUMBER : target.value);
    if (isBox) {
      return html`<input type="checkbox" id=${key} aria-describedby=${notes} .checked=${value === "true"}
        @change=${({ target }) => this.set(field, String(target.checked))}>`;
    }
    if (kind === "choice" || kind === "yes/no") {
      const texts = field.choices?.map((each) => (typeof each === "string" ? each : JSON.stringify(each)));
      const options = [["", "–"], ...(texts ? texts.map((text, index) => [String(index), text]) : [["true", "Yes"], ["false", "No"]])];
      return html`<select id=${key} aria-describedby=${notes} aria-invalid=${isInvalid} ?required=${isRequired} @change=${onInput}>
        ${options.map(([each, text]) => html`<option value=${each} .selected=${each === value}>${text}</option>`)}</select>`;
    }
    if (kind === "json" || field.isLong) {
      return html`<textarea id=${key} rows=${kind === "json" ? 4 : 1} class=${kind === "json" ? "mono" : ""} spellcheck=${kind !== "json"} placeholder=${example}
        aria-describedby=${notes} aria-invalid=${isInvalid} ?required=${isRequired} .value=${value} @input=${onInput}></textarea>`;
    }
    const input = html`<input id=${key} type=${isNumber ? "number" : TEXT_TYPES[schema.format] ?? "text"} autocomplete="off" placeholder=${example}
      min=${schema.minimum ?? nothing} max=${schema.maximum ?? nothing} step=${isNumber ? schema.multipleOf ?? (kind === "integer" ? 1 : "any") : nothing}
      aria-describedby=${notes} aria-invalid=${isInvalid} ?required=${isRequired} @input=${onInput} .value=${isNumber && value === NOT_A_NUMBER ? noChange : value}>`;
    return kind === "file" ? this.fileControl(field, label, input) : input;
  }

  fileControl(field, label, input) {
    const { id, schema, value } = field;
    const sent = this.sending.get(id);
    return html`<div class="input-file" ${ref(this.dropsTo(field))}>
      ${isArtifactPath(value) ? thumbnail({ path: value }, `Preview of ${value.split("/").pop()}`) : nothing}${input}${this.uploadButton(field, label, schema)}
      ${sent ? html`<span class="progress"><progress max="1" .value=${sent.progress} aria-label=${`Upload of ${sent.name}`}></progress>
        <span class="progress-text">${percent(100 * sent.progress)}</span></span>` : nothing}</div>`;
  }

  uploadButton(field, label, { contentMediaType }) {
    const choose = ({ target }) => {
      this.upload(field, [...target.files]);
      target.value = "";
    };
    return this.canUpload ? html`<label class="button upload-button">${icon("upload")}Upload<input type="file" class="visually-hidden"
      aria-label=${`Upload ${label}`} ?multiple=${field.kind === "list"} accept=${contentMediaType ?? nothing} @change=${choose}></label>` : nothing;
  }

  list(field, label) {
    const { fileSchema, id, items } = field;
    const add = () => {
      const item = field.addItem();
      this.onChange();
      document.querySelector(`[data-item="${item.id}"] :is(input, select, textarea)`)?.focus();
    };
    const remove = (item) => {
      items.splice(items.indexOf(item), 1);
      this.sending.get(item.id)?.stop.abort();
      this.onChange();
      document.getElementById(`add-${id}`)?.focus();
    };
    const name = (item) => `${item.title || label} ${items.indexOf(item) + 1}`;
    return html`<ol class="input-items" ${ref(fileSchema ? this.dropsTo(field) : undefined)}>${repeat(items, (each) => each.id, (each) => html`
      <li data-item=${each.id}>${this.field(each, name(each))}<button type="button" class="icon-button" title="Remove"
        aria-label=${`Remove ${name(each)}`} @click=${() => remove(each)}>${icon("bin")}</button></li>`)}</ol>
      <div class="row"><button type="button" class="button" id=${`add-${id}`} aria-label=${`Add to ${label}`} @click=${add}>Add</button>
        ${fileSchema ? this.uploadButton(field, label, fileSchema) : nothing}</div>`;
  }

  /** A callback for `ref`, which lets the element accept files for *field*. */
  dropsTo(field) {
    return (element) => {
      if (!element || !this.canUpload || element.dataset.drops) return;
      element.dataset.drops = field.id;
      acceptDrops(element, (files) => this.upload(field, files));
    };
  }

  set(field, value) {
    field.value = value;
    this.refused.delete(field.id);
    this.onChange();
  }

  /** Uploads *files*: the first one for a file, all for a list of files. */
  async upload(field, files) {
    const added = field.kind === "list" ? files.map((file) => [field.addItem(), file]) : files.slice(0, 1).map((file) => [field, file]);
    for (const [each, file] of added) await this.uploadOne(each, file);
  }

  async uploadOne(field, file) {
    const sent = { name: file.name, progress: 0, stop: new AbortController() };
    const onProgress = (progress) => {
      sent.progress = progress;
      this.redraw();
    };
    this.sending.set(field.id, sent);
    onProgress(0);
    try {
      const stored = await upload(file, { onProgress, signal: sent.stop.signal, tenant: this.tenant });
      const wanted = field.schema.contentMediaType ?? "*"; // like "image/png" or "image/*"
      const fits = wanted.endsWith("*") ? stored.media_type.startsWith(wanted.slice(0, -1)) : stored.media_type.split(";")[0] === wanted;
      if (!fits) throw new Error(`Expected ${wanted}, ${file.name} is ${stored.media_type}`);
      announce(`${stored.name} is uploaded.`);
      field.value = stored.path;
      this.refused.delete(field.id);
    } catch (error) {
      if (!isAbort(error)) this.refused.set(field.id, error.faults?.[0]?.message ?? error.message);
    }
    this.sending.delete(field.id);
    this.onChange();
  }
}
