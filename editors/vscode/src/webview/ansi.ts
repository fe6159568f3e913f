// Renders a program's output with its colors, in the theme's terminal colors.
import Anser from "anser";
import { terminalText } from "../runs/terminal-text";
import { element } from "./dom";

/** The text that a terminal would show in the end, with its colors. */
export function renderAnsi(text: string): HTMLElement {
  const body = element("pre", { class: "output", tabIndex: 0, aria: { label: "Output" }, role: "group" });
  for (const part of Anser.ansiToJson(terminalText(text), { use_classes: true, json: true, remove_empty: true })) {
    const [color, background] = [colorOf(part.fg, part.fg_truecolor), colorOf(part.bg, part.bg_truecolor)];
    const classes = [part.fg && !color ? `fg-${part.fg}` : "", part.bg && !background ? `bg-${part.bg}` : "", ...part.decorations.map(name => `ansi-${name}`)].filter(name => name !== "");
    if (classes.length === 0 && !color && !background) {
      body.append(part.content);
      continue;
    }
    const span = element("span", { class: classes.join(" ") }, part.content);
    if (color) span.style.color = color;
    if (background) span.style.backgroundColor = background;
    body.append(span);
  }
  return body;
}

/** A color that is not of the theme: one of 24 bits, or of the palette of 256. Anser keeps a 24-bit color when others follow. */
function colorOf(name: string | null, trueColor: string | null): string | undefined {
  if (name === "ansi-truecolor" && trueColor) return `rgb(${trueColor})`;
  const number = Number(/^ansi-palette-(\d+)$/.exec(name ?? "")?.[1] ?? NaN);
  if (number >= 232) return `rgb(${Array(3).fill(8 + 10 * (number - 232)).join(", ")})`;
  const level = (step: number) => (step === 0 ? 0 : 55 + 40 * step);
  const at = number - 16;
  return at >= 0 ? `rgb(${[Math.floor(at / 36), Math.floor(at / 6) % 6, at % 6].map(level).join(", ")})` : undefined;
}

/** The last lines of a text, and the number of lines before them. */
export function lastLines(text: string, count: number): { text: string; before: number } {
  const whole = text.endsWith("\n") ? text.slice(0, -1) : text;
  const lines = whole.split("\n");
  return lines.length <= count ? { text: whole, before: 0 } : { text: lines.slice(-count).join("\n"), before: lines.length - count };
}
