// The editor of a definition: CodeMirror for JSON.
//
// It is in a shadow root, so that its styles are adopted style sheets, which the page's policy allows.
import {
  autocompletion, bracketMatching, closeBrackets, closeBracketsKeymap, completionKeymap, EditorState, EditorView,
  ensureSyntaxTree, HighlightStyle, history, historyKeymap, json, keymap, linter, lineNumbers, lintGutter,
  standardKeymap, syntaxHighlighting, tags,
} from "../../vendor/codemirror.js";
import { completionSource } from "./completion.js";
import { rangeOf } from "./json_text.js";

const PAUSE_MS = 400; // between the last key and the check
const PARSE_MS = 500;
// Faults about a member itself, not about its value.
const OF_NAME = new Set(["extra_forbidden", "mistyped_member", "ignored_member", "duplicate_key"]);

const COLOURS = HighlightStyle.define([
  { tag: tags.propertyName, color: "var(--accent)" },
  { tag: tags.string, color: "var(--ink)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--running)" },
]);
const THEME = EditorView.theme({
  "&": { height: "100%", color: "var(--ink)", backgroundColor: "var(--card)", fontSize: "13px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "20px" },
  ".cm-content": { padding: "8px 0", caretColor: "var(--ink)" },
  ".cm-gutters": { color: "var(--dim)", backgroundColor: "var(--card)", border: "none" },
  ".cm-lineNumbers .cm-gutterElement": { minWidth: "28px", padding: "0 4px 0 8px" },
  ".cm-gutter-lint": { width: "20px" },
  ".cm-gutter-lint .cm-gutterElement": { padding: "2px" },
  "&.cm-focused .cm-matchingBracket": { backgroundColor: "var(--accent-soft)", outline: "1px solid var(--accent)" },
  ".cm-tooltip": {
    color: "var(--ink)", backgroundColor: "var(--card)", border: "1px solid var(--line-strong)", borderRadius: "6px",
    maxWidth: "min(480px, 90vw)", overflow: "hidden",
  },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "13px", maxHeight: "240px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "4px 8px", lineHeight: "18px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { color: "var(--accent-ink)", background: "var(--accent)" },
  ".cm-completionMatchedText": { textDecoration: "none", fontWeight: "700" },
  ".cm-completionDetail": { fontStyle: "normal", opacity: ".8", marginLeft: "12px" },
  ".cm-completionIcon": { display: "none" },
  ".cm-tooltip.cm-completionInfo": { padding: "6px 8px", fontFamily: "var(--sans)" },
  ".cm-diagnostic": { padding: "6px 10px", fontFamily: "var(--sans)", whiteSpace: "pre-wrap", overflowWrap: "anywhere" },
  ".cm-diagnostic-error": { borderLeft: "4px solid var(--failed)" },
  ".cm-diagnostic-warning": { borderLeft: "4px solid var(--paused)" },
});

/** An editor in *host*. *check(text)* returns a promise of {faults, warnings, …} for a JSON text, each {loc, message, type};
 *  null if another check replaces it.
 *  onChecked({marks, checked}) is called once the text that is in the editor was checked: *marks* are what is shown in it,
 *  {line, message, severity, from}, and *checked* is what *check* returned; null if the text isn't JSON. */
export class DefinitionEditor {
  constructor(host, { text, schema, check, onChange, onChecked, onRun, readOnly }) {
    this.positions = new Set(); // that move with the text around them
    const root = host.attachShadow({ mode: "open" });
    Object.assign(this, { checkText: check, onChecked });
    const lint = linter((view) => this.check(view, check, onChecked), { delay: PAUSE_MS });
    this.view = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: text,
        extensions: [
          lineNumbers(), lintGutter(), history(), bracketMatching(), closeBrackets(), json(), lint,
          autocompletion({ override: [completionSource(schema)], icons: false }),
          syntaxHighlighting(COLOURS), THEME, EditorView.lineWrapping, EditorState.tabSize.of(2),
          EditorState.readOnly.of(readOnly),
          EditorView.contentAttributes.of({ "aria-label": "Definition (JSON)", tabindex: "0" }),
          EditorView.updateListener.of((update) => {
            if (!update.docChanged) return;
            for (const position of this.positions) position.at = update.changes.mapPos(position.at);
            onChange(this.text);
          }),
          keymap.of([
            { key: "Mod-Enter", run: () => (onRun(), true) },
            ...closeBracketsKeymap, ...completionKeymap, ...historyKeymap, ...standardKeymap,
          ]),
        ],
      }),
    });
  }

  get text() {
    return this.view.state.doc.toString();
  }

  set text(text) {
    this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text }, selection: { anchor: 0 } });
  }

  /** Checks the text at once. The first check that CodeMirror makes comes after a pause, and marks the faults. */
  async checkFirst() {
    await this.check(this.view, this.checkText, this.onChecked);
  }

  async check(view, check, onChecked) {
    const text = this.text;
    let diagnostics = syntaxFaults(view);
    let checked = null;
    if (!diagnostics.length) {
      checked = await check(text);
      if (checked === null || this.text !== text) return []; // CodeMirror checks the newer text next
      const { faults, warnings } = checked;
      diagnostics = [...faults.map((each) => this.diagnostic(each, "error")), ...warnings.map((each) => this.diagnostic(each, "warning"))];
    }
    onChecked({ marks: diagnostics.map((each) => ({ ...each, line: view.state.doc.lineAt(each.from).number })), checked });
    return diagnostics;
  }

  diagnostic({ loc, message, type }, severity) {
    const { state } = this.view;
    const tree = ensureSyntaxTree(state, state.doc.length, PARSE_MS);
    const path = loc[0] === "body" ? loc.slice(1) : loc;
    const range = tree ? rangeOf(tree, path, this.text, OF_NAME.has(type)) : { from: 0, to: 1 };
    return { ...range, severity, message };
  }

  /** Moves the cursor to *position*, and shows it. */
  goTo(position) {
    this.view.dispatch({ selection: { anchor: position }, scrollIntoView: true });
    this.view.focus();
  }

  /** Moves the cursor to the step *id*. */
  goToStep(id) {
    const steps = JSON.parse(this.text).steps.findIndex((each) => each.id === id);
    this.goTo(this.diagnostic({ loc: ["steps", steps, "id"], message: "" }, "hint").from);
  }

  /** Remembers the position at *point* of the screen, while the text changes. `forgetPosition` ends that. */
  positionAt(point) {
    const position = { at: this.view.posAtCoords(point, false) };
    this.positions.add(position);
    return position;
  }

  forgetPosition(position) {
    this.positions.delete(position);
  }

  /** Inserts *value*, a string, at *position* (of `positionAt`), or at the cursor: a string there is replaced. */
  insertString(value, position = null) {
    const { state } = this.view;
    const selection = state.selection.main;
    const at = position?.at ?? selection.head;
    const node = ensureSyntaxTree(state, state.doc.length, PARSE_MS)?.resolveInner(Math.min(at, state.doc.length), 0);
    const string = node?.name === "String" ? node : null;
    const range = string ? { from: string.from, to: string.to } : { from: at, to: position ? at : selection.to };
    const insert = JSON.stringify(value);
    this.view.dispatch({ changes: { ...range, insert }, selection: { anchor: range.from + insert.length }, userEvent: "input.drop" });
    if (position) position.at = range.from + insert.length;
    this.view.focus();
  }
}

/** Why the text is no JSON, at the first position where its syntax tree has an error. */
function syntaxFaults(view) {
  const { state } = view;
  const text = state.doc.toString();
  if (!text.trim()) return [{ from: 0, to: 0, severity: "error", message: "Expected a definition." }];
  try {
    JSON.parse(text);
    return [];
  } catch (error) {
    const from = firstError(ensureSyntaxTree(state, text.length, PARSE_MS)) ?? 0;
    const message = error.message.replace(/^JSON\.parse: |,? (?:\.\.\.)?"[^]* is not valid JSON$| in JSON at [^]*$/g, "");
    return [{ from, to: Math.min(from + 1, state.doc.lineAt(from).to), severity: "error", message: `Not JSON: ${message}` }];
  }
}

function firstError(tree) {
  let position = null;
  tree?.iterate({
    enter(node) {
      if (position === null && node.type.isError) position = node.from;
      return position === null;
    },
  });
  return position;
}
