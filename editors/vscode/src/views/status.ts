// The one status bar item. A click opens the list of runs; nothing is stopped or started by it.
import { StatusBarAlignment, ThemeColor, window, type Disposable, type StatusBarItem } from "vscode";
import type { Base } from "../base";
import { isFinal, isWaiting } from "../runs/words";

export interface Status {
  text: string;
  label: string;
  level: "plain" | "warning" | "error";
}

export function statusOf({ server, runs }: Pick<Base, "server" | "runs">): Status {
  switch (server.state.is) {
    case "down":
      return { text: "$(error) loomd", label: `loomd is not running. ${server.state.failure.message}`, level: "error" };
    case "stopped":
      return { text: "$(circle-slash) loomd", label: server.state.why, level: "plain" };
    case "starting":
      return { text: "$(loading~spin) loomd", label: "loomd is starting", level: "plain" };
    case "running":
  }
  let [waiting, running] = [0, 0];
  for (const run of runs.all()) {
    if (isFinal(run)) continue;
    if (isWaiting(run)) waiting++;
    else if (run.state !== "idle") running++;
  }
  if (waiting > 0) return { text: `$(bell-dot) ${waiting} waiting`, label: `loomd: ${waiting} waiting for you, ${running} running`, level: "warning" };
  if (running > 0) return { text: `$(loading~spin) ${running} running`, label: `loomd: ${running} running`, level: "plain" };
  return { text: "$(check) loomd", label: "loomd: nothing runs", level: "plain" };
}

export class StatusItem implements Disposable {
  readonly item: StatusBarItem = window.createStatusBarItem("loomd.status", StatusBarAlignment.Left);
  private readonly garbage: Disposable[];

  constructor(private readonly app: Pick<Base, "server" | "runs">) {
    this.item.name = "loomd";
    this.item.command = "loomd.runs.focus";
    this.garbage = [this.item, app.server.onDidChange(() => this.draw()), app.runs.onDidChange(() => this.draw())];
    this.draw();
    this.item.show();
  }

  dispose(): void {
    for (const thing of this.garbage) thing.dispose();
  }

  private draw(): void {
    const { text, label, level } = statusOf(this.app);
    this.item.text = text;
    this.item.tooltip = `${label}\nClick to see the runs.`;
    this.item.accessibilityInformation = { label, role: "button" };
    this.item.backgroundColor = level === "plain" ? undefined : new ThemeColor(`statusBarItem.${level}Background`);
  }
}
