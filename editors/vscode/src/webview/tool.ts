// Renders tool calls and output: title and state, what the tool was given, its files, its changes and what it printed.
import type { FileDiff, Output } from "../protocol";
import { formatBytes, formatDuration, relativeTo, visible } from "../runs/run";
import { inputParts, outputText, type ItemOf } from "../transcript/items";
import type { ToExtension } from "../transcript/messages";
import { lastLines, renderAnsi } from "./ansi";
import { bridge } from "./bridge";
import { lineCounts, renderPatch, renderTexts } from "./diff";
import { button, element, icon, iconButton } from "./dom";

/** A tool's output shows its last lines up to this number, until the reader shows all. */
const MAX_OUTPUT_LINES = 40;

const TOOL_ICONS: Record<string, string> = { read: "file", edit: "edit", delete: "trash", move: "arrow-right", search: "search", execute: "terminal", think: "lightbulb", fetch: "globe", switch_mode: "arrow-swap" };
const TOOL_STATES: Record<string, { icon: string; label: string }> = {
  pending: { icon: "circle-large-outline", label: "Pending" },
  in_progress: { icon: "loading codicon-modifier-spin", label: "Running" },
  completed: { icon: "pass", label: "Completed" },
  failed: { icon: "error", label: "Failed" },
};
/** Of a tool of which the run's end came first. */
const NOT_FINISHED = { icon: "circle-slash", label: "Not finished" };

type Tool = ItemOf<"tool">;

/** What a reader can do, and what the page knows besides the item. */
export interface ToolContext {
  cwd: string;
  post(message: ToExtension): void;
  redraw(item: number): void;
}

export const isRunning = ({ status, endAt }: Tool): boolean => endAt == null && (status === "pending" || status === "in_progress");

export const statusLabel = (item: Tool, waiting: boolean): string => (waiting ? "Waiting for permission" : stateOf(item).label);

/** How the state of a tool is shown. Nothing goes on in a run that has ended. */
function stateOf(item: Tool): { icon: string; label: string } {
  if (!isRunning(item) && (item.status === "pending" || item.status === "in_progress")) return NOT_FINISHED;
  return TOOL_STATES[item.status] ?? { ...TOOL_STATES["pending"]!, label: item.status };
}

export class ToolRenderer {
  private readonly expandedOutputs = new Set<number>();

  constructor(private readonly context: ToolContext) {}

  reset(): void {
    this.expandedOutputs.clear();
  }

  /** The parts of a tool's first line. `steps`: of its sub-agent. */
  head(item: Tool, waiting: boolean, steps: number): (Node | string)[] {
    const state = stateOf(item);
    const took = item.endAt != null && item.endAt - item.at >= 1000 ? formatDuration(item.endAt - item.at) : "";
    const quiet = [item.continues != null ? "continued" : "", ...item.diffs.filter(({ patch }) => patch == null).map(({ oldText, newText }) => lineCounts(oldText ?? "", newText ?? "")), steps > 0 ? `${steps} ${steps === 1 ? "step" : "steps"}` : ""].filter(text => text !== "").join(" · ");
    const label = statusLabel(item, waiting);
    // The check of a completed tool needs no visible text beside it; screen readers get the text.
    const text = label === TOOL_STATES["completed"]!.label ? [element("span", { class: "visually-hidden" }, label), took] : [took === "" ? label : `${label} · ${took}`];
    return [
      icon(TOOL_ICONS[item.toolKind] ?? "tools"),
      element("span", { class: "tool-title", title: visible(item.title) }, visible(item.title || item.toolKind)),
      ...(quiet === "" ? [] : [element("span", { class: "quiet tool-facts" }, quiet)]),
      element("span", { class: `tool-state ${waiting ? "waiting" : item.status}` }, icon(waiting ? "bell-dot" : state.icon), ...text),
    ];
  }

  body(item: Tool): HTMLElement {
    const parts = inputParts(item);
    const files = item.locations.filter(({ path }) => !item.diffs.some(diff => diff.path === path));
    return element(
      "div",
      { class: "tool-body" },
      parts.length > 0 && element("pre", { class: "input", tabIndex: 0, data: { key: `input-${item.item}` }, aria: { label: "Input" } }, parts.map(({ label, text }) => (parts.length === 1 ? text : `${label}: ${text}`)).join("\n")),
      files.length > 0 && element("div", { class: "files" }, ...files.map(({ path, line }) => this.file(path, line ?? undefined))),
      ...item.diffs.map(diff => this.diff(diff)),
      ...this.output(item.item, item.output, isRunning(item)),
    );
  }

  /** What a tool or a command printed. `live`: it follows its end until the reader scrolls. */
  output(item: number, output: Output | null | undefined, live: boolean, label = "Output"): HTMLElement[] {
    const text = outputText(output);
    if (text.trim() === "") return [];
    const { text: shown, before } = this.expandedOutputs.has(item) ? { text, before: 0 } : lastLines(text, MAX_OUTPUT_LINES);
    const body = renderAnsi(shown);
    body.dataset["key"] = `${label}-${item}`;
    body.setAttribute("aria-label", label);
    if (live) body.dataset["live"] = "yes";
    const more = () => (this.expandedOutputs.add(item), this.context.redraw(item));
    const omitted = output?.omittedBytes ? ` (${formatBytes(output.omittedBytes)} omitted)` : "";
    const expand = before > 0 && button(`Show ${before} earlier lines${omitted}`, more, "link");
    if (expand) expand.dataset["key"] = `more-${item}`;
    return expand ? [expand, body] : [body];
  }

  private file(path: string, line: number | undefined): HTMLElement {
    const name = relativeTo(path, this.context.cwd);
    const open = () => this.context.post({ kind: "openFile", path, ...(line === undefined ? {} : { line }) });
    return element("a", { href: "#", class: "file-link", title: visible(path), onClick: event => (event.preventDefault(), open()) }, visible(line === undefined ? name : `${name}:${line}`));
  }

  private diff({ path, kind, patch, oldText, newText, omitted }: FileDiff): HTMLElement {
    const open = bridge().hasEditor && patch == null && !omitted && iconButton("diff", "Open Diff", () => this.context.post({ kind: "openDiff", path, oldText: oldText ?? "", newText: newText ?? "" }));
    const facts = { add: "added", delete: "deleted", move: "moved", modify: "" }[kind] ?? "";
    const content = omitted ? element("p", { class: "quiet" }, "Loading…") : patch != null ? renderPatch(path, patch) : oldText == null && newText == null ? undefined : renderTexts(path, oldText ?? "", newText ?? "");
    return element("div", { class: "change" }, element("div", { class: "change-head" }, this.file(path, undefined), element("span", { class: "quiet" }, facts), open), content);
  }
}
