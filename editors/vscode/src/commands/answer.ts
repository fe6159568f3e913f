// Answering agents' questions: by row, by toast, by keyboard, by rule. A prompt that is closed without a choice answers nothing.
import { commands, QuickPickItemKind, ThemeIcon, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import { settings } from "../config";
import type { AnswerParams, Run } from "../protocol";
import { optionFor, proposals, ruleFor, subjectOf, type Rule } from "../runs/rules";
import { nameOf, questions, type Requested } from "../runs/words";
import { Failure } from "../server/failure";
import type { Node } from "../views/tree";

interface Asked {
  run: Run;
  question: Requested;
}

/** The question that a row names; of a run, its oldest; without a row, the one that has waited longest. */
function askedBy(app: App, node: Node | undefined): Asked | undefined {
  const run = node && "id" in node ? app.runs.get(node.id) : app.tree.ordered().waiting.find(waiting => questions(waiting).length > 0);
  if (!run) return undefined;
  const open = questions(run);
  const question = node?.is === "question" ? open.find(({ permissionId }) => permissionId === node.permissionId) : open[0];
  return question && { run, question };
}

async function send(app: App, { run, question }: Asked, how: Pick<AnswerParams, "optionId" | "cancelled">): Promise<void> {
  try {
    await app.server.request("run/answer", { runId: run.id, permissionId: question.permissionId, ...how });
  } catch (error) {
    const failure = Failure.from(error);
    // Somebody else was quicker; the row says so by going away.
    if (failure.kind === "permissionResolved") return;
    void window.showErrorMessage(failure.message);
  }
}

export async function answer(app: App, node: Node | undefined, how: "allow" | "deny"): Promise<void> {
  const asked = askedBy(app, node);
  if (!asked) {
    void window.showInformationMessage("loomd: nothing waits for you.");
    return;
  }
  const option = optionFor(asked.question, how);
  if (option) return send(app, asked, { optionId: option.optionId });
  if (how === "deny") return send(app, asked, { cancelled: true });
  // No plain yes among the options: a person has to choose.
  return review(app, { is: "question", id: asked.run.id, permissionId: asked.question.permissionId });
}

interface Choice extends QuickPickItem {
  do?: () => Promise<void>;
}

/** All that a question offers, by keyboard. */
export async function review(app: App, node?: Node): Promise<void> {
  const asked = askedBy(app, node);
  if (!asked) {
    void window.showInformationMessage("loomd: nothing waits for you.");
    return;
  }
  const { run, question } = asked;
  const subject = subjectOf(run, question);
  const choices: Choice[] = question.options.map(option => ({
    label: option.name,
    iconPath: new ThemeIcon(option.kind.startsWith("allow") ? "check" : "x"),
    description: option.kind.endsWith("always") ? "remembered by the agent" : "",
    do: () => send(app, asked, { optionId: option.optionId }),
  }));
  if (!question.options.some(option => option.kind.startsWith("reject"))) choices.push({ label: "Deny", iconPath: new ThemeIcon("x"), do: () => send(app, asked, { cancelled: true }) });
  choices.push(
    { label: "", kind: QuickPickItemKind.Separator },
    { label: "Always Allow This…", iconPath: new ThemeIcon("law"), do: () => always(app, { is: "question", id: run.id, permissionId: question.permissionId }) },
    { label: "Show Transcript", iconPath: new ThemeIcon("comment-discussion"), do: async () => void (await commands.executeCommand("loomd.open", { is: "run", id: run.id })) },
  );
  const what = [subject.command ?? subject.title, ...subject.paths].join("  ");
  const choice = await window.showQuickPick(choices, { title: `${nameOf(run)} asks (${subject.kind})`, placeHolder: what, ignoreFocusOut: true });
  await choice?.do?.();
}

/** Writes a rule into the settings, then answers by it. `given`: the rule, if it is known already. */
export async function always(app: App, node?: Node, given?: Rule): Promise<void> {
  const asked = askedBy(app, node);
  if (!asked) return;
  const rule = given ?? (await offer(asked));
  if (!rule) return;
  await settings.addRule(rule);
  await byRules(app, asked.run);
}

async function offer({ run, question }: Asked): Promise<Rule | undefined> {
  const rows = proposals(subjectOf(run, question)).map(({ label, rule }) => ({ label: `Always allow ${label}`, detail: JSON.stringify(rule), rule }));
  return (await window.showQuickPick(rows, { title: "Always Allow This…", placeHolder: "Written to the setting loomd.rules; remove it there", ignoreFocusOut: true }))?.rule;
}

/** Answers what a rule speaks of. Called for every new question, and when the rules change. */
export async function byRules(app: App, run: Run, rules: readonly Rule[] = settings.rules()): Promise<void> {
  for (const question of questions(run)) {
    const subject = subjectOf(run, question);
    const rule = ruleFor(rules, subject);
    if (!rule) continue;
    const option = optionFor(question, rule.answer);
    if (!option && rule.answer === "allow") continue;
    app.log.info(`${run.id}: ${rule.answer === "allow" ? "allowed" : "denied"} “${subject.command ?? subject.title}” by the rule ${JSON.stringify(rule)}`);
    await send(app, { run, question }, option ? { optionId: option.optionId } : { cancelled: true });
  }
}
