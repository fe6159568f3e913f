// The box for a follow-up: into the next turn, or into the running one; after the end of the run, a new run with the same session.
import type { Head, ToExtension } from "../transcript/messages";
import { button, element } from "./dom";

export class Composer {
  readonly box = element("form", { class: "composer", aria: { label: "Follow-up" } });
  private readonly text = element("textarea", { aria: { label: "Follow-up to the agent" } });
  private readonly mode = element("select", { aria: { label: "When it is taken" } });
  private readonly go: HTMLButtonElement;
  private readonly stop: HTMLButtonElement;
  private head: Head | undefined;
  private sending = false;

  constructor(private readonly tell: (message: ToExtension) => void) {
    this.text.rows = 2;
    for (const [value, words] of [["queue", "After this turn"], ["steer", "Into this turn"]] as const) {
      const option = element("option", {}, words);
      option.value = value;
      this.mode.append(option);
    }
    this.go = button("Send", () => this.send(), "primary");
    this.stop = button("Stop turn", () => this.tell({ say: "interrupt" }), "secondary");
    this.box.append(this.text, element("div", { class: "composer-row" }, this.mode, element("span", { class: "quiet hint" }, "Enter sends, Shift+Enter breaks the line"), this.stop, this.go));
    this.box.addEventListener("submit", event => event.preventDefault());
    this.text.addEventListener("keydown", event => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    this.text.addEventListener("input", () => this.draw());
  }

  show(head: Head): void {
    this.head = head;
    this.draw();
  }

  /** It has arrived. */
  sent(): void {
    this.sending = false;
    this.text.value = "";
    this.draw();
  }

  /** It has not: the words stay. */
  failed(): void {
    this.sending = false;
    this.draw();
  }

  private send(): void {
    const text = this.text.value.trim();
    if (text === "" || this.sending || this.go.disabled) return;
    this.sending = true;
    this.tell({ say: "send", text, mode: this.mode.hidden ? "queue" : (this.mode.value as "queue" | "steer") });
    this.draw();
  }

  private draw(): void {
    if (!this.head) return;
    const { can, final, run } = this.head;
    const able = can.send || can.resume;
    const busy = !final && run.state !== "idle";
    this.box.hidden = !able;
    this.mode.hidden = !(busy && can.steer);
    this.stop.hidden = !(busy && can.interrupt);
    this.text.placeholder = final ? "Go on with this session…" : busy ? "Say what is next…" : "Ask something…";
    this.go.textContent = final ? "Go on" : "Send";
    this.go.disabled = this.sending || this.text.value.trim() === "";
  }
}
