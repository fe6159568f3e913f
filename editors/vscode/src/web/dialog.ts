// Dialogs of the browser's page: a title, what it is about, and buttons. The browser keeps the focus inside.
import { button, element } from "../webview/dom";

export interface DialogButton {
  label: string;
  /** `false` leaves the dialog open. */
  act?: () => void | false | Promise<void | false>;
  primary?: boolean;
}

/** Shows a dialog and returns it. Escape closes it, and so does a button whose action succeeds; a failure is shown in it. */
export function showDialog(title: string, content: (Node | string)[], buttons: readonly DialogButton[]): HTMLDialogElement {
  const error = element("p", { class: "error-bar", role: "alert" });
  error.hidden = true;
  const heading = element("h2", {}, title);
  heading.id = "dialog-title";
  const row = element("div", { class: "dialog-buttons" });
  const dialog = element("dialog", { class: "dialog", aria: { labelledby: "dialog-title" } }, heading, error, element("div", { class: "dialog-content" }, ...content), row);
  for (const { label, act, primary } of buttons) {
    const made = button(
      label,
      async () => {
        made.disabled = true;
        try {
          if ((await act?.()) !== false) dialog.close();
        } catch (failure) {
          error.textContent = failure instanceof Error ? failure.message : String(failure);
          error.hidden = false;
        }
        made.disabled = false;
      },
      primary ? "primary" : "",
    );
    row.append(made);
  }
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** A labeled control. */
export const field = (label: string, control: HTMLElement): HTMLElement => element("label", { class: "field" }, element("span", {}, label), control);

/** A choice of one of several values. */
export function select(entries: readonly (readonly [value: string, label: string])[]): HTMLSelectElement {
  const made = element("select");
  for (const [value, label] of entries) made.append(Object.assign(element("option", {}, label), { value }));
  return made;
}
