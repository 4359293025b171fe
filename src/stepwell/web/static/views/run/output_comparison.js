// The dialog that compares two outputs: side by side, or one over the other with a slider between them.
import { html, icon, keyed, nothing, ref, render, setStyle } from "../../lib/dom.js";
import { outputContent } from "./output_content.js";
import { playInStep } from "./video_pair.js";

const isVisual = ({ kind }) => kind === "image" || kind === "video";
const nameOf = (output) => `${output.stepPath} · ${output.name}`;

export class OutputComparison {
  /** @param container an element, into which the dialog is rendered  @param read returns the outputs as they are now */
  constructor(container, read) {
    this.container = container;
    this.read = read;
    this.keys = null; // of the left and the right output
    this.slider = false;
    this.divide = 50; // percent of the width that belongs to the left output
    this.videos = playInStep(() => this.container.querySelectorAll("video"));
  }

  open(left, right) {
    this.keys = [left, right];
    this.divide = 50;
    this.draw();
    this.container.querySelector("dialog").showModal();
  }

  onClose() {
    this.keys = null;
    this.draw();
  }

  choose(side, key) {
    this.keys[side] = key;
    this.draw();
  }

  draw() {
    const outputs = this.read();
    const pair = this.keys?.map((key) => outputs.find((each) => each.key === key));
    render(html`<dialog class="output-dialog" aria-labelledby="output-comparison-title" @close=${() => this.onClose()}>
      ${pair?.every(Boolean) ? this.content(outputs, pair) : nothing}</dialog>`, this.container);
  }

  content(outputs, pair) {
    const both = pair.every(isVisual);
    const slides = both && this.slider;
    return html`
      <header class="output-dialog-header">
        <h2 id="output-comparison-title">Compare outputs</h2>
        <button type="button" class="icon-button" aria-label="Close" title="Close"
          @click=${(event) => event.target.closest("dialog").close()}>${icon("close")}</button>
      </header>
      <div class="comparison-choices">
        ${this.picker(outputs, 0, "Left")}
        <button type="button" class="icon-button" aria-label="Exchange left and right" title="Exchange left and right"
          @click=${() => { this.keys.reverse(); this.draw(); }}>${icon("refresh")}</button>
        ${this.picker(outputs, 1, "Right")}
        <fieldset class="comparison-mode">
          <legend class="visually-hidden">How to compare</legend>
          ${this.mode("Side by side", false, slides)}${this.mode("Slider", true, slides, !both)}
        </fieldset>
      </div>
      <div class="comparison-media" @play=${this.videos} @pause=${this.videos} @seeking=${this.videos}
        @ratechange=${this.videos} @timeupdate=${this.videos}>${slides ? this.overlay(pair)
          : html`<div class="comparison-pair">${pair.map((output) => html`
            <div class="output-stage">${keyed(output.key, this.media(output))}</div>`)}</div>`}</div>
      ${both ? nothing : html`<p class="dim">The slider compares images and videos only.</p>`}
      ${pair.every(({ kind }) => kind === "video") ? html`<p class="dim">Both videos play in step.</p>` : nothing}`;
  }

  media(output) {
    return outputContent(output, { large: true, draw: () => this.draw() });
  }

  picker(outputs, side, name) {
    return html`<label class="field comparison-picker"><span>${name}</span>
      <select @change=${(event) => this.choose(side, event.target.value)}>${outputs.map((each) => html`
        <option value=${each.key} .selected=${each.key === this.keys[side]}>${nameOf(each)}</option>`)}</select></label>`;
  }

  mode(text, slider, slides, disabled = false) {
    return html`<label><input type="radio" name="comparison-mode" .checked=${slides === slider} ?disabled=${disabled}
      @change=${() => { this.slider = slider; this.draw(); }}>${text}</label>`;
  }

  overlay([left, right]) {
    return html`
      <div class="comparison-overlay" ${ref(setStyle({ "--divide": `${this.divide}%` }))}
        @pointerdown=${(event) => this.drag(event)} @pointermove=${(event) => event.buttons && this.drag(event)}>
        <div class="output-stage">${keyed(right.key, this.media(right))}</div>
        <div class="output-stage comparison-left">${keyed(left.key, this.media(left))}</div>
        <div class="comparison-line" aria-hidden="true"></div>
      </div>
      <label class="field comparison-slider"><span>Boundary between left and right</span>
        <input type="range" min="0" max="100" step="1" .value=${String(this.divide)}
          aria-valuetext=${`${this.divide}% left, ${100 - this.divide}% right`}
          @input=${(event) => this.slide(Number(event.target.value))}></label>`;
  }

  drag(event) {
    if (event.target.matches("video")) return; // the pointer works its controls; the slider below moves the boundary
    if (event.type === "pointerdown") event.currentTarget.setPointerCapture(event.pointerId);
    const { left, width } = event.currentTarget.getBoundingClientRect();
    this.slide(Math.round(Math.min(1, Math.max(0, (event.clientX - left) / width)) * 100));
  }

  slide(divide) {
    this.divide = divide;
    this.draw();
  }
}
