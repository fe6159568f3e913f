// What goes with a prompt, beside its text box: each can be looked at and removed before it is sent.
import type { Attachment } from "../transcript/context";
import { element, icon, iconButton } from "./dom";

export class Attachments {
  readonly box = element("ul", { class: "attachments", aria: { label: "Sent with the message" } });
  private readonly preview = element("pre", { class: "attachment-preview", tabIndex: 0, aria: { label: "What is sent" } });
  readonly all: Attachment[] = [];
  private previewed: Attachment | undefined;

  /** `changed` is called after the user removed one. */
  constructor(private readonly changed: () => void) {
    this.draw();
  }

  get elements(): HTMLElement[] {
    return [this.box, this.preview];
  }

  add(attachments: readonly Attachment[]): void {
    for (const attachment of attachments) if (!this.all.some(({ block }) => JSON.stringify(block) === JSON.stringify(attachment.block))) this.all.push(attachment);
    this.draw();
  }

  clear(): void {
    this.all.length = 0;
    this.draw();
  }

  private draw(): void {
    if (this.previewed && !this.all.includes(this.previewed)) this.previewed = undefined;
    const rows = this.all.map(attachment => {
      const show = element("button", { class: "attachment", type: "button", title: "Show what is sent", aria: { expanded: String(attachment === this.previewed) }, onClick: () => ((this.previewed = attachment === this.previewed ? undefined : attachment), this.draw()) }, icon(attachment.imageUrl === undefined ? "file" : "file-media"), ` ${attachment.label}`);
      return element("li", {}, show, iconButton("close", `Remove ${attachment.label}`, () => (this.all.splice(this.all.indexOf(attachment), 1), this.draw(), this.changed())));
    });
    this.box.replaceChildren(...rows);
    this.box.hidden = rows.length === 0;
    this.preview.hidden = this.previewed === undefined;
    const { detail = "", imageUrl } = this.previewed ?? {};
    this.preview.replaceChildren(...(imageUrl === undefined ? [] : [Object.assign(element("img", { class: "image" }), { src: imageUrl, alt: "" })]), detail);
  }
}
