// The dialog that shows one output as large as the window allows, with the ones before and after it.
import { html, icon, keyed, nothing, render } from "../../lib/dom.js";
import { download, outputContent, outputTitle } from "./output_content.js";
import { downloadName } from "./output_list.js";

export class OutputViewer {
  /** @param container an element, into which the dialog is rendered  @param read returns the outputs as they are now */
  constructor(container, read) {
    this.container = container;
    this.read = read;
    this.key = null;
  }

  open(key) {
    this.key = key;
    this.draw();
    const dialog = this.container.querySelector("dialog");
    if (!dialog.open) dialog.showModal();
  }

  /** Shows the output that is *by* positions further on. */
  move(by) {
    const outputs = this.read();
    const at = outputs.findIndex((each) => each.key === this.key) + by;
    if (at < 0 || at >= outputs.length) return;
    this.key = outputs[at].key;
    this.draw();
  }

  onKey(event) {
    if (event.target.matches("video, audio, pre")) return; // there the arrows have a meaning already
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) this.move(by);
  }

  onClose() {
    this.key = null;
    this.draw(); // so that no video plays on
  }

  draw() {
    const outputs = this.read();
    const at = outputs.findIndex((each) => each.key === this.key);
    render(html`<dialog class="output-dialog" aria-labelledby="output-viewer-title" @close=${() => this.onClose()}
      @keydown=${(event) => this.onKey(event)}>${at < 0 ? nothing : this.content(outputs, at)}</dialog>`, this.container);
  }

  content(outputs, at) {
    const output = outputs[at];
    return html`
      <header class="output-dialog-header">
        <h2 id="output-viewer-title" class="break">${outputTitle(output)}</h2>
        <span class="dim number">${at + 1} of ${outputs.length}</span>
        <button type="button" class="icon-button" aria-label="Close" title="Close"
          @click=${(event) => event.target.closest("dialog").close()}>${icon("close")}</button>
      </header>
      <div class="output-stage">${keyed(output.key, outputContent(output, { large: true, draw: () => this.draw() }))}</div>
      <footer class="output-dialog-footer">
        <span class="dim break">${output.name}${output.size ? html` · ${output.size}` : nothing}</span>
        <span class="row">
          <button type="button" class="button" aria-label="Previous output" ?disabled=${at === 0}
            @click=${() => this.move(-1)}>${icon("previous")}</button>
          <button type="button" class="button" aria-label="Next output" ?disabled=${at === outputs.length - 1}
            @click=${() => this.move(1)}>${icon("next")}</button>
          <button type="button" class="button" @click=${() => download(output, downloadName(output))}>
            ${icon("download")}Download</button>
        </span>
      </footer>`;
  }
}
