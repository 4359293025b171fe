// Downloads: the browser stores a file under a name.

const KEPT_MS = 60_000; // a browser may begin to read the data of a download late

/** Lets the browser store what *url* leads to as *name*. */
export function downloadUrl(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}

/** Lets the browser store *text*, which is of the media type *type*, as *name*. */
export function downloadText(text, name, type = "text/plain") {
  const url = URL.createObjectURL(new Blob([text], { type }));
  downloadUrl(url, name);
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
}
