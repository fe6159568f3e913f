// The message box: queues a message for the next turn or sends it into the running one. After the end of the run it
// resumes the session.
import type { Attachment } from "../transcript/context";
import { currentOptions } from "../runs/agent-options";
import { visible } from "../runs/run";
import type { Header, ToExtension } from "../transcript/messages";
import { Attachments } from "./attachments";
import { Completion, type Word } from "./complete";
import { button, element } from "./dom";
import { takeImages } from "./images";

export class Composer {
  readonly form = element("form", { class: "composer", aria: { label: "Send a message" } });
  private readonly textarea = element("textarea", { aria: { label: "Message" } });
  private readonly mode = element("select", { aria: { label: "When to send" } });
  private readonly sendButton: HTMLButtonElement;
  private readonly stopButton: HTMLButtonElement;
  /** What the agent's own options are set to. */
  private readonly options: HTMLButtonElement;
  private readonly attachments = new Attachments(() => this.draw());
  private readonly completion: Completion;
  private header: Header | undefined;
  private sending = false;

  constructor(
    private readonly post: (message: ToExtension) => void,
    draft: string,
    private readonly saveDraft: (draft: string) => void,
    showError: (message: string) => void,
  ) {
    this.textarea.rows = 2;
    this.textarea.value = draft;
    for (const [value, label] of [["queue", "Queue"], ["steer", "Send now (steer)"]] as const) {
      const option = element("option", {}, label);
      option.value = value;
      this.mode.append(option);
    }
    this.sendButton = button("Send", () => this.send(), "primary");
    this.stopButton = button("Stop", () => this.post({ kind: "interrupt" }), "secondary");
    this.options = button("", () => this.post({ kind: "configure" }), "link");
    this.options.title = "Change Model or Permission Mode";
    this.completion = new Completion(this.textarea, word => this.complete(word));
    this.form.append(this.completion.list, ...this.attachments.elements, this.textarea, element("div", { class: "composer-row" }, this.mode, element("span", { class: "quiet hint" }, "Enter to send, Shift+Enter for a new line"), this.options, this.stopButton, this.sendButton));
    takeImages(this.form, images => (this.attachments.add(images), this.draw()), showError, () => (this.header?.run.agent?.promptCapabilities?.image === false ? `${this.header.provider} takes no images.` : undefined));
    this.form.addEventListener("submit", event => event.preventDefault());
    this.textarea.addEventListener("keydown", event => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    this.textarea.addEventListener("input", () => {
      this.saveDraft(this.textarea.value);
      this.draw();
    });
  }

  show(header: Header): void {
    this.header = header;
    this.draw();
  }

  attach(context: readonly Attachment[], text: string): void {
    this.attachments.add(context);
    if (this.textarea.value === "") this.textarea.value = text;
    this.saveDraft(this.textarea.value);
    this.draw();
    this.textarea.focus();
  }

  /** A message that was taken back: nothing that is in the box is lost. */
  draft(context: readonly Attachment[], text: string): void {
    const { value } = this.textarea;
    this.textarea.value = value === "" || text === "" ? value + text : `${value}\n${text}`;
    this.attach(context, "");
  }

  private complete({ trigger, query }: Word): void {
    if (trigger === "@") return this.post({ kind: "find", query });
    const commands = (this.header?.run.agent?.commands ?? []).filter(({ name }) => name.toLowerCase().startsWith(query.toLowerCase()));
    this.completion.offer("/", query, commands.map(({ name, description }) => ({ label: `/${name}`, detail: description ?? "", insert: `/${name}` })));
  }

  /** Files and symbols for what was typed after `@`. One that is taken goes with the message as a link. */
  found(query: string, found: readonly Attachment[]): void {
    this.completion.offer("@", query, found.map(attachment => ({ label: attachment.label, detail: "", insert: `@${attachment.label}`, accept: () => this.attachments.add([attachment]) })));
  }

  /** Returns whether the box can have the focus. */
  focus(): boolean {
    // What was hidden just now has the focus until the page is drawn next.
    if (this.form.hidden) return false;
    this.textarea.focus();
    return document.activeElement === this.textarea;
  }

  /** The server has accepted the message. */
  sent(): void {
    this.sending = false;
    this.textarea.value = "";
    this.attachments.clear();
    this.saveDraft("");
    this.draw();
  }

  /** The message could not be sent, so its text stays in the box. */
  failed(): void {
    this.sending = false;
    this.draw();
  }

  private send(): void {
    const text = this.textarea.value.trim();
    if (this.sending || this.sendButton.disabled) return;
    this.sending = true;
    this.post({ kind: "send", text, mode: this.mode.hidden ? "queue" : (this.mode.value as "queue" | "steer"), context: [...this.attachments.all] });
    this.draw();
  }

  private draw(): void {
    if (!this.header) return;
    const { can, final, run } = this.header;
    const isUsable = can.send || can.resume;
    const busy = !final && run.state !== "idle";
    this.form.hidden = !isUsable;
    this.mode.hidden = !(busy && can.steer);
    const current = can.configure ? currentOptions(run) : "";
    this.options.hidden = current === "";
    this.options.textContent = visible(current);
    this.options.ariaLabel = `Options: ${visible(current)}`;
    this.stopButton.hidden = !(busy && can.interrupt);
    this.textarea.placeholder = final ? "Resume this session…" : busy ? "Queue a message…" : "Ask a follow-up…";
    this.sendButton.textContent = final ? "Resume" : "Send";
    this.sendButton.disabled = this.sending || (this.textarea.value.trim() === "" && this.attachments.all.length === 0);
  }
}
