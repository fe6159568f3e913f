// Permission requests: all of what is asked, as the server shows it, and the answer. An answer counts only if the reader
// has seen the end of the request, and only some time after it came into view: what was pressed before that was meant for
// something else.
import type { PermissionOption } from "../protocol";
import { actionText } from "../runs/run";
import type { ItemOf } from "../transcript/items";
import type { ToExtension } from "../transcript/messages";
import { bridge } from "./bridge";
import { button, element, icon } from "./dom";

type Question = ItemOf<"permission">;
type Outcome = Omit<Extract<ToExtension, { kind: "answer" }>, "kind" | "permissionId">;

const LOOMD_REACH = "adds a rule that you choose. It holds in every client of loomd, until you remove it.";

/** A request cannot be answered this long after it came into view, or after another one was answered. */
export const GUARD_MS = 600;

export class Questions {
  /** Whether the user may answer, or only look on. */
  canAnswer = true;
  /** When the end of a request came into view. */
  private readonly seen = new Map<string, number>();
  private readonly reasons = new Map<string, string>();
  private readonly answered = new Set<string>();
  private settledAt = -GUARD_MS;
  /** When the key or button was pressed that is being handled. */
  private pressedAt = 0;
  private readonly observer = new IntersectionObserver(entries => entries.forEach(({ target, isIntersecting }) => this.appear(target as HTMLElement, isIntersecting)), { threshold: 0.9 });

  constructor(
    private readonly post: (message: ToExtension) => void,
    private readonly redraw: (item: number) => void,
  ) {
    let held = false;
    const listen = (names: readonly string[], act: (event: UIEvent) => void) => names.forEach(name => document.addEventListener(name, event => act(event as UIEvent), true));
    listen(["pointerdown", "keydown"], event => {
      if ((event as KeyboardEvent).repeat) return;
      [held, this.pressedAt] = [true, performance.now()];
    });
    listen(["pointerup", "pointercancel", "keyup"], () => setTimeout(() => (held = false)));
    // A screen reader clicks without pressing anything.
    listen(["click"], ({ detail }) => {
      if (detail === 0 && !held) this.pressedAt = performance.now();
    });
  }

  /** Called when requests came into view, or may have moved to where another one was. */
  settled(): void {
    this.settledAt = performance.now();
    for (const row of document.querySelectorAll<HTMLElement>(".buttons[data-permission]")) this.arm(row);
  }

  /** Called when sending an answer failed: requests can be answered again. */
  forgetAnswers(): void {
    this.answered.clear();
  }

  isAnswered(permissionId: string): boolean {
    return this.answered.has(permissionId);
  }

  draw(item: Question, agent: string): HTMLElement {
    const { permissionId, options } = item;
    const box = element("div", { class: "question", role: "group", aria: { label: "Permission request" } });
    const reason = element("input", { class: "reason", type: "text", data: { key: `reason-${permissionId}` }, aria: { label: "Reason for denying" } });
    reason.placeholder = `Tell ${agent} what to do instead (optional)`;
    reason.value = this.reasons.get(permissionId) ?? "";
    reason.addEventListener("input", () => this.reasons.set(permissionId, reason.value));
    const row = element("div", { class: "buttons", data: { permission: permissionId } });
    const agentReach = `is kept by ${agent} alone, which decides for what and how long; often for this session.`;
    const always = options.some(({ kind }) => kind.endsWith("always"));
    const add = (label: string, allow: boolean, look: string, key: string, act: () => void, reach = "") => {
      const made = button(label, () => this.isArmed(permissionId) && act(), look);
      made.dataset["key"] = `${permissionId}-${key}`;
      if (look !== "link") made.prepend(icon(allow ? "check" : "x"));
      if (reach !== "") made.title = `${label} ${reach}`;
      if (this.answered.has(permissionId)) made.disabled = true;
      row.append(made);
    };
    for (const option of options) add(option.name, option.kind.startsWith("allow"), option.kind === "allow_once" ? "primary" : "secondary", `option-${option.optionId}`, () => this.send(item, this.outcome(item, option)), option.kind.endsWith("always") ? agentReach : "");
    if (!options.some(({ kind }) => kind.startsWith("reject"))) add("Deny", false, "secondary", "deny", () => this.send(item, this.outcome(item, undefined)));
    const keepsRules = bridge().hasEditor;
    if (keepsRules) add("Always allow in loomd…", true, "link", "always", () => this.post({ kind: "always", permissionId }), LOOMD_REACH);
    box.append(element("p", { class: "permission-title" }, icon("bell-dot"), `Allow ${agent} to ${actionText(item.toolCall["kind"])}?`), shown(item), row, element("p", { class: "reach quiet" }, `${always ? `“${options.filter(({ kind }) => kind.endsWith("always")).map(({ name }) => name).join("”, “")}” ${agentReach} ` : ""}${keepsRules ? `“Always allow in loomd…” ${LOOMD_REACH}` : ""}`), reason);
    row.hidden = reason.hidden = !this.canAnswer;
    this.arm(row);
    this.observer.observe(row);
    return box;
  }

  /** Answers a request, for the keys `a` and `d`. Returns whether it did. */
  answer(item: Question, decision: "allow" | "deny"): boolean {
    const option = item.options.find(({ kind }) => kind === (decision === "allow" ? "allow_once" : "reject_once"));
    if (item.resolved || (!option && decision === "allow") || !this.isArmed(item.permissionId)) return false;
    this.send(item, this.outcome(item, option));
    return true;
  }

  private outcome({ permissionId }: Question, option: PermissionOption | undefined): Outcome {
    const message = option?.kind.startsWith("allow") ? "" : (this.reasons.get(permissionId) ?? "");
    return { ...(option ? { optionId: option.optionId } : { cancelled: true }), ...(message === "" ? {} : { message }) };
  }

  private send({ item, permissionId }: Question, outcome: Outcome): void {
    if (this.answered.has(permissionId)) return;
    this.answered.add(permissionId);
    this.post({ kind: "answer", permissionId, ...outcome });
    this.settled();
    this.redraw(item);
  }

  private armedAt(permissionId: string): number {
    return Math.max(this.seen.get(permissionId) ?? Infinity, this.settledAt) + GUARD_MS;
  }

  private isArmed(permissionId: string): boolean {
    return this.canAnswer && this.pressedAt >= this.armedAt(permissionId);
  }

  private appear(row: HTMLElement, visible: boolean): void {
    const id = row.dataset["permission"]!;
    if (!row.isConnected) {
      this.observer.unobserve(row);
      if (!document.querySelector(`.buttons[data-permission="${CSS.escape(id)}"]`)) this.seen.delete(id);
      return;
    }
    if (visible === this.seen.has(id)) return;
    if (visible) this.seen.set(id, performance.now());
    else this.seen.delete(id);
    this.arm(row);
  }

  /** Shows whether the buttons work. */
  private arm(row: HTMLElement): void {
    const left = this.armedAt(row.dataset["permission"]!) - performance.now();
    for (const each of row.children) each.setAttribute("aria-disabled", String(left > 0));
    if (left > 0 && left < Infinity) setTimeout(() => row.isConnected && this.arm(row), left);
  }
}

/** All of what was asked: each part with its label, and the lines of a diff in its colors. */
export function shown({ shown: parts }: Pick<Question, "shown">): HTMLElement {
  return element("div", { class: "shown" }, ...parts.flatMap(({ label, text }, at) => [at > 0 || label !== "title" ? element("div", { class: "shown-label" }, label) : undefined, element("pre", { tabIndex: 0, aria: { label } }, ...(label === "diff" ? diffLines(text) : [text]))]));
}

function diffLines(text: string): HTMLElement[] {
  const kinds: Readonly<Record<string, string>> = { "+": "added", "-": "removed" };
  // The names of the files, which are no lines of them.
  const names = /^--- .*\n\+\+\+ /.test(text) ? 2 : 0;
  return text.split("\n").map((line, at, lines) => element("span", { class: `shown-line ${(at >= names && kinds[line[0] ?? ""]) || "same"}` }, at < lines.length - 1 ? `${line}\n` : line));
}

const ANSWERS: Readonly<Record<string, string>> = { allow_once: "Allowed once", allow_always: "Always allowed", reject_once: "Denied", reject_always: "Always denied" };

/** How a request was answered, in a few words. */
export function answerText({ resolved, options }: Question): string {
  if (!resolved) return "Waiting for permission";
  const option = options.find(({ optionId }) => optionId === resolved.optionId);
  if (resolved.cancelled || !option) return "Dismissed";
  const verb = option.kind.startsWith("allow") ? "Allowed" : "Denied";
  if (resolved.rule != null) return `${verb} by rule ${resolved.rule}`;
  if (resolved.by === "policy") return `${verb} automatically (permission mode)`;
  if (resolved.by === "provider") return `${verb} by the agent`;
  // The option's name tells more where "always" has a scope, or where several options are of one kind.
  const named = option.kind.endsWith("always") || options.filter(({ kind }) => kind === option.kind).length > 1;
  const text = ANSWERS[option.kind] ?? verb;
  return named ? `${text} (${option.name})` : text;
}

export const isAllowed = ({ resolved, options }: Question): boolean => resolved != null && !resolved.cancelled && (options.find(({ optionId }) => optionId === resolved.optionId)?.kind.startsWith("allow") ?? false);
