// The scopes of the viewer's token. The server lists them with all that they include.

/** True if the viewer's token has *scope*, or one that includes it. */
export function hasScope(scope) {
  return (document.body.dataset.scopes ?? "").split(" ").includes(scope);
}
