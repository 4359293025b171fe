// Uploads with progress, and files that are dropped onto an element.
import { ApiError, apiUrl, readError } from "./api.js";

/** Sends *file* and returns the API's artifact: {path, name, size, …}. *tenant*: the one that the file is for, if the token acts for
 *  all. *onProgress* gets the part that is sent, 0 to 1.
 *  Throws an ApiError; an aborted upload throws an AbortError. fetch reports no progress, so this is an XMLHttpRequest. */
export function upload(file, { onProgress = () => {}, signal, tenant } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", apiUrl("/artifacts", { name: file.name, origin_tenant_id: tenant }));
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Content-Type", "application/octet-stream"); // the service reads the type from the bytes
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
    request.addEventListener("load", () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText).artifacts[0]);
      else responseError(request).then(reject);
    });
    request.addEventListener("error", () => reject(new ApiError(0, {
      title: "The upload broke off",
      detail: "The service can't be reached, or has refused the file before it was sent. Try again.",
    })));
    request.addEventListener("abort", () => reject(new DOMException("The upload was stopped.", "AbortError")));
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

function responseError(request) {
  const headers = new Headers();
  for (const name of ["Content-Type", "Retry-After"]) {
    const value = request.getResponseHeader(name);
    if (value) headers.set(name, value);
  }
  return readError(new Response(request.responseText, { status: request.status, headers }));
}

/** Calls *onFiles* with the files that are dropped onto *element*, and the event. The class `dropping` is set while files
 *  are dragged over it. */
export function acceptDrops(element, onFiles) {
  let depth = 0; // dragenter and dragleave come for each child, too
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const change = (by) => {
    depth = by === null ? 0 : Math.max(0, depth + by);
    element.classList.toggle("dropping", depth > 0);
  };
  element.addEventListener("dragenter", (event) => hasFiles(event) && change(1));
  element.addEventListener("dragleave", (event) => hasFiles(event) && change(-1));
  element.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  element.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.stopPropagation(); // an editor would insert what is in a text file
    change(null);
    onFiles([...event.dataTransfer.files], event);
  }, { capture: true });
}
