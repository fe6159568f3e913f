// Markdown of agents. Raw HTML is not let through and pictures are not loaded: both are written by a model that may have read anything.
import MarkdownIt from "markdown-it";
import { placesIn } from "../runs/places";
import { element, iconButton } from "./dom";

const markdown = new MarkdownIt({ html: false, linkify: true, typographer: false }).disable("image");

export interface Wishes {
  copy(text: string): void;
  openFile(path: string, line?: number, column?: number): void;
}

export function renderMarkdown(text: string, wishes: Wishes): HTMLElement {
  const body = element("div", { class: "markdown" });
  body.innerHTML = markdown.render(text);
  for (const block of body.querySelectorAll("pre")) {
    const code = block.textContent ?? "";
    block.tabIndex = 0;
    const frame = element("div", { class: "code-frame" });
    block.replaceWith(frame);
    frame.append(block, iconButton("copy", "Copy code", () => wishes.copy(code), "code-copy"));
  }
  for (const code of body.querySelectorAll(":not(pre) > code")) {
    const words = code.textContent ?? "";
    const place = placesIn(words)[0];
    // A bare name like `main.rs` may be anything; a path or a line number makes it a place.
    if (!place || place.start !== 0 || place.length !== words.length || (place.line === undefined && !/[/\\]/.test(words))) continue;
    const link = element("a", { href: "#", class: "file-link", on: event => (event.preventDefault(), wishes.openFile(place.path, place.line, place.column)) });
    code.replaceWith(link);
    link.append(code);
  }
  for (const link of body.querySelectorAll<HTMLAnchorElement>("a[href]:not(.file-link)")) {
    const href = link.getAttribute("href") ?? "";
    if (/^(https?|mailto):/i.test(href)) continue;
    const [path = "", fragment] = decodeURI(href.replace(/^file:\/\//, "")).split("#");
    const line = /^L?(\d+)/.exec(fragment ?? "")?.[1] ?? /:(\d+)$/.exec(path)?.[1];
    link.addEventListener("click", event => {
      event.preventDefault();
      if (path) wishes.openFile(path.replace(/:\d+$/, ""), line === undefined ? undefined : Number(line));
    });
  }
  return body;
}
