// Permission rules: adds, lists and removes the rules that loomd keeps and applies, and takes over those of the settings.
import { ThemeIcon, window, type QuickPickItem } from "vscode";
import type { App } from "../app";
import { settings } from "../config";
import type { RuleTerms } from "../protocol";
import { plain } from "../runs/run";
import { optionFor, ruleOfSettings, ruleProposals, ruleText } from "../runs/rules";
import { hostOf } from "../server/run-ids";
import { serverOf } from "../services";
import { confirm, showInformation, showWarning } from "../views/messages";
import type { RunsNode } from "../views/tree";
import { findRequest, sendAnswer } from "./answer";
import { pickPlace } from "./server";

/** `Always Allow…`: adds a rule that allows exactly this request, and allows it. `known`, from a key binding, skips the picker. */
export async function always(app: App, node?: RunsNode, known?: RuleTerms): Promise<void> {
  const pending = findRequest(app, node);
  if (!pending) return;
  const host = hostOf(pending.run.id);
  const proposals = ruleProposals(pending.run, pending.request);
  if (!known && proposals.length === 0) {
    void showInformation("No rule fits this request: a rule names a command or files.");
    return;
  }
  const items = proposals.map(rule => ({ label: plain(ruleText(rule)), rule }));
  const rule = known ?? (await window.showQuickPick(items, { title: host === undefined ? "Always Allow…" : `Always Allow on ${host}…`, placeHolder: "Applies in every client of loomd. Permission Rules… removes it.", ignoreFocusOut: true }))?.rule;
  if (!rule) return;
  await serverOf(app, host).request("rule/add", { rule });
  const option = optionFor(pending.request, "allow");
  if (option) await sendAnswer(app, pending, { optionId: option.optionId });
}

/** `Permission Rules…`: lists the rules. A click on a rule asks whether to remove it. */
export async function manageRules(app: App): Promise<void> {
  const place = await pickPlace(app, "Select whose permission rules to show");
  if (!place) return;
  const server = serverOf(app, place.host);
  const { rules } = await server.request("rule/list", {});
  const rows: (QuickPickItem & { act: () => Promise<void> })[] = rules.map(rule => ({
    label: plain(ruleText(rule)),
    iconPath: new ThemeIcon(rule.decision === "allow" ? "check" : "circle-slash"),
    act: async () => {
      if ((await confirm("Remove this permission rule?", ruleText(rule), "Remove")) === "Remove") await server.request("rule/remove", { ruleId: rule.id });
    },
  }));
  const old = place.host === undefined ? settings.rules().length : 0;
  if (old > 0) rows.push({ label: `Take Over ${old} from Settings…`, iconPath: new ThemeIcon("arrow-down"), act: () => takeOverRules(app) });
  if (rows.length === 0) return void showInformation("No permission rules. Always Allow… in a permission request adds one.");
  await (await window.showQuickPick(rows, { title: place.host === undefined ? "Permission Rules" : `Permission Rules on ${place.host}`, placeHolder: "Select a rule to remove" }))?.act();
}

/** `Take Over Rules from Settings…`: shows each rule of `loomd.rules`, and asks. What was added is removed from the settings. */
export async function takeOverRules(app: App): Promise<void> {
  const old = settings.rules();
  if (old.length === 0) return void showInformation("There are no rules in loomd.rules.");
  const left: typeof old = [];
  for (const [at, given] of old.entries()) {
    const rule = ruleOfSettings(given);
    const title = `Rule ${at + 1} of ${old.length} in loomd.rules`;
    if (typeof rule === "string") void showWarning(`${title} can't be taken over. ${rule}`);
    const choice = typeof rule === "string" ? undefined : await confirm(`${title}: add it to loomd's rules?`, ruleText(rule), "Add", "Skip");
    if (choice === "Add") {
      await app.server.request("rule/add", { rule: rule as RuleTerms });
      continue;
    }
    left.push(given);
    if (choice === undefined && typeof rule !== "string") {
      left.push(...old.slice(at + 1));
      break;
    }
  }
  await settings.setRules(left);
}
