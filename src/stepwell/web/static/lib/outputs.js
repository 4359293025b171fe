// Outputs: the files that a result names, their kinds and URLs, and thumbnails.
import { html, icon, keyed, ref } from "./dom.js";
import { API } from "./api.js";

const PATH = /^media\/[0-9a-f-]{36}\/[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;
const KINDS = {
  image: ["png", "apng", "jpg", "jpeg", "webp", "gif", "avif", "bmp", "heic", "tif", "tiff", "svg"],
  video: ["mp4", "m4v", "webm", "mov", "mkv", "avi", "mpg", "mpeg", "3gp"],
  sound: ["mp3", "m4a", "wav", "ogg", "oga", "opus", "flac", "aac", "aiff", "aif", "amr"],
  text: ["txt", "json"],
};
const KIND_OF = new Map(Object.entries(KINDS).flatMap(([kind, all]) => all.map((suffix) => [suffix, kind])));

/** True if *value* is the path of a file of this service. */
export function isArtifactPath(value) {
  return typeof value === "string" && PATH.test(value);
}

/** "image", "video", "sound", "text" or "file", by the suffix of the path. */
export function kindOf(path) {
  return KIND_OF.get(path.slice(path.lastIndexOf(".") + 1).toLowerCase()) ?? "file";
}

/** The URL of a file. *width* (64, 256, 512, 1024): of an image's preview, which an SVG doesn't need and doesn't have.
 *  *download*: the browser stores it. An SVG is an attachment: show it with <img> only. */
export function fileUrl(path, { width, download = false } = {}) {
  const parameters = new URLSearchParams();
  if (width && !path.toLowerCase().endsWith(".svg")) parameters.set("w", String(width));
  if (download) parameters.set("download", "1");
  const text = parameters.toString();
  return `${API}/artifacts/${path}${text ? `?${text}` : ""}`;
}

/** The paths of all files that a step's result names, the first image or video first. */
export function filesOf(result) {
  const paths = new Set();
  const visit = (value, depth) => {
    if (isArtifactPath(value)) paths.add(value);
    else if (value !== null && typeof value === "object" && depth < 8) {
      for (const each of Object.values(value)) visit(each, depth + 1);
    }
  };
  visit(result?.result_video_path ?? null, 0);
  visit(result?.result_image_path ?? null, 0);
  visit(result, 0);
  return [...paths];
}

/** What *result* shows of itself: its first image or video, or else its first file. For a sub-workflow, it is one of
 *  the sub-workflow's own final result. */
export function shownFile(result) {
  const paths = filesOf(finalPart(result));
  return paths.find((path) => ["image", "video"].includes(kindOf(path))) ?? paths[0];
}

function finalPart(value) {
  if (Array.isArray(value?.items)) return value.items.map(finalPart);
  return value?.results && value.workflow_id ? finalPart(value.final) : value;
}

/** A small picture of what a step's result contains: an image, the first frame of a video, or an icon of its kind.
 *  *alt* names it. *widths*: of an image's previews, for screens of normal and of high density. Another file gets another element: one
 *  that was hidden as broken stays hidden. */
export function thumbnail(result, alt, widths = [64, 256]) {
  const path = shownFile(result);
  const shown = path ? kindOf(path) : null;
  if (shown === "image") {
    const [coarse, fine] = widths.map((width) => fileUrl(path, { width }));
    return keyed(path, html`<span class="thumb"><img src=${coarse} srcset=${`${coarse}, ${fine} 1.5x`} alt=${alt} loading="lazy"
      decoding="async" @error=${hideBroken}></span>`);
  }
  if (shown === "video") {
    return keyed(path, html`<span class="thumb thumb-video"><video data-src=${`${fileUrl(path)}#t=0.1`} aria-label=${alt} muted
      playsinline preload="metadata" tabindex="-1" @error=${hideBroken} ${ref(loadOnceVisible)}></video></span>`);
  }
  const kind = path ? kindOf(path) : typeof result?.result_text === "string" ? "text" : result ? "file" : null;
  if (kind === null) return html`<span class="thumb thumb-empty"></span>`;
  return html`<span class="thumb thumb-${kind}" role="img" aria-label=${`${alt}: ${kind}`}>${icon(kind)}</span>`;
}

// A video has no attribute `loading`: it is loaded once it is near the visible part of the page.
const visibility = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    visibility.unobserve(target);
    target.src = target.dataset.src;
  }
}, { rootMargin: "200px" });

function loadOnceVisible(video) {
  if (video && video.src === "") visibility.observe(video);
}

/** An image that can't be shown (deleted by a cleanup, or damaged) leaves its frame: the tab "Outputs" says why. For lit-html's
 *  `@error`, in a template that is keyed by the file. */
export function hideBroken({ target }) {
  target.closest(".thumb")?.classList.add("thumb-broken");
  target.hidden = true;
}

