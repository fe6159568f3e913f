// Queued Messages…: those that wait for a turn of an agent, to be edited or removed.
import { ThemeIcon, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import type { QueuedPrompt, Run } from "../protocol";
import { isFinal, nameOf, plain, shortened } from "../runs/run";
import { Failure } from "../server/failure";
import { partsOf } from "../transcript/context";
import { showInformation } from "../views/messages";
import type { RunsNode } from "../views/tree";
import { pickRun } from "./pick";

interface QueuedItem extends QuickPickItem {
  prompt: QueuedPrompt;
}

/** What is done with a message. `index` counts in the order of turns. */
export interface QueuedAction {
  index: number;
  action: "edit" | "remove";
}

/** `requested`, from a key binding or another extension, skips the pickers. */
export async function queuedMessages(app: App, node?: RunsNode, requested?: QueuedAction): Promise<void> {
  const run = await pickRun(app, node, "Select a run to show its queued messages", candidate => !isFinal(candidate) && (candidate.queued ?? 0) > 0);
  if (!run) return;
  if (!app.server.can("run/queue")) return void showInformation("Queued messages require a newer loomd.");
  const { prompts } = await app.server.request("run/queue", { runId: run.id });
  if (prompts.length === 0) return void showInformation("No queued messages.");
  const prompt = requested ? prompts[requested.index] : (await window.showQuickPick(prompts.map(item), { title: `Queued messages of ${plain(nameOf(run))}`, placeHolder: "Select a message to edit or remove" }))?.prompt;
  if (!prompt) return;
  const actions = [{ label: "Edit", description: "Takes it back into the message box", action: "edit" as const }, { label: "Remove", description: "", action: "remove" as const }];
  const action = requested?.action ?? (await window.showQuickPick(actions, { placeHolder: item(prompt).label }))?.action;
  if (action) await takeBack(app, run, prompt, action);
}

function item(prompt: QueuedPrompt): QueuedItem {
  const { text, context } = partsOf(prompt.prompt);
  return { label: plain(shortened(text.trim().split("\n", 1)[0] || "Message")), description: plain(context.map(({ label }) => label).join(", ")), iconPath: new ThemeIcon("comment"), prompt };
}

async function takeBack(app: App, run: Run, { promptId }: QueuedPrompt, action: QueuedAction["action"]): Promise<void> {
  let taken: QueuedPrompt;
  try {
    taken = await app.server.request("run/unqueue", { runId: run.id, promptId });
  } catch (error) {
    // Its turn has begun, or another client took it back.
    return void showInformation(Failure.from(error).message);
  }
  void app.runs.refresh(run.id);
  if (action === "edit") app.transcripts.show(run, { draft: partsOf(taken.prompt) });
}
