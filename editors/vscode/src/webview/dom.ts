// Creates elements. Text is always set as text; only markdown.ts parses markup.

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
  onClick?: (event: Event) => void;
}

export function element<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const created = document.createElement(tag);
  if (attributes.class) created.className = attributes.class;
  if (attributes.title) created.title = attributes.title;
  if (attributes.role) created.setAttribute("role", attributes.role);
  if (attributes.type) created.setAttribute("type", attributes.type);
  if (attributes.href) created.setAttribute("href", attributes.href);
  if (attributes.tabIndex !== undefined) created.tabIndex = attributes.tabIndex;
  if (attributes.disabled) created.setAttribute("disabled", "");
  for (const [name, value] of Object.entries(attributes.aria ?? {})) created.setAttribute(`aria-${name}`, value);
  for (const [name, value] of Object.entries(attributes.data ?? {})) created.dataset[name] = value;
  if (attributes.onClick) created.addEventListener("click", attributes.onClick);
  for (const child of children) if (child !== undefined && child !== false) created.append(child);
  return created;
}

/** A decorative icon. Text beside it, or the button's label, says the same. */
export function icon(name: string, extra = ""): HTMLElement {
  return element("span", { class: `codicon codicon-${name} ${extra}`.trim(), aria: { hidden: "true" } });
}

export function iconButton(name: string, label: string, onClick: () => void, extra = ""): HTMLButtonElement {
  return element("button", { class: `icon-button ${extra}`.trim(), type: "button", title: label, aria: { label }, onClick: event => (event.stopPropagation(), onClick()) }, icon(name));
}

export function button(label: string, onClick: () => void, extra = ""): HTMLButtonElement {
  return element("button", { class: `button ${extra}`.trim(), type: "button", onClick: event => (event.stopPropagation(), onClick()) }, label);
}
