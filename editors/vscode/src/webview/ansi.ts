// A program's output with its colours, in the colours of the editor's terminal.
import Anser from "anser";
import { element } from "./dom";

/** Colours stay; everything else that only a terminal understands goes, and a line that was written over shows its last state. */
export function renderAnsi(text: string): HTMLElement {
  const body = element("pre", { class: "output", tabIndex: 0, aria: { label: "Output" }, role: "region" });
  const clean = text
    .replace(/\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)/g, "")
    .replace(/\x1b\[[0-9;?]*[A-LN-Za-ln-z]/g, "")
    .replace(/\r\n/g, "\n")
    .replace(/[^\n]*\r(?=[^\n])/g, "");
  for (const part of Anser.ansiToJson(clean, { use_classes: true, json: true, remove_empty: true })) {
    const classes = [part.fg && part.fg !== "ansi-truecolor" && !part.fg.startsWith("ansi-palette") ? `fg-${part.fg}` : "", part.bg && part.bg !== "ansi-truecolor" && !part.bg.startsWith("ansi-palette") ? `bg-${part.bg}` : "", ...part.decorations.map(name => `ansi-${name}`)].filter(name => name !== "");
    if (classes.length === 0 && !part.fg_truecolor && !part.bg_truecolor) {
      body.append(part.content);
      continue;
    }
    const span = element("span", { class: classes.join(" ") }, part.content);
    if (part.fg_truecolor) span.style.color = `rgb(${part.fg_truecolor})`;
    if (part.bg_truecolor) span.style.backgroundColor = `rgb(${part.bg_truecolor})`;
    body.append(span);
  }
  return body;
}

/** The last lines, and how many came before them. */
export function lastLines(text: string, count: number): { text: string; before: number } {
  const whole = text.endsWith("\n") ? text.slice(0, -1) : text;
  const lines = whole.split("\n");
  return lines.length <= count ? { text: whole, before: 0 } : { text: lines.slice(-count).join("\n"), before: lines.length - count };
}
