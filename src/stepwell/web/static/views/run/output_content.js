// An output itself, as large as its container: an image, a video, a sound, a text, or a sign for what isn't shown.
//
// Nothing but images and videos is rendered by the browser. An SVG is an <img>, in which no script runs; HTML and all
// else is a file to download.
import { html, icon, nothing } from "../../lib/dom.js";
import { downloadText, downloadUrl } from "../../lib/download.js";
import { pretty, tryParseJson } from "../../lib/json.js";
import { fileUrl } from "../../lib/outputs.js";

const READ_BYTES = 256 * 1024;
const CARD_CHARS = 4_000;
const MOST_CHARS = 200_000;
const PREVIEW_PX = 512;
const LARGEST_PREVIEW_PX = 1024;
const NEEDS_PREVIEW = /\.(heic|tiff?)$/i; // formats that hardly any browser shows
const files = new Map(); // the beginnings of text files that were read, by path: {text, cut, error, isDeleted}

/** What *output* is in words: "Image of draw". */
export function outputTitle(output) {
  const kinds = { image: "Image", video: "Video", sound: "Sound", text: "Text", json: "JSON", file: "File" };
  return `${kinds[output.kind]} of ${output.stepPath}`;
}

/** The content of *output*. *large*: not as a preview. *draw* is called once a text file was read. */
export function outputContent(output, { large = false, draw = () => {} } = {}) {
  switch (output.kind) {
    case "image": return image(output, large);
    case "video": return html`<video class="output-media" src=${fileUrl(output.path)} controls playsinline
      preload="metadata" aria-label=${outputTitle(output)} @error=${onBroken}></video>`;
    case "sound": return html`<div class="output-sound">${icon("sound")}<audio src=${fileUrl(output.path)} controls
      preload="none" aria-label=${outputTitle(output)}></audio></div>`;
    case "text":
    case "json": return text(output, large, draw);
    default: return html`<div class="output-sign">${icon("file")}<span>This kind of file isn't shown. Download it.</span></div>`;
  }
}

function image(output, large) {
  const width = large ? (NEEDS_PREVIEW.test(output.path) ? LARGEST_PREVIEW_PX : undefined)
    : output.whole ? undefined : PREVIEW_PX;
  return html`<img class="output-media" src=${fileUrl(output.path, { width })} alt=${outputTitle(output)}
    loading=${large ? "eager" : "lazy"} decoding="async" draggable="false" @load=${onFine} @error=${onBroken}>`;
}

function onFine({ target }) {
  target.parentElement.classList.remove("output-broken");
}

function onBroken({ target }) {
  target.parentElement.classList.add("output-broken");
}

function text(output, large, draw) {
  const { text, cut, error, isDeleted } = output.path ? fileText(output, draw) : { text: output.text };
  if (error) return html`<div class="output-sign">${icon("file")}<span>${error}</span>${isDeleted ? nothing : html`
    <button type="button" class="button" @click=${() => { files.delete(output.path); draw(); }}>Try again</button>`}</div>`;
  if (text === undefined) return html`<p class="loading" role="status">Loading…</p>`;
  const chars = large ? MOST_CHARS : CARD_CHARS;
  const more = cut || text.length > chars;
  return html`<pre class="output-text ${output.kind === "json" ? "output-json" : ""}" tabindex="0" role="region"
    aria-label=${outputTitle(output)}>${text.slice(0, chars)}${more ? html`<span class="dim">
… Download it to read all.</span>` : nothing}</pre>`;
}

/** The beginning of a text file. It is read once, and after an error once more for each "Try again". */
function fileText(output, draw) {
  const known = files.get(output.path);
  if (known) return known;
  files.set(output.path, {});
  readBeginning(output).then((content) => {
    files.set(output.path, content);
    draw();
  });
  return {};
}

async function readBeginning({ path, kind }) {
  try {
    const response = await fetch(fileUrl(path), { headers: { Range: `bytes=0-${READ_BYTES - 1}` } });
    if (response.status === 416) return { text: "", cut: false }; // an empty file
    if (response.status === 404) return { error: "The file was deleted.", isDeleted: true };
    if (!response.ok) return { error: `The file can't be read: the service responded with ${response.status}.` };
    const size = Number(response.headers.get("Content-Range")?.split("/")[1]);
    const [text, cut] = [await response.text(), size > READ_BYTES];
    const value = kind === "json" && !cut ? tryParseJson(text) : undefined;
    return { text: value === undefined ? text : pretty(value), cut };
  } catch {
    return { error: "The file can't be read: the service can't be reached." };
  }
}

/** Lets the browser store *output* as *name*. */
export function download(output, name) {
  if (output.path) downloadUrl(fileUrl(output.path), name);
  else downloadText(output.text, name);
}
