// Makes elements. Text is always set as text; the only markup that is ever parsed comes from markdown.ts.

type Child = Node | string | undefined | false;

export interface Attributes {
  class?: string;
  title?: string;
  role?: string;
  type?: string;
  href?: string;
  tabIndex?: number;
  disabled?: boolean;
  aria?: Record<string, string>;
  data?: Record<string, string>;
  on?: (event: Event) => void;
}

export function element<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (attributes.class) made.className = attributes.class;
  if (attributes.title) made.title = attributes.title;
  if (attributes.role) made.setAttribute("role", attributes.role);
  if (attributes.type) made.setAttribute("type", attributes.type);
  if (attributes.href) made.setAttribute("href", attributes.href);
  if (attributes.tabIndex !== undefined) made.tabIndex = attributes.tabIndex;
  if (attributes.disabled) made.setAttribute("disabled", "");
  for (const [name, value] of Object.entries(attributes.aria ?? {})) made.setAttribute(`aria-${name}`, value);
  for (const [name, value] of Object.entries(attributes.data ?? {})) made.dataset[name] = value;
  if (attributes.on) made.addEventListener("click", attributes.on);
  for (const child of children) if (child !== undefined && child !== false) made.append(child);
  return made;
}

/** An icon is an ornament: what it says stands beside it in words. */
export function icon(name: string, extra = ""): HTMLElement {
  return element("span", { class: `codicon codicon-${name} ${extra}`.trim(), aria: { hidden: "true" } });
}

export function iconButton(name: string, label: string, on: () => void, extra = ""): HTMLButtonElement {
  return element("button", { class: `icon-button ${extra}`.trim(), type: "button", title: label, aria: { label }, on: event => (event.stopPropagation(), on()) }, icon(name));
}

export function button(label: string, on: () => void, extra = ""): HTMLButtonElement {
  return element("button", { class: `button ${extra}`.trim(), type: "button", on: event => (event.stopPropagation(), on()) }, label);
}
