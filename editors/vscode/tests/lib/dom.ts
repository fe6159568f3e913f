// A DOM without layout for unit tests, with what the page's code uses of a browser.
import { parseHTML } from "linkedom";

class NoObserver {
  observe(): void {}
  unobserve(): void {}
}

export function setUpDom(): void {
  const { document, Node, HTMLElement, HTMLInputElement, NodeFilter } = parseHTML("<!DOCTYPE html><html><body></body></html>");
  Object.assign(globalThis, { document, Node, HTMLElement, HTMLInputElement, NodeFilter, IntersectionObserver: NoObserver, CSS: { escape: (text: string) => text }, acquireVsCodeApi: () => ({ postMessage() {}, getState() {}, setState() {} }) });
}
