// The form *New Run…*: one panel, whose page has the task, and beside it with what it is run.
import { Uri, ViewColumn, window, type WebviewPanel } from "vscode";
import type { FormChoices, FormInput, FromForm, ToForm } from "../transcript/form";
import { Failure } from "../server/failure";
import type { Services } from "../services";
import { findContext } from "./files";
import { pageHtml } from "./page";

export interface FormHooks {
  choices(): Promise<FormChoices>;
  models(provider: string, cwd: string): Promise<{ id: string; name: string }[]>;
  /** Returns whether the run was started; then the form is closed. */
  start(input: FormInput): Promise<boolean>;
}

export class StartForm {
  private panel: WebviewPanel | undefined;

  constructor(private readonly services: Pick<Services, "context">) {}

  show(title: string, hooks: FormHooks): void {
    this.panel?.dispose();
    const extension = this.services.context.extensionUri;
    const panel = (this.panel = window.createWebviewPanel("loomd.start", title, ViewColumn.Active, { enableScripts: true, retainContextWhenHidden: true, localResourceRoots: [Uri.joinPath(extension, "dist")] }));
    panel.onDidDispose(() => {
      if (this.panel === panel) this.panel = undefined;
    });
    const post = (message: ToForm) => void panel.webview.postMessage(message);
    panel.webview.onDidReceiveMessage(async (message: FromForm) => {
      try {
        if (message.kind === "ready") post({ kind: "choices", choices: await hooks.choices() });
        else if (message.kind === "models") post({ kind: "models", provider: message.provider, models: await hooks.models(message.provider, message.cwd) });
        else if (message.kind === "find") post({ kind: "found", query: message.query, found: await findContext(message.query) });
        else if (await hooks.start(message.input)) panel.dispose();
      } catch (error) {
        post({ kind: "failed", message: Failure.from(error).message });
      }
    });
    panel.webview.html = pageHtml(panel.webview, extension, "form.js", title);
  }
}
