// The status bar item. A click shows the Runs view; it starts and stops nothing.
import { StatusBarAlignment, ThemeColor, window, type Disposable, type StatusBarItem } from "vscode";
import type { Services } from "../services";
import { isFinal, isWaiting, needInputText } from "../runs/run";

export interface Status {
  text: string;
  label: string;
  level: "plain" | "warning" | "error";
}

export function statusOf({ server, runs }: Pick<Services, "server" | "runs">): Status {
  switch (server.state.kind) {
    case "down":
      return { text: "$(error) loomd", label: `loomd is not running. ${server.state.failure.message}`, level: "error" };
    case "stopped":
      return { text: "$(circle-slash) loomd", label: server.state.reason, level: "plain" };
    case "starting":
      return { text: "$(loading~spin) loomd", label: "loomd server is starting", level: "plain" };
    case "running":
  }
  let [waiting, running] = [0, 0];
  for (const run of runs.all()) {
    if (isFinal(run)) continue;
    if (isWaiting(run)) waiting++;
    else if (run.state !== "idle") running++;
  }
  if (waiting > 0) return { text: `$(bell-dot) ${needInputText(waiting)}`, label: `loomd: ${needInputText(waiting)}, ${running} running`, level: "warning" };
  if (running > 0) return { text: `$(loading~spin) ${running} running`, label: `loomd: ${running} running`, level: "plain" };
  return { text: "$(check) loomd", label: "loomd: no active runs", level: "plain" };
}

export class StatusItem implements Disposable {
  readonly item: StatusBarItem = window.createStatusBarItem("loomd.status", StatusBarAlignment.Left);
  private readonly disposables: Disposable[];

  constructor(private readonly services: Pick<Services, "server" | "runs">) {
    this.item.name = "loomd";
    this.item.command = "loomd.runs.focus";
    this.disposables = [this.item, services.server.onDidChange(() => this.draw()), services.runs.onDidChange(() => this.draw())];
    this.draw();
    this.item.show();
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  private draw(): void {
    const { text, label, level } = statusOf(this.services);
    this.item.text = text;
    this.item.tooltip = `${label}\nShow runs`;
    this.item.accessibilityInformation = { label, role: "button" };
    this.item.backgroundColor = level === "plain" ? undefined : new ThemeColor(`statusBarItem.${level}Background`);
  }
}
