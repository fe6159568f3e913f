// The agent's plan: its steps as a list, and the bar that shows them while the agent works, wherever the reader is.
import type { ItemOf } from "../transcript/items";
import { element, icon } from "./dom";

type Entries = ItemOf<"plan">["entries"];

const ICONS: Readonly<Record<string, string>> = { completed: "pass", in_progress: "play-circle", pending: "circle-large-outline" };
const LABELS: Readonly<Record<string, string>> = { completed: "completed", in_progress: "in progress", pending: "pending" };

export const planCount = (entries: Entries): string => `${entries.filter(({ status }) => status === "completed").length} of ${entries.length} completed`;

export function planSteps(entries: Entries): HTMLElement {
  const rows = entries.map(({ content, status, priority }) =>
    element("li", { class: `step ${status}` }, icon(ICONS[status] ?? "circle-large-outline"), element("span", { class: "visually-hidden" }, `${LABELS[status] ?? status}: `), content, priority === "high" && element("span", { class: "quiet" }, "high priority")),
  );
  return element("ul", { class: "steps" }, ...rows);
}

export class PlanBar {
  readonly bar = element("section", { class: "plan-bar", aria: { label: "Current plan" } });
  private entries: Entries = [];
  private drawn = "";
  private open = false;

  constructor() {
    this.bar.hidden = true;
  }

  /** `undefined`: the agent does not work, or has no plan. */
  show(entries: Entries | undefined): void {
    this.bar.hidden = entries === undefined || entries.length === 0;
    this.entries = entries ?? [];
    const drawn = JSON.stringify([this.entries, this.open]);
    if (this.bar.hidden || drawn === this.drawn) return;
    this.drawn = drawn;
    const isFocused = this.bar.contains(document.activeElement);
    const now = this.entries.find(({ status }) => status === "in_progress") ?? this.entries.find(({ status }) => status !== "completed");
    const toggle = element("button", { class: "toggle", type: "button", aria: { expanded: String(this.open) }, onClick: () => ((this.open = !this.open), this.show(this.entries)) }, icon(this.open ? "chevron-down" : "chevron-right"), icon("checklist"), element("span", { class: "grow" }, now?.content ?? "Plan"), element("span", { class: "quiet tool-facts" }, planCount(this.entries)));
    this.bar.replaceChildren(toggle, ...(this.open ? [planSteps(this.entries)] : []));
    if (isFocused) toggle.focus();
  }
}
